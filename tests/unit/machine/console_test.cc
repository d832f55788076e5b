#include "machine/console.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <utmp.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.h"

namespace doppel {
namespace {

using namespace std::literals;

constexpr int deadline_ms = 20'000;

std::span<const std::byte> bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
std::string text(std::span<const std::byte> data) { return {reinterpret_cast<const char*>(data.data()), data.size()}; }

/// Reads until `wanted` is there, the other end closes or the deadline passes; returns all.
std::string read_until(int fd, std::string_view wanted) {
  std::string got;
  const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
  while (got.find(wanted) == got.npos && monotonic_ns() < end) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, 100) <= 0) continue;
    char data[65536];
    const auto count = ::read(fd, data, sizeof data);
    if (count <= 0) break;
    got.append(data, static_cast<std::size_t>(count));
  }
  return got;
}

void send(int fd, std::string_view data) {
  while (!data.empty()) {
    const auto count = ::write(fd, data.data(), data.size());
    ASSERT_GT(count, 0) << std::strerror(errno);
    data.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// A guest that says on its console what happens to it: "ready", "size 80x24", and input in brackets.
struct Guest {
  std::recursive_mutex lock;
  std::unique_ptr<EventLoop> loop = *EventLoop::create(lock);
  std::unique_ptr<Console> console;
  std::size_t appetite = SIZE_MAX;  // bytes that it takes at once
  std::function<void()> at_start;

  explicit Guest(const std::string& spec) {
    auto opened = Console::open(spec, *loop);
    if (!opened) {
      std::fprintf(stderr, "%s\n", opened.message().c_str());
      std::abort();
    }
    console = *std::move(opened);
    console->set_input([this](std::span<const std::byte> data) { return take(data); });
    console->set_resized(
        [this](std::uint16_t columns, std::uint16_t rows) { say(fmt::format("size {}x{}\n", columns, rows)); });
    console->set_quit([this] { loop->stop(); });
  }
  void say(std::string_view what) { console->write(bytes(what)); }
  std::size_t take(std::span<const std::byte> data) {
    const auto some = data.first(std::min(appetite, data.size()));
    say("[" + text(some) + "]");
    if (some.size() < data.size()) loop->post([this] { console->input_room(); });
    return some.size();
  }
  void run() {
    loop->post([this] {
      console->start();
      say("ready\n");
      if (at_start) at_start();
    });
    loop->run();
    std::lock_guard guard(lock);
    console.reset();
  }
};

/// A process with a guest on its standard input and output.
class Process {
 public:
  /// Runs `body` in a new process with these as standard input and output (-1: closed), or on the terminal `in`.
  void start(int in, int out, const std::function<void()>& body, bool terminal = false) {
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ != 0) return;
    alarm(60);
    if (terminal) {
      login_tty(in);  // also closes it
    } else {
      in < 0 ? close(0) : dup2(in, 0);
      out < 0 ? close(1) : dup2(out, 1);
      closefrom(3);
    }
    body();
    _exit(0);
  }
  ~Process() {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  /// Its exit status, or minus the signal that ended it.
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

struct Pipe {
  FileDescriptor read, write;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == 0) read = FileDescriptor(ends[0]), write = FileDescriptor(ends[1]);
  }
};

class OnTerminal : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    const winsize size{24, 80, 0, 0};
    ASSERT_EQ(openpty(&ends[0], &ends[1], nullptr, nullptr, &size), 0);
    master_ = FileDescriptor(ends[0]);
    slave_ = FileDescriptor(ends[1]);
    fcntl(master_.get(), F_SETFD, FD_CLOEXEC);
    before_ = mode();
  }
  void start(const std::function<void(Guest&)>& body = [](Guest& guest) { guest.run(); }) {
    process_.start(
        slave_.get(), -1,
        [&] {
          close(master_.get());
          Guest guest("stdio");
          body(guest);
        },
        true);
    screen_ = read_until(master_.get(), "ready\n");
    ASSERT_NE(screen_.find("ready\n"), screen_.npos) << screen_;
  }
  termios mode() const {
    termios now{};
    tcgetattr(slave_.get(), &now);
    return now;
  }
  bool raw() const { return (mode().c_lflag & (ICANON | ECHO | ISIG)) == 0; }
  bool as_before() const {
    const auto now = mode();
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag &&
           std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc) == 0;
  }
  std::string expect(std::string_view wanted) { return read_until(master_.get(), wanted); }

  FileDescriptor master_, slave_;
  termios before_{};
  Process process_;
  std::string screen_;
};

