#pragma once
#include <liburing.h>

#include <deque>
#include <memory>
#include <vector>

#include "base/file_descriptor.h"
#include "storage/async_disk.h"
#include "storage/disk_workers.h"

namespace doppel {

/// Requests to a raw disk through io_uring. Everything here happens under the loop's lock. What has no simple operation
/// of the kernel's (discard, zeroes, and writes to the first sector, which RawDisk checks) goes to worker threads, and
/// everything once the disk has no file of its own any more (LayeredDisk).
class UringDisk final : public AsyncDisk {
 public:
  /// Requests that the kernel has at one time; more wait here.
  static constexpr unsigned depth = 128;

  /// Null, and `disk` left alone, where the kernel has no io_uring, forbids it, or lacks an operation.
  static std::unique_ptr<AsyncDisk> make(std::unique_ptr<Disk>& disk, EventLoop& loop);
  ~UringDisk() override;
  void submit(DiskRequest request) override;
  void drain() override;
  Disk& disk() override { return *disk_; }

 private:
  /// A request that the kernel has; its index is the completion's user data.
  struct Slot {
    DiskRequest request;
    std::uint64_t transferred = 0;
    std::size_t piece = 0;  // the first that is not complete
    unsigned interruptions = 0;
    bool busy = false;
  };
  struct Completion {
    std::uint64_t slot;
    int result;
  };

  UringDisk(io_uring ring, FileDescriptor ready, std::unique_ptr<Disk> disk, EventLoop& loop);
  bool direct(const DiskRequest& request) const;
  void pump();
  void queue(unsigned index);
  void enter();
  std::vector<Completion> collect();
  void on_ready();
  void complete(const Completion& completion);
  void deliver();
  void wait_for_all();
  bool again(Slot& slot, int result) const;
  bool succeeded(const Slot& slot, int result);

  io_uring ring_;
  FileDescriptor ready_;  // an eventfd that the kernel writes at each completion
  std::unique_ptr<Disk> disk_;
  EventLoop& loop_;
  std::vector<Slot> slots_{depth};
  std::vector<unsigned> free_;
  std::deque<DiskRequest> backlog_;
  std::vector<std::pair<std::function<void(bool)>, bool>> finished_;  // not yet told
  std::uint64_t retry_timer_ = 0;
  bool sync_failed_ = false;
  bool ending_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
  std::unique_ptr<DiskWorkers> worker_;
};

}  // namespace doppel
