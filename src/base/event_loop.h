#pragma once
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace doppel {

/// One thread's epoll loop: descriptors, posted functions and one-shot timers. Every callback runs on the thread that
/// calls run(), holding the lock given at construction (the machine's device lock), so devices need no lock of their
/// own.
class EventLoop {
 public:
  using Callback = std::function<void(std::uint32_t events)>;

  static Result<std::unique_ptr<EventLoop>> create(std::recursive_mutex& lock);
  EventLoop(const EventLoop&) = delete;

  /// Calls `callback` when `fd` is ready for `events` (EPOLLIN, EPOLLOUT …, level-triggered). One callback an fd; a
  /// second add replaces the first. May be called from any thread that holds the lock, and from callbacks.
  void watch(int fd, std::uint32_t events, Callback callback);
  void unwatch(int fd);

  /// Runs `function` soon on the loop's thread, under the lock. Safe from any thread, with or without the lock.
  void post(std::function<void()> function);

  /// Runs `function` once when the host's monotonic clock reaches `deadline_ns`; returns an identity for cancel().
  std::uint64_t at(std::int64_t deadline_ns, std::function<void()> function);
  void cancel(std::uint64_t timer);

  /// `prepare` runs before every wait, under the lock, and may lower the time to wait (nanoseconds, -1 is for ever);
  /// `finish` runs after every wait. For libraries with a poll loop of their own, such as libslirp.
  void add_poll_hook(std::function<std::int64_t()> prepare, std::function<void()> finish);

  /// Serves until stop(). stop() may be called from any thread.
  void run();
  void stop();

 private:
  explicit EventLoop(std::recursive_mutex& lock) : lock_(lock) {}
  struct Timer {
    std::int64_t deadline_ns;
    std::function<void()> function;
  };
  struct Hook {
    std::function<std::int64_t()> prepare;
    std::function<void()> finish;
  };
  std::int64_t prepare_wait();
  void run_posted();
  void run_timers();
  void wake();

  std::recursive_mutex& lock_;
  FileDescriptor epoll_, wakeup_;
  std::map<int, std::shared_ptr<Callback>> watched_;
  std::map<std::uint64_t, Timer> timers_;
  std::uint64_t next_timer_ = 1;
  std::vector<Hook> hooks_;
  std::mutex posted_lock_;
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> stop_ = false;
};

}  // namespace doppel
