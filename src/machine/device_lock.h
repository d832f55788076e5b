#pragma once
#include <functional>
#include <mutex>

namespace doppel {

/// The lock of a machine's devices as running harts take it: one that must wait does so by `wait`, as no hart that
/// executes, so that a device may have all harts stand still.
class DeviceLock {
 public:
  explicit DeviceLock(std::recursive_mutex& mutex) : mutex_(mutex) {}
  std::function<void(std::recursive_mutex&)> wait = [](std::recursive_mutex& mutex) { mutex.lock(); };
  void lock() {
    if (!mutex_.try_lock()) wait(mutex_);
  }
  void unlock() { mutex_.unlock(); }

 private:
  std::recursive_mutex& mutex_;
};

}  // namespace doppel
