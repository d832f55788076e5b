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

/// Threads that do a disk's requests by its blocking functions. All threads start in the constructor. While the host
/// has in memory what they read and write, only as many work as it has processors: more would keep a guest from its
/// own, and finish together what it could have had one by one.
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
  void do_next(std::unique_lock<std::mutex>& guard);
  void adapt(bool waited);
  void wake(std::size_t most);

  Disk& disk_;
  EventLoop& loop_;
  std::shared_ptr<Finished> finished_ = std::make_shared<Finished>();
  std::mutex lock_;
  std::condition_variable idle_;
  std::deque<DiskRequest> queue_;
  unsigned busy_ = 0;   // threads that do a request
  unsigned limit_ = 1;  // how many may
  struct Sleeper {      // a thread that has nothing to do
    std::condition_variable wake;
    bool called = false;
  };
  std::vector<Sleeper*> asleep_;
  unsigned unwaited_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

/// Does one request now, on this thread; false where it failed.
bool perform(Disk& disk, const DiskRequest& request);

}  // namespace doppel
