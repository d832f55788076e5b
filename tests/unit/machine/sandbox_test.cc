#include "machine/sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "machine/console.h"
#include "network/network.h"

namespace doppel {
namespace {

constexpr int confined = 100, not_confined = 101;

/// What a process does: its exit status, or minus the signal that ended it.
int outcome(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int inside(const SandboxOptions& options, const std::function<int()>& body) {
  return outcome([&] {
    if (auto entered = enter_sandbox(options); !entered) {
      std::fprintf(stderr, "%s\n", entered.message().c_str());
      return not_confined;
    }
    return body();
  });
}

struct Call {
  const char* name;
  std::function<void()> make;
};
void PrintTo(const Call& call, std::ostream* out) { *out << call.name; }

class Forbidden : public testing::TestWithParam<Call> {};

// Whoever breaks out of the guest must not reach anything outside, network or not.
TEST_P(Forbidden, EndsTheProcess) {
  if (GetParam().name == std::string_view("call_by_32_bit_entry") && outcome([] { return GetParam().make(), 0; }) != 0)
    GTEST_SKIP() << "the host's kernel has no such entry";
  SandboxOptions everything{.network = true,
                            .io_uring = true,
                            .threads = true,
                            .control_socket = true,
                            .socket_directory = testing::TempDir()};
  for (const auto& options : {SandboxOptions{}, everything})
    EXPECT_EQ(inside(options, [] { return GetParam().make(), confined; }), -SIGSYS);
  EXPECT_NE(outcome([] { return GetParam().make(), 0; }), -SIGSYS) << "it is the sandbox that forbids it";
}

// One for each process: tests run at the same time.
const std::string scratch = testing::TempDir() + "sandbox_scratch" + std::to_string(getpid());
class RemoveScratch : public testing::Environment {
  void TearDown() override { ::unlink(scratch.c_str()); }
};
const auto* const remove_scratch = testing::AddGlobalTestEnvironment(new RemoveScratch);

char* const no_arguments[] = {nullptr};

const Call forbidden[] = {
    {"execve", [] { execve("/bin/true", no_arguments, no_arguments); }},
    {"open_for_writing", [] { ::open(scratch.c_str(), O_WRONLY | O_CREAT, 0600); }},
    {"open_for_both", [] { ::open("/dev/null", O_RDWR); }},
    {"open_truncating", [] { ::open(scratch.c_str(), O_RDONLY | O_TRUNC); }},
    {"packet_socket", [] { ::socket(AF_PACKET, SOCK_RAW, 0); }},
    {"netlink_socket", [] { ::socket(AF_NETLINK, SOCK_RAW, 0); }},
    {"unix_socket", [] { ::socket(AF_UNIX, SOCK_STREAM, 0); }},
    {"ptrace", [] { ptrace(PTRACE_TRACEME, 0, 0, 0); }},
    {"kill_parent", [] { kill(getppid(), 0); }},
    {"signal_parent_thread", [] { syscall(SYS_tgkill, getppid(), getppid(), 0); }},
    {"fork",
     [] {
       if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) _exit(0);
     }},
    {"mount", [] { mount("none", "/nowhere", "tmpfs", 0, nullptr); }},
    {"unshare", [] { syscall(SYS_unshare, 0); }},
    {"setuid", [] { syscall(SYS_setuid, getuid()); }},
    {"bpf", [] { syscall(SYS_bpf, -1, nullptr, 0); }},
    {"new_ring", [] { syscall(SYS_io_uring_setup, 0, nullptr); }},
    {"type_into_terminal", [] { ioctl(0, TIOCSTI, "x"); }},
    {"executable_memory", [] { mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }},
    {"rename", [] { ::rename(scratch.c_str(), scratch.c_str()); }},
    {"unlink", [] { syscall(SYS_unlink, scratch.c_str()); }},
    {"read_of_another_process", [] { syscall(SYS_process_vm_readv, getppid(), nullptr, 0, nullptr, 0, 0); }},
    {"call_by_32_bit_entry",
     [] {
#ifdef __x86_64__
       long result = 20;  // getpid
       asm volatile("int $0x80" : "+a"(result) : : "memory");
#else
       raise(SIGSYS);
#endif
     }},
};
INSTANTIATE_TEST_SUITE_P(Sandbox, Forbidden, testing::ValuesIn(forbidden),
                         [](const auto& call) { return std::string(call.param.name); });

// Without the network not even the internet is reachable.
TEST(Sandbox, ForbidsSocketsWithoutANetwork) {
  EXPECT_EQ(inside({}, [] { return ::socket(AF_INET, SOCK_STREAM, 0), confined; }), -SIGSYS);
  EXPECT_EQ(inside({}, [] { return ::unlinkat(AT_FDCWD, scratch.c_str(), 0), confined; }), -SIGSYS);
}

int fail(int line) {
  std::fprintf(stderr, "sandbox_test.cc:%d: %s\n", line, std::strerror(errno));
  return 1;
}
#define REQUIRE(what) \
  if (!(what)) return fail(__LINE__)

int use_files(int file) {
  char data[8] = "1234567";
  REQUIRE(pwrite(file, data, sizeof data, 4096) == sizeof data);
  REQUIRE(pread(file, data, sizeof data, 4096) == sizeof data);
  REQUIRE(fdatasync(file) == 0);
  REQUIRE(ftruncate(file, 1 << 20) == 0);
  REQUIRE(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0 || errno == EOPNOTSUPP);
  struct stat status;
  REQUIRE(fstat(file, &status) == 0 && status.st_size == 1 << 20);
  REQUIRE(printf("from the sandbox\n") > 0 && fflush(stdout) == 0);
  return 0;
}

int use_memory() {
  for (const std::size_t size : {100UL, 1UL << 20, 64UL << 20}) {
    void* memory = std::malloc(size);
    REQUIRE(memory);
    std::memset(memory, 1, size);
    memory = std::realloc(memory, 2 * size);
    REQUIRE(memory);
    std::free(memory);
  }
  return 0;
}

int use_loop() {
  const FileDescriptor event(::eventfd(1, EFD_CLOEXEC));
  pollfd ready{event.get(), POLLIN, 0};
  REQUIRE(poll(&ready, 1, 1000) == 1);
  timespec moment{0, 1000};
  REQUIRE(clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr) == 0);
  REQUIRE(syscall(SYS_clock_gettime, CLOCK_REALTIME, &moment) == 0);
  return 0;
}

TEST(Sandbox, LetsTheMachineWork) {
  FileDescriptor file(::open(scratch.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  EXPECT_EQ(inside({},
                   [&] {
                     for (const int result : {use_files(file.get()), use_memory(), use_loop()}) REQUIRE(result == 0);
                     return confined;
                   }),
            confined);
}

TEST(Sandbox, LetsTheEventLoopRun) {
  EXPECT_EQ(outcome([] {
              std::recursive_mutex lock;
              auto loop = *EventLoop::create(lock);
              REQUIRE(enter_sandbox({}).ok());
              loop->at(monotonic_ns() + 1'000'000, [&] { loop->stop(); });
              loop->run();
              return confined;
            }),
            confined);
}

// A filter on the calling thread alone would leave the workers free.
TEST(Sandbox, ConfinesThreadsThatRunAlready) {
  std::mutex lock;
  std::condition_variable changed;
  EXPECT_EQ(outcome([&] {
              bool entered = false, computed = false;
              std::thread worker([&] {
                std::unique_lock guard(lock);
                computed = true;
                changed.notify_all();
                changed.wait(guard, [&] { return entered; });
                ::socket(AF_PACKET, SOCK_RAW, 0);
                _exit(not_confined);
              });
              std::unique_lock guard(lock);
              changed.wait(guard, [&] { return computed; });
              REQUIRE(enter_sandbox({}).ok());
              entered = true;
              changed.notify_all();
              guard.unlock();
              worker.join();
              return confined;
            }),
            -SIGSYS);
}

TEST(Sandbox, StartsThreadsWhereAsked) {
  const auto threads = [] {
    int sum = 0;
    for (int i = 0; i < 10; i++) std::thread([&] { sum += i; }).join();
    return sum;
  };
  EXPECT_EQ(inside({.threads = true}, threads), 45);
}

// The C library looks for files (time zones, message catalogues) that it can do without.
TEST(Sandbox, ReadingFilesFailsWithoutHarm) {
  EXPECT_EQ(inside({},
                   [] {
                     REQUIRE(::open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
                     const auto now = time(nullptr);
                     REQUIRE(localtime(&now) != nullptr);
                     return confined;
                   }),
            confined);
}

bool has_landlock() { return syscall(444 /* landlock_create_ruleset */, nullptr, 0, 1) > 0; }

int reads(const char* path) { return ::open(path, O_RDONLY | O_CLOEXEC) >= 0; }

TEST(Sandbox, TheNetworkReadsTheResolverConfigurationAndNothingElse) {
  if (!has_landlock()) GTEST_SKIP() << "this kernel has no Landlock";
  if (!reads("/etc/resolv.conf")) GTEST_SKIP() << "this computer has no /etc/resolv.conf";
  ASSERT_TRUE(reads("/bin/true"));
  EXPECT_EQ(inside({.network = true},
                   [] {
                     REQUIRE(reads("/etc/resolv.conf"));
                     struct stat status;
                     REQUIRE(stat("/etc/resolv.conf", &status) == 0);
                     REQUIRE(!reads("/bin/true") && errno == EACCES);
                     REQUIRE(!reads("/proc/self/maps") && errno == EACCES);
                     return confined;
                   }),
            confined);
}

TEST(Sandbox, ThreadsStartedAfterRestrictFilesAreRestricted) {
  if (!has_landlock()) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(outcome([] {
              const auto restricted = restrict_files({});
              REQUIRE(restricted.ok() && *restricted);
              int read = -1;
              std::thread([&] { read = reads("/bin/true"); }).join();
              REQUIRE(read == 0);
              REQUIRE(::open(scratch.c_str(), O_WRONLY | O_CREAT, 0600) < 0);
              REQUIRE(enter_sandbox({}).ok());
              return confined;
            }),
            confined);
}

int talk_to_itself() {
  const FileDescriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  REQUIRE(bind(listener.get(), generic, length) == 0 && listen(listener.get(), 1) == 0);
  REQUIRE(getsockname(listener.get(), generic, &length) == 0);
  const FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(connect(client.get(), generic, length) == 0);
  const FileDescriptor server(accept(listener.get(), nullptr, nullptr));
  REQUIRE(send(client.get(), "x", 1, MSG_NOSIGNAL) == 1);
  char byte = 0;
  REQUIRE(recv(server.get(), &byte, 1, 0) == 1 && byte == 'x');
  // libslirp tries one for the guest's ping where it may not use a datagram socket.
  REQUIRE(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 && errno == EPERM);
  return confined;
}

TEST(Sandbox, TheNetworkConnectsAndListens) { EXPECT_EQ(inside({.network = true}, talk_to_itself), confined); }

std::vector<std::byte> udp_frame(std::uint8_t last_of_address, std::uint16_t port) {
  const std::uint8_t high = port >> 8, low = port & 0xff;
  std::vector<std::uint8_t> frame = {0x52, 0x55, 10,   0,   2, 2,  0x52, 0x54, 0,   0x12,
                                     0x34, 0x56, 8,    0,  // to the gateway, IPv4
                                     0x45, 0,    0,    30,  0, 1,  0,    0,    64,  17,
                                     0,    0,    10,   0,   2, 15, 10,   0,    2,   last_of_address,  // 30 bytes of UDP
                                     0x80, 0,    high, low, 0, 10, 0,    0,    'h', 'i'};             // no checksum
  std::uint32_t sum = 0;
  for (int i = 14; i < 34; i += 2) sum += frame[i] << 8 | frame[i + 1];
  const auto checksum = static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16)));
  frame[24] = checksum >> 8;
  frame[25] = checksum & 0xff;
  frame.resize(60);
  std::vector<std::byte> out(frame.size());
  std::memcpy(out.data(), frame.data(), frame.size());
  return out;
}

/// A network that a guest used begins anew for the next one.
int begin_user_network_anew() {
  std::recursive_mutex lock;
  auto loop = *EventLoop::create(lock);
  auto network = make_user_network(*loop, {{.host = 0, .guest = 80}, {.host = 0, .guest = 53, .udp = true}});
  REQUIRE(network.ok());
  REQUIRE(enter_sandbox({.network = true}).ok());
  getppid();  // glib's random numbers ask for it where they cannot open /dev/urandom
  for (int round = 0; round < 3; round++) {
    (*network)->send(udp_frame(2, 9));
    const std::vector<std::byte> no_connections(4);
    Reader in(no_connections);
    REQUIRE((*network)->restore(in).ok());
  }
  const FileDescriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons((*network)->published_ports().at(0).host);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return confined;
}

// A worker that takes over one machine after another would be killed at the second one with a network.
TEST(Sandbox, TheUserNetworkBeginsAnew) { EXPECT_EQ(outcome(begin_user_network_anew), confined); }

/// A guest's datagram to the host and its answer, after one to the name server.
int use_user_network() {
  std::recursive_mutex lock;
  auto loop = *EventLoop::create(lock);
  auto network = make_user_network(*loop, {});
  REQUIRE(network.ok());
  const FileDescriptor peer(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof address;
  REQUIRE(bind(peer.get(), generic, length) == 0 && getsockname(peer.get(), generic, &length) == 0);
  const auto port = ntohs(address.sin_port);
  REQUIRE(enter_sandbox({.network = true}).ok());
  bool echoed = false, answered = false;
  (*network)->set_receiver([&](std::span<const std::byte>) {
    answered = echoed;
    if (answered) loop->stop();
    return true;
  });
  loop->watch(peer.get(), EPOLLIN, [&](std::uint32_t) {
    char data[16];
    const auto count = recvfrom(peer.get(), data, sizeof data, 0, generic, &length);
    echoed = count == 2 && sendto(peer.get(), data, 2, 0, generic, length) == 2;
  });
  loop->at(monotonic_ns() + 1'100'000'000, [&] {  // libslirp looks at the resolver configuration after a second
    (*network)->send(udp_frame(3, 53));
    (*network)->send(udp_frame(2, port));
  });
  loop->at(monotonic_ns() + 20'000'000'000, [&] { loop->stop(); });
  loop->run();
  REQUIRE(answered);
  return confined;
}

TEST(Sandbox, TheUserNetworkWorksInside) { EXPECT_EQ(outcome(use_user_network), confined); }

TEST(Sandbox, AConsolesSocketIsServedAndRemoved) {
  std::string folder = testing::TempDir() + "sandboxXXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  EXPECT_EQ(outcome([&] {
              std::recursive_mutex lock;
              auto loop = *EventLoop::create(lock);
              auto console = Console::open("unix:" + folder + "/console", *loop);
              REQUIRE(console.ok());
              REQUIRE(enter_sandbox({.socket_directory = (*console)->socket_directory()}).ok());
              (*console)->write({});
              std::unique_ptr<Console>(*std::move(console)).reset();
              return confined;
            }),
            confined);
  EXPECT_EQ(rmdir(folder.c_str()), 0) << "the socket is still there";
}

