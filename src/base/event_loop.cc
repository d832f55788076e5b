#include "base/event_loop.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"

namespace doppel {

Result<std::unique_ptr<EventLoop>> EventLoop::create(std::recursive_mutex& lock) {
  auto loop = std::unique_ptr<EventLoop>(new EventLoop(lock));
  loop->epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  loop->wakeup_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!loop->epoll_ || !loop->wakeup_) return error("cannot make an event loop: {}", std::strerror(errno));
  epoll_event event{.events = EPOLLIN, .data = {.fd = loop->wakeup_.get()}};
  epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wakeup_.get(), &event);
  return loop;
}

void EventLoop::watch(int fd, std::uint32_t events, Callback callback) {
  epoll_event event{.events = events, .data = {.fd = fd}};
  const bool known = watched_.contains(fd);
  epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  watched_[fd] = std::make_shared<Callback>(std::move(callback));
}

void EventLoop::unwatch(int fd) {
  if (watched_.erase(fd)) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] auto written = ::write(wakeup_.get(), &one, sizeof one);
}

void EventLoop::post(std::function<void()> function) {
  {
    std::lock_guard guard(posted_lock_);
    posted_.push_back(std::move(function));
  }
  wake();
}

std::uint64_t EventLoop::at(std::int64_t deadline_ns, std::function<void()> function) {
  timers_[next_timer_] = {deadline_ns, std::move(function)};
  wake();
  return next_timer_++;
}

void EventLoop::cancel(std::uint64_t timer) { timers_.erase(timer); }

void EventLoop::add_poll_hook(std::function<std::int64_t()> prepare, std::function<void()> finish) {
  hooks_.push_back({std::move(prepare), std::move(finish)});
  wake();
}

std::int64_t EventLoop::prepare_wait() {
  std::int64_t wait = -1;
  const auto sooner = [&](std::int64_t ns) {
    if (ns >= 0 && (wait < 0 || ns < wait)) wait = ns;
  };
  for (auto& hook : hooks_) sooner(hook.prepare());
  const auto now = monotonic_ns();
  for (auto& [id, timer] : timers_) sooner(std::max<std::int64_t>(0, timer.deadline_ns - now));
  return wait;
}

void EventLoop::run_posted() {
  std::vector<std::function<void()>> ready;
  {
    std::lock_guard guard(posted_lock_);
    ready.swap(posted_);
  }
  for (auto& function : ready) function();
}

void EventLoop::run_timers() {
  const auto now = monotonic_ns();
  const auto new_ones = next_timer_;  // what is set meanwhile waits, or one that is always due would hold us here
  for (auto it = timers_.begin(); it != timers_.end() && it->first < new_ones;) {
    if (it->second.deadline_ns > now) {
      ++it;
      continue;
    }
    const auto id = it->first;
    const auto function = std::move(it->second.function);
    timers_.erase(it);
    function();
    it = timers_.upper_bound(id);
  }
}

void EventLoop::run() {
  std::unique_lock guard(lock_);
  while (!stop_) {
    const auto wait = prepare_wait();
    const timespec timeout{wait / 1'000'000'000, wait % 1'000'000'000};
    epoll_event events[32];
    guard.unlock();
    const int count = epoll_pwait2(epoll_.get(), events, 32, wait < 0 ? nullptr : &timeout, nullptr);
    guard.lock();
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd == wakeup_.get()) {
        std::uint64_t drained;
        [[maybe_unused]] auto got = ::read(wakeup_.get(), &drained, sizeof drained);
        continue;
      }
      const auto found = watched_.find(events[i].data.fd);
      if (found == watched_.end()) continue;
      const auto callback = found->second;  // it may unwatch itself
      (*callback)(events[i].events);
    }
    for (auto& hook : hooks_) hook.finish();
    run_posted();
    run_timers();
  }
}

void EventLoop::stop() {
  stop_ = true;
  wake();
}

}  // namespace doppel