TEST_F(OnTerminal, IsRawAndControlAXGivesItBack) {
  start();
  EXPECT_TRUE(raw());
  send(master_.get(), "\x03\x1a\r");  // Ctrl-C, Ctrl-Z and Enter are the guest's
  EXPECT_NE(expect("\r]").find("\x03"), std::string::npos);
  send(master_.get(), "\x01x");
  EXPECT_EQ(process_.wait(), 0);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, ControlAHPrintsHelpAndControlAReachesTheGuest) {
  start();
  send(master_.get(), "\x01h");
  EXPECT_NE(expect("Ctrl-A x ").find("Ctrl-A x "), std::string::npos);
  send(master_.get(), "\x01\x01");
  EXPECT_NE(expect("[\x01]").find("[\x01]"), std::string::npos);
  send(master_.get(),
       "\x01"
       "ab");  // and across two reads
  EXPECT_NE(expect("b").find("\x01"), std::string::npos);
  send(master_.get(), "\x01");
  send(master_.get(), "X");
  EXPECT_EQ(process_.wait(), 0);
}

TEST_F(OnTerminal, ControlAXWorksWhenTheGuestTakesNothing) {
  start([](Guest& guest) {
    guest.console->set_input([](std::span<const std::byte>) { return std::size_t{0}; });
    guest.run();
  });
  for (int i = 0; i < 40; i++) send(master_.get(), std::string(2048, 'v'));  // more than is kept
  send(master_.get(), "\x01x");
  EXPECT_EQ(process_.wait(), 0);
}

TEST_F(OnTerminal, TellsItsSizeAndEachChange) {
  start();
  EXPECT_NE(screen_.find("size 80x24\n"), std::string::npos) << screen_;
  const winsize larger{50, 132, 0, 0};
  ioctl(master_.get(), TIOCSWINSZ, &larger);
  EXPECT_NE(expect("size 132x50\n").find("size 132x50\n"), std::string::npos);
}

TEST_F(OnTerminal, IsGivenBackBySignalsThatEndTheMachine) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    start();
    EXPECT_TRUE(raw());
    kill(process_.pid(), signal);
    EXPECT_EQ(process_.wait(), 0) << strsignal(signal);
    EXPECT_TRUE(as_before()) << strsignal(signal);
  }
}

