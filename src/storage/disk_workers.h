#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "storage/async_disk.h"

namespace doppel {

/// Threads that do a disk's requests by its blocking functions. All threads start in the constructor.
class DiskWorkers {
 public:
  DiskWorkers(Disk& disk, EventLoop& loop, unsigned threads);
  /// Finishes all requests without calling their `done`. The loop's lock is held, or the loop does not run.
  ~DiskWorkers();
  DiskWorkers(const DiskWorkers&) = delete;
  void submit(DiskRequest request);
  /// AsyncDisk::drain().
  void drain();

 private:
  /// What is done and not yet told. It outlives the workers in functions that the loop has not run yet.
  struct Finished {
    std::mutex lock;
    std::vector<std::pair<std::function<void(bool)>, bool>> results;
    bool closed = false;  // under the loop's lock
    void deliver();
  };
  void work();
  void finish(DiskRequest& request, bool ok);

  Disk& disk_;
  EventLoop& loop_;
  std::shared_ptr<Finished> finished_ = std::make_shared<Finished>();
  std::mutex lock_;
  std::condition_variable wake_, idle_;
  std::deque<DiskRequest> queue_;
  unsigned busy_ = 0;  // threads that do a request
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

/// Does one request now, on this thread; false where it failed.
bool perform(Disk& disk, const DiskRequest& request);

}  // namespace doppel
