#include "machine/host_signals.h"

#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "machine/terminal.h"

namespace doppel {
namespace {

// timeout(1), for one, sends its signal twice: to the process and to its group.
constexpr std::int64_t same_wish_ns = 1'000'000'000;
std::atomic<std::int64_t> first_wish_ns = 0;

void end_at_once(int signal) {
  if (monotonic_ns() - first_wish_ns < same_wish_ns) return;
  Terminal::restore_saved();
  std::signal(signal, SIG_DFL);
  raise(signal);  // comes when this handler returns
}

bool ignored(int signal) {
  struct sigaction action{};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Result<std::unique_ptr<HostSignals>> HostSignals::open(EventLoop& loop, bool terminal) {
  auto signals = std::unique_ptr<HostSignals>(new HostSignals(loop));
  sigemptyset(&signals->taken_);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    if (!ignored(signal)) sigaddset(&signals->taken_, signal);
  if (terminal)
    for (const int signal : {SIGWINCH, SIGTSTP, SIGCONT}) sigaddset(&signals->taken_, signal);
  pthread_sigmask(SIG_BLOCK, &signals->taken_, &signals->before_);
  signals->descriptor_ = FileDescriptor(signalfd(-1, &signals->taken_, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals->descriptor_) return error("cannot receive signals: {}", std::strerror(errno));
  loop.watch(signals->descriptor(), EPOLLIN, [self = signals.get()](std::uint32_t) { self->collect(); });
  return signals;
}

HostSignals::~HostSignals() {
  if (descriptor_) loop_.unwatch(descriptor());
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void HostSignals::collect() {
  signalfd_siginfo got;
  while (::read(descriptor(), &got, sizeof got) == sizeof got) {
    const int signal = static_cast<int>(got.ssi_signo);
    if (ends_machine(signal) && !ending_) let_second_end();
    loop_.post([this, signal, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) handle(signal);
    });
  }
}

void HostSignals::handle(int signal) {
  if (handler_) handler_(signal);
}

void HostSignals::let_second_end() {
  ending_ = true;
  first_wish_ns = monotonic_ns();
  sigset_t again;
  sigemptyset(&again);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    if (!sigismember(&taken_, signal)) continue;
    struct sigaction action{};
    action.sa_handler = end_at_once;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
    sigaddset(&again, signal);
  }
  pthread_sigmask(SIG_UNBLOCK, &again, nullptr);
}

}  // namespace doppel
