#include "storage/async_disk.h"

#include "storage/disk_workers.h"
#include "storage/uring_disk.h"

namespace doppel {
namespace {

constexpr unsigned worker_threads = 8;

class ThreadedDisk final : public AsyncDisk {
 public:
  ThreadedDisk(std::unique_ptr<Disk> disk, EventLoop& loop)
      : disk_(std::move(disk)), workers_(*disk_, loop, worker_threads) {}
  void submit(DiskRequest request) override { workers_.submit(std::move(request)); }
  void drain() override { workers_.drain(); }
  Disk& disk() override { return *disk_; }

 private:
  std::unique_ptr<Disk> disk_;
  DiskWorkers workers_;  // ends before the disk
};

}  // namespace

std::unique_ptr<AsyncDisk> make_async_disk(std::unique_ptr<Disk> disk, EventLoop& loop, bool allow_uring) {
  if (allow_uring && disk->direct_descriptor() >= 0) {
    if (auto uring = UringDisk::make(disk, loop)) return uring;
  }
  return std::make_unique<ThreadedDisk>(std::move(disk), loop);
}

}  // namespace doppel
