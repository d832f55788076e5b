#include "machine/sandbox.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>

#include "machine/landlock.h"

namespace doppel {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define DOPPEL_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DOPPEL_SANITIZED 1
#endif
#ifdef DOPPEL_SANITIZED
constexpr bool sanitized = true;  // their runtimes read /proc/self/maps, probe memory with pipes and start threads
#else
constexpr bool sanitized = false;
#endif

/// What every running machine needs, whatever the arguments: none of them names a file, a process or an address
/// outside.
constexpr int plain_calls[] = {
    // Memory.
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    // Waiting and time.
    SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(restart_syscall),
    // The event loop.
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll),
    SCMP_SYS(ppoll), SCMP_SYS(eventfd2),
    // Descriptors that are open.
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
    SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(lseek), SCMP_SYS(fdatasync),
    SCMP_SYS(fsync), SCMP_SYS(fallocate), SCMP_SYS(ftruncate), SCMP_SYS(fstat), SCMP_SYS(close), SCMP_SYS(dup),
    // Signals of its own.
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigpending),
    SCMP_SYS(sigaltstack),
    // What it is and where it ends.
    SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getpgrp), SCMP_SYS(getrandom), SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(exit), SCMP_SYS(exit_group)};

constexpr int socket_calls[] = {SCMP_SYS(connect),    SCMP_SYS(bind),       SCMP_SYS(listen),   SCMP_SYS(accept),
                                SCMP_SYS(accept4),    SCMP_SYS(sendto),     SCMP_SYS(recvfrom), SCMP_SYS(sendmsg),
                                SCMP_SYS(recvmsg),    SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
                                SCMP_SYS(getsockopt), SCMP_SYS(getpeername)};

// For terminals; FIONREAD is libslirp's. Not TIOCSTI, which types into the user's shell.
constexpr unsigned long terminal_requests[] = {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ, TIOCGPGRP, FIONREAD};

// Not F_SETOWN and F_SETSIG, which send signals to others.
constexpr int descriptor_commands[] = {F_GETFD,     F_SETFD,      F_GETFL,     F_SETFL,    F_DUPFD_CLOEXEC,
                                       F_OFD_SETLK, F_OFD_SETLKW, F_OFD_GETLK, F_GET_SEALS};

// What C library functions try and live without; see enter_sandbox().
constexpr int refused_calls[] = {SCMP_SYS(access),     SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
                                 SCMP_SYS(readlinkat), SCMP_SYS(stat),      SCMP_SYS(lstat),      SCMP_SYS(statx)};

/// A condition on one argument: `argument & mask` is `value`. Arguments of type int are compared in their 32 bits,
/// because the kernel ignores the others.
scmp_arg_cmp masked(unsigned argument, scmp_datum_t mask, scmp_datum_t value) {
  return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, mask, value};
}
scmp_arg_cmp is(unsigned argument, scmp_datum_t value) { return masked(argument, 0xffffffff, value & 0xffffffff); }

/// Collects rules; the first problem stays.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release) {
    if (!context_) problem_ = ENOMEM;
    set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);  // 32-bit and x32 calls
    set(SCMP_FLTATR_CTL_TSYNC, 1);
    set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree: some calls are frequent
    set(SCMP_FLTATR_API_SYSRAWRC, 1);
  }
  void rule(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    if (problem_) return;
    problem_ = -seccomp_rule_add_array(context_.get(), action, call, static_cast<unsigned>(conditions.size()),
                                       conditions.begin());
  }
  void allow(int call, std::initializer_list<scmp_arg_cmp> conditions = {}) { rule(SCMP_ACT_ALLOW, call, conditions); }
  void allow_all(std::span<const int> calls) {
    for (const int call : calls) allow(call);
  }
  /// 0 or an errno value.
  int load() { return problem_ ? problem_ : -seccomp_load(context_.get()); }

 private:
  void set(scmp_filter_attr attribute, std::uint32_t value) {
    if (!problem_) problem_ = -seccomp_attr_set(context_.get(), attribute, value);
  }
  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int problem_ = 0;
};

void allow_memory(Filter& filter) {
  // Code that a translator makes will come through a second mapping made before (ARCHITECTURE, law 4).
  filter.allow(SCMP_SYS(mmap), {masked(2, PROT_EXEC, 0)});
  filter.allow(SCMP_SYS(mprotect), {masked(2, PROT_EXEC, 0)});
}