TEST_F(OnTerminal, IsGivenBackByExit) {
  start([](Guest& guest) {
    guest.console->set_input([](std::span<const std::byte>) -> std::size_t { std::exit(3); });
    guest.run();
  });
  EXPECT_TRUE(raw());
  send(master_.get(), "!");
  EXPECT_EQ(process_.wait(), 3);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, IsGivenBackByABugOfOurs) {
  start([](Guest& guest) {
    guest.console->set_input([](std::span<const std::byte>) -> std::size_t { std::abort(); });
    guest.run();
  });
  EXPECT_TRUE(raw());
  send(master_.get(), "!");
  EXPECT_EQ(process_.wait(), -SIGABRT);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, IsGivenBackWhileTheProcessIsStopped) {
  start();
  kill(process_.pid(), SIGTSTP);
  int status = 0;
  ASSERT_EQ(waitpid(process_.pid(), &status, WUNTRACED), process_.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_TRUE(as_before());
  kill(process_.pid(), SIGCONT);
  EXPECT_NE(expect("size 80x24\n").find("size 80x24\n"), std::string::npos);
  EXPECT_TRUE(raw());
  send(master_.get(), "\x01x");
  EXPECT_EQ(process_.wait(), 0);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, ThatCloses) {
  start();
  slave_ = {};
  master_ = {};
  EXPECT_EQ(process_.wait(), 0);
}

TEST_F(OnTerminal, IsGivenBackBeforeMessages) {
  start([](Guest& guest) {
    guest.console->set_input([&](std::span<const std::byte> data) {
      guest.console->restore_terminal();
      guest.say("restored\n");
      return data.size();
    });
    guest.run();
  });
  send(master_.get(), "!");
  EXPECT_NE(expect("restored").find("restored"), std::string::npos);
  EXPECT_TRUE(as_before());
}

// timeout(1) sends its signal twice; the user who means it waits a second.
TEST_F(OnTerminal, SecondSignalEndsAMachineThatHangs) {
  start([](Guest& guest) {
    guest.console->set_quit([&] {
      guest.say("quit");
      for (;;) pause();
    });
    guest.run();
  });
  kill(process_.pid(), SIGTERM);
  expect("quit");
  EXPECT_TRUE(as_before());
  const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
  int status = 0;
  pid_t ended = 0;
  while (ended == 0 && monotonic_ns() < end) {
    kill(process_.pid(), SIGTERM);
    ended = waitpid(process_.pid(), &status, WNOHANG);
    poll(nullptr, 0, 10);
  }
  ASSERT_NE(ended, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
}

TEST(StdioConsole, PassesAPipeAsItIsAndOutlivesItsEnd) {
  Pipe in, out;
  Process process;
  process.start(in.read.get(), out.write.get(), [] { Guest("stdio").run(); });
  read_until(out.read.get(), "ready\n");
  send(in.write.get(), "\x01x\x03");
  EXPECT_EQ(read_until(out.read.get(), "]"), "[\x01x\x03]");
  in.write = {};
  in.read = {};
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

// A guest that takes 16 bytes at a time (a UART) gets a file of any length whole.
TEST(StdioConsole, ReadsAFile) {
  const std::string path = testing::TempDir() + "console_input" + std::to_string(getpid());
  std::string content;
  for (int i = 0; content.size() < 20'000; i++) content += std::to_string(i) + "\n";
  std::ofstream(path) << content << "END";
  FileDescriptor in(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  unlink(path.c_str());
  Pipe out;
  Process process;
  process.start(in.get(), out.write.get(), [] {
    Guest guest("stdio");
    guest.appetite = 16;
    guest.run();
  });
  auto got = read_until(out.read.get(), "D]");
  std::erase_if(got, [](char c) { return c == '[' || c == ']'; });
  EXPECT_EQ(got, "ready\n" + content + "END");
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

TEST(StdioConsole, RunsWithoutInput) {
  FileDescriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int in : {null.get(), -1}) {
    Pipe out;
    Process process;
    process.start(in, out.write.get(), [] {
      Console::reserve_standard_descriptors();
      Guest("stdio").run();
    });
    EXPECT_EQ(read_until(out.read.get(), "ready\n"), "ready\n");
    kill(process.pid(), SIGTERM);
    EXPECT_EQ(process.wait(), 0);
  }
}

// Otherwise the first disk that is opened becomes standard output, and the guest's messages go into it.
TEST(StdioConsole, ClosedDescriptorsAreNotGivenToFiles) {
  Process process;
  process.start(-1, -1, [] {
    Console::reserve_standard_descriptors();
    _exit(::open("/dev/zero", O_RDWR) > 2 ? 0 : 1);
  });
  EXPECT_EQ(process.wait(), 0);
}

TEST(StdioConsole, RunsWithoutAReader) {
  Pipe in, out;
  out.read = {};
  for (const int output : {out.write.get(), -1}) {
    Process process;
    process.start(in.read.get(), output, [&] {
      Guest guest("stdio");
      guest.console->set_input([&](std::span<const std::byte> data) {
        guest.loop->stop();
        return data.size();
      });
      guest.run();
    });
    send(in.write.get(), "!");
    EXPECT_EQ(process.wait(), 0);
  }
}

// While nobody reads, a guest may write a screenful or a thousand and go on; it stops at 1 MiB, and nothing is lost.
TEST(StdioConsole, SlowReaderGetsEverything) {
  Pipe in, out;
  Process process;
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, nullptr);
  std::string lines;
  for (int i = 0; lines.size() < 5'000'000; i++) lines += std::to_string(i) + "\n";
  process.start(in.read.get(), out.write.get(), [&] {
    Guest guest("stdio");
    guest.at_start = [&] {
      guest.say(std::string_view(lines).substr(0, 900'000));  // must not wait: nobody reads before the second part
      guest.loop->post([&] {
        kill(getppid(), SIGUSR1);
        guest.say(std::string_view(lines).substr(900'000));
        guest.say("END");
      });
    };
    guest.run();
  });
  const timespec limit{deadline_ms / 1000, 0};
  EXPECT_EQ(sigtimedwait(&usr1, nullptr, &limit), SIGUSR1);
  EXPECT_EQ(read_until(out.read.get(), "END"), "ready\n" + lines + "END");
  EXPECT_EQ(fcntl(out.write.get(), F_GETFL) & O_NONBLOCK, 0) << "others write to this pipe, too";
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

// What was written before the end arrives, however slow the reader is.
TEST(StdioConsole, FlushesAtTheEnd) {
  Pipe in, out;
  Process process;
  process.start(in.read.get(), out.write.get(), [&] {
    Guest guest("stdio");
    guest.at_start = [&] {
      guest.say(std::string(500'000, 'x') + "END");
      guest.loop->stop();
    };
    guest.run();
  });
  EXPECT_EQ(read_until(out.read.get(), "END").size(), 6 + 500'000 + 3u);
  EXPECT_EQ(process.wait(), 0);
}

TEST(StdioConsole, SignalEndsAMachineThatWaitsForItsReader) {
  Pipe in, out;
  Process process;
  process.start(in.read.get(), out.write.get(), [&] {
    Guest guest("stdio");
    guest.at_start = [&] { guest.say(std::string(3'000'000, 'x')); };
    guest.run();
  });
  pollfd ready{out.read.get(), POLLIN, 0};
  ASSERT_EQ(poll(&ready, 1, deadline_ms), 1);
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

std::string content(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

/// A guest in this process, whose loop has a thread.
class Running {
 public:
  explicit Running(const std::string& spec) : guest(spec), thread_([this] { guest.run(); }) {}
  ~Running() { end(); }
  void end() {
    guest.loop->stop();
    if (thread_.joinable()) thread_.join();
  }
  void say(std::string_view what) {
    std::lock_guard guard(guest.lock);
    guest.say(what);
  }
  Guest guest;

 private:
  std::thread thread_;
};

class InFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "consoleXXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string failure(const std::string& spec) {
    std::recursive_mutex lock;
    auto loop = *EventLoop::create(lock);
    auto opened = Console::open(spec, *loop);
    return opened ? "" : opened.message();
  }
  FileDescriptor connect(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path(name).c_str());
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
        << std::strerror(errno);
    return socket;
  }
  std::string folder_;
};

TEST_F(InFolder, AFileGetsTheOutput) {
  std::ofstream(path("log")) << "of the run before, and longer than this one's";
  {
    Guest guest(path("log"));
    guest.say("hello\n");
    guest.say("world\n");
  }
  EXPECT_EQ(content(path("log")), "hello\nworld\n");
}

TEST_F(InFolder, FilesThatCannotBeWritten) {
  EXPECT_THAT(failure(folder_), testing::HasSubstr("Is a directory"));
  EXPECT_THAT(failure(path("no/such/log")), testing::HasSubstr("No such file"));
  EXPECT_THAT(failure(""), testing::HasSubstr("--console"));
  mkfifo(path("fifo").c_str(), 0600);
  EXPECT_THAT(failure(path("fifo")), testing::HasSubstr("reader"));
}

TEST_F(InFolder, ASocketServesOneClientAfterTheOther) {
  Running running("unix:" + path("console"));
  struct stat status{};
  ASSERT_EQ(stat(path("console").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u) << "others could take over the machine";
  running.say("before\n");
  auto first = connect("console");
  const auto greeting = read_until(first.get(), "before\n");
  EXPECT_NE(greeting.find("before\n"), greeting.npos);
  send(first.get(), "one");
  EXPECT_NE(read_until(first.get(), "e]").find("e]"), std::string::npos);
  first = {};
  auto second = connect("console");
  send(second.get(), "two");
  EXPECT_NE(read_until(second.get(), "o]").find("o]"), std::string::npos);
  running.end();
  EXPECT_EQ(read_until(second.get(), "the end"), "");
  EXPECT_FALSE(std::filesystem::exists(path("console"))) << "it is removed at the end";
}

TEST_F(InFolder, AClientThatOnlySendsIsHeardToTheEnd) {
  Running running("unix:" + path("console"));
  running.guest.appetite = 16;
  auto client = connect("console");
  send(client.get(), std::string(10'000, 'k') + "!");
  shutdown(client.get(), SHUT_WR);
  auto got = read_until(client.get(), "!]");
  EXPECT_EQ(std::count(got.begin(), got.end(), 'k'), 10'000);
}

TEST_F(InFolder, TheLast64KiBWaitForAClient) {
  Running running("unix:" + path("console"));
  for (int i = 0; i < 1000; i++) running.say(std::string(999, 'x') + "\n");
  running.say("END");
  auto client = connect("console");
  EXPECT_EQ(read_until(client.get(), "END").size(), 64u << 10);
}

TEST_F(InFolder, ASlowClientGetsEverything) {
  Running running("unix:" + path("console"));
  auto client = connect("console");
  read_until(client.get(), "ready\n");
  std::string lines;
  for (int i = 0; lines.size() < 3'000'000; i++) lines += std::to_string(i) + "\n";
  std::thread writer([&] {
    for (std::size_t at = 0; at < lines.size(); at += 1000) running.say(std::string_view(lines).substr(at, 1000));
    running.say("END");
  });
  EXPECT_EQ(read_until(client.get(), "END"), lines + "END");
  writer.join();
}

TEST_F(InFolder, ASocketReplacesOnlyDeadOnes) {
  std::ofstream(path("file")) << "precious";
  EXPECT_THAT(failure("unix:" + path("file")), testing::HasSubstr("not a socket"));
  EXPECT_EQ(content(path("file")), "precious");
  {
    Running running("unix:" + path("console"));
    EXPECT_THAT(failure("unix:" + path("console")), testing::HasSubstr("listens"));
    EXPECT_TRUE(std::filesystem::exists(path("console")));
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path("console").c_str());
  {
    FileDescriptor killed(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(killed.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  Running running("unix:" + path("console"));
  auto client = connect("console");
  EXPECT_NE(read_until(client.get(), "ready\n"), "");
}

TEST_F(InFolder, SocketNamesThatCannotBe) {
  EXPECT_THAT(failure("unix:"), testing::HasSubstr("bytes"));
  EXPECT_THAT(failure("unix:/" + std::string(200, 'x')), testing::HasSubstr("bytes"));
  EXPECT_THAT(failure("unix:" + path("no/such")), testing::HasSubstr("No such file"));
}

TEST(SilentConsole, EndsOnASignal) {
  Pipe out;
  Process process;
  process.start(-1, out.write.get(), [] {
    Guest guest("none");
    guest.at_start = [] { [[maybe_unused]] auto n = ::write(1, "ready", 5); };
    guest.run();
    _exit(7);
  });
  EXPECT_EQ(read_until(out.read.get(), "ready"), "ready");
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 7);
}

}  // namespace
}  // namespace doppel
