#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "storage/image_file.h"

namespace doppel {

/// Runs of slots that nobody uses.
class SlotRuns {
 public:
  struct Run {
    std::uint32_t first = 0, count = 0;
  };
  void add(Run run);
  /// The first `most` slots that follow one another, or fewer; none where there are none.
  Run take(std::uint32_t most);
  std::uint64_t slots() const { return slots_; }
  const std::map<std::uint32_t, std::uint32_t>& runs() const { return runs_; }

 private:
  std::map<std::uint32_t, std::uint32_t> runs_;  // first and count
  std::uint64_t slots_ = 0;
};

/// Where machines of this process keep the blocks of disks that they wrote: one unnamed file, in slots of 4 KiB that
/// any number of layers may share. It keeps nothing and is never synced. Every function may be called from several
/// threads.
class ScratchFile {
 public:
  static constexpr std::uint64_t slot_bytes = 4096;
  using Run = SlotRuns::Run;

  static Result<std::shared_ptr<ScratchFile>> create();
  /// The one of this process, made at the first call, which must come before a sandbox that allows no more files.
  static Result<std::shared_ptr<ScratchFile>> of_process();
  explicit ScratchFile(std::unique_ptr<ImageFile> file) : file_(std::move(file)) {}

  /// Up to `most` slots that follow one another, at least one, with one owner. What is in them is somebody's who no
  /// longer needs it: whoever allocates writes them as a whole, or gives them back.
  Result<Run> allocate(std::uint32_t most);
  /// One owner more, or less, for each slot of the runs. With the last one the slots are free.
  void share(std::span<const Run> runs);
  void release(std::span<const Run> runs);
  /// `offset` in bytes from the start of a slot, into those that follow it too.
  Result<void> read(std::uint32_t slot, std::uint64_t offset, std::span<const iovec> pieces) const {
    return file_->readv(slot * slot_bytes + offset, pieces);
  }
  Result<void> write(std::uint32_t slot, std::uint64_t offset, std::span<const iovec> pieces) const {
    return file_->writev(slot * slot_bytes + offset, pieces);
  }
  /// Slots with an owner.
  std::uint64_t used() const;
  int fd() const { return file_->fd(); }

 private:
  static constexpr std::uint64_t most_unpunched = 4096;  // slots
  void punch(SlotRuns& freed);

  std::unique_ptr<ImageFile> file_;
  mutable std::mutex lock_;
  std::vector<std::uint32_t> owners_;  // of each slot up to the end of the file
  SlotRuns warm_, holes_;              // free: with old content, and given back to the host
};

}  // namespace doppel
