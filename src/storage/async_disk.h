#pragma once
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "storage/disk.h"

namespace doppel {

/// When a request is to be complete, on disks whose completions come at times that are state (a machine by the
/// instruction clock): in nanoseconds of guest time, and its turn among those of the same time.
struct DiskDue {
  std::int64_t ns = 0;
  std::uint64_t turn = 0;  // 0: whenever it is done
  explicit operator bool() const { return turn != 0; }
};

/// One request to a disk. The memory belongs to the requester and stays until done, or until drain() came back. It may
/// be a running guest's, pinned (law 7).
struct DiskRequest {
  enum class Kind : std::uint8_t { read, write, flush, discard, write_zeroes };
  Kind kind = Kind::read;
  bool may_unmap = false;  // write_zeroes only
  std::uint64_t offset = 0, length = 0;
  std::vector<iovec> pieces;  // read and write: memory of `length` bytes
  std::function<void(bool ok)> done;
  /// What AsyncDisk::next_due() gave, now or to the machine that this one is a copy of.
  DiskDue due = {};
  /// With `due`: called when it is done, which is then, to find its `pieces`. False: it is not wanted any more.
  std::function<bool(DiskRequest&)> locate = {};
};

/// Requests to a disk off the hart's thread. submit() is called under the device lock and does not block; `done` runs
/// later under the device lock, never from inside submit(). Order between requests in flight is free, but a flush
/// covers every write that was done before it was submitted.
class AsyncDisk {
 public:
  virtual ~AsyncDisk() = default;
  virtual void submit(DiskRequest request) = 0;
  /// Waits until no request that was submitted reads or writes its memory, or the disk, any more, but for those that
  /// have yet to ask for it (`locate`). Every `done` that is still due runs later, as always.
  virtual void drain() = 0;
  /// When a request that is submitted next is to be complete. Nothing where that is not state: `locate` is not called.
  virtual DiskDue next_due() { return {}; }
  virtual Disk& disk() = 0;
};

/// Through io_uring for raw files where the kernel has it, otherwise (and for other formats) a few threads that end
/// with the object. `done` runs on `loop`. The destructor waits for what is in flight, without calling `done`.
/// `allow_uring` false is the fallback everywhere (tests).
std::unique_ptr<AsyncDisk> make_async_disk(std::unique_ptr<Disk> disk, EventLoop& loop, bool allow_uring = true);

}  // namespace doppel