TEST(Sandbox, AConsoleOnATerminalWorksInside) {
  EXPECT_EQ(inside({},
                   [] {
                     termios mode;
                     winsize size;
                     REQUIRE(tcgetattr(0, &mode) == 0 || errno == ENOTTY || errno == EBADF || errno == EIO);
                     REQUIRE(ioctl(0, TIOCGWINSZ, &size) == 0 || errno == ENOTTY || errno == EBADF || errno == EIO);
                     REQUIRE(tcgetpgrp(0) >= 0 || errno == ENOTTY || errno == EBADF);
                     return confined;
                   }),
            confined);
}

// A machine that can be asked: who it is that asks, what it passes, and an answer; but no new sockets, and none to
// others.
TEST(Sandbox, AControlSocketIsServed) {
  const auto path = testing::TempDir() + "control" + std::to_string(getpid());
  const auto serve = [&](bool known) {
    ::unlink(path.c_str());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const FileDescriptor listener(::socket(AF_UNIX, SOCK_STREAM, 0)), client(::socket(AF_UNIX, SOCK_STREAM, 0));
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::write(client.get(), "?", 1) == 1);
    if (auto entered = enter_sandbox({.control_socket = known}); !entered) return not_confined;
    const FileDescriptor peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ucred who{};
    socklen_t length = sizeof who;
    REQUIRE(::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.pid == getpid());
    char byte, control[64];
    iovec piece{&byte, 1};
    msghdr message{};
    message.msg_iov = &piece, message.msg_iovlen = 1;
    message.msg_control = control, message.msg_controllen = sizeof control;
    REQUIRE(::recvmsg(peer.get(), &message, MSG_CMSG_CLOEXEC) == 1 && byte == '?');
    REQUIRE(::send(peer.get(), "!", 1, MSG_NOSIGNAL) == 1);
    return confined;
  };
  EXPECT_EQ(outcome([&] { return serve(true); }), confined);
  EXPECT_EQ(outcome([&] { return serve(false); }), -SIGSYS);
  ::unlink(path.c_str());
}

TEST(Sandbox, AbortIsStillAnAbort) {
  EXPECT_EQ(inside({}, []() -> int { std::abort(); }), -SIGABRT);
}

}  // namespace
}  // namespace doppel