void allow_descriptors(Filter& filter) {
  for (const auto request : terminal_requests) filter.allow(SCMP_SYS(ioctl), {is(1, request)});
  for (const int command : descriptor_commands)
    filter.allow(SCMP_SYS(fcntl), {is(1, static_cast<scmp_datum_t>(command))});
  filter.allow(SCMP_SYS(newfstatat), {is(3, AT_EMPTY_PATH)});  // what fstat() is in the C library
  filter.allow(SCMP_SYS(prlimit64), {is(0, 0), {2, SCMP_CMP_EQ, 0, 0}});
  filter.allow(SCMP_SYS(prctl), {is(0, PR_SET_NAME)});
}

// Signals to itself only: abort(), raise(), and stopping with the terminal given back.
void allow_own_signals(Filter& filter) { filter.allow(SCMP_SYS(tgkill), {is(0, static_cast<scmp_datum_t>(getpid()))}); }

// The path of a file is behind a pointer, which a filter cannot follow: Landlock looks at it.
void allow_reading_files(Filter& filter, bool allowed) {
  const auto action = allowed ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES);
  filter.rule(action, SCMP_SYS(openat), {masked(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)});
  filter.rule(action, SCMP_SYS(open), {masked(1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)});
  filter.rule(action, SCMP_SYS(newfstatat), {is(3, 0)});
  for (const int call : refused_calls) filter.rule(sanitized ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES), call);
}

void allow_network(Filter& filter) {
  filter.allow_all(socket_calls);
  constexpr scmp_datum_t type = 0xf;  // without SOCK_NONBLOCK and SOCK_CLOEXEC
  for (const scmp_datum_t family : {AF_INET, AF_INET6}) {
    filter.allow(SCMP_SYS(socket), {is(0, family), masked(1, type, SOCK_STREAM)});
    filter.allow(SCMP_SYS(socket), {is(0, family), masked(1, type, SOCK_DGRAM)});
    // libslirp tries it for echo requests where a datagram socket cannot send them.
    filter.rule(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), {is(0, family), masked(1, type, SOCK_RAW)});
  }
}

void allow_threads(Filter& filter) {
  // The flags of clone3 are behind a pointer; without it the C library uses clone.
  filter.rule(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  constexpr scmp_datum_t needed = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
  constexpr scmp_datum_t never = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                 CLONE_NEWPID | CLONE_NEWNET | CLONE_PTRACE | CLONE_VFORK;
  filter.allow(SCMP_SYS(clone), {masked(0, needed | never, needed)});
}

// A console's client, or standard output where that is a socket: to and from the other end only, not any address.
void allow_connected_sockets(Filter& filter) {
  filter.allow(SCMP_SYS(sendto), {is(4, 0)});
  filter.allow(SCMP_SYS(recvfrom), {is(4, 0)});
}

void allow_console_socket(Filter& filter) {
  for (const int call : {SCMP_SYS(accept4), SCMP_SYS(shutdown)}) filter.allow(call);
  filter.allow(SCMP_SYS(unlinkat), {is(2, 0)});
}

// Who asks (SO_PEERCRED), and what is passed with it (SCM_RIGHTS). Nothing is sent to an address.
void allow_control_socket(Filter& filter) {
  for (const int call : {SCMP_SYS(accept4), SCMP_SYS(recvmsg), SCMP_SYS(shutdown)}) filter.allow(call);
  filter.allow(SCMP_SYS(getsockopt), {is(1, SOL_SOCKET), is(2, SO_PEERCRED)});
}

}  // namespace

Result<bool> restrict_files(const SandboxOptions& options) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return error("cannot give up privileges: {}", std::strerror(errno));
  return apply_landlock(options);
}

Result<void> enter_sandbox(const SandboxOptions& options) {
  if (!landlock_applied())
    if (auto restricted = restrict_files(options); !restricted) return restricted.failure();
  Filter filter;
  filter.allow_all(plain_calls);
  allow_memory(filter);
  allow_descriptors(filter);
  allow_own_signals(filter);
  allow_reading_files(filter, options.network || !options.readable.empty() || sanitized);
  options.network ? allow_network(filter) : allow_connected_sockets(filter);
  if (options.threads || sanitized) allow_threads(filter);
  if (sanitized)
    for (const int call : {SCMP_SYS(pipe), SCMP_SYS(pipe2)}) filter.allow(call);
  if (options.io_uring) filter.allow(SCMP_SYS(io_uring_enter));
  if (!options.socket_directory.empty()) allow_console_socket(filter);
  if (options.control_socket) allow_control_socket(filter);
  if (const int problem = filter.load())
    return error("cannot confine the process (seccomp: {}); --no-sandbox runs without", std::strerror(problem));
  return {};
}

}  // namespace doppel
