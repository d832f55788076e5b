#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "storage/disk_image.h"

namespace doppel {

/// A machine's disk that can become a value. At first it is the disk that it was given, which costs nothing; from the
/// first freeze() on what is written goes to a private layer in a scratch file, over an image that others may share. A
/// layer costs nothing until something is written. Nothing in it is durable.
class LayeredDisk final : public Disk {
 public:
  /// A disk as it was opened. Without a scratch file it cannot be frozen. `keeps`: what is flushed to it has to be
  /// durable.
  LayeredDisk(std::shared_ptr<Disk> disk, std::shared_ptr<ScratchFile> scratch, bool keeps = false);
  /// What was captured, to go on from.
  LayeredDisk(DiskImage image, bool read_only, std::shared_ptr<ScratchFile> scratch);
  ~LayeredDisk() override;

  /// The disk as of now: what was written is shared from now on. Costs what was written since the last time, a map
  /// entry for each run of blocks. The caller sees to it that no request is under way.
  Result<DiskImage> freeze();
  /// Takes over the content of an image of the same size; what was not frozen is gone. No request is under way.
  Result<void> adopt(const DiskImage& image);

  /// Whether to freeze it would take from the guest that what it flushes is durable.
  bool keeps() const { return keeps_ && !read_only_ && !layered_; }

  std::uint64_t size() const override { return base_->size(); }
  bool read_only() const override { return read_only_; }
  std::string_view format() const override { return layered_ ? "layers" : base_->format(); }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Result<void> readv(std::uint64_t offset, std::span<const iovec> pieces) override;
  Result<void> writev(std::uint64_t offset, std::span<const iovec> pieces) override;
  Result<void> flush() override;
  Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;
  int direct_descriptor() const override { return layered_ ? -1 : base_->direct_descriptor(); }

 private:
  class Pieces;
  Result<void> check_change(std::uint64_t offset, std::uint64_t length) const;
  Result<void> rewrite(std::uint64_t offset, std::uint64_t end, Pieces& in);
  Result<void> write_first(std::uint64_t offset, std::uint64_t end, Pieces& in);
  Result<void> complete_block(std::uint64_t offset, std::uint64_t length, Pieces& in);
  Result<std::uint64_t> write_blocks(std::uint64_t first, std::uint64_t last, Pieces& in);
  void clear_blocks(std::uint64_t first, std::uint64_t last);
  void put(const BlockExtent& extent);
  void give_up_private();

  std::shared_ptr<Disk> base_;
  std::shared_ptr<const BlockLayer> top_;
  std::shared_ptr<ScratchFile> scratch_;
  bool read_only_, keeps_ = false;
  std::atomic<bool> layered_;
  BlockMap private_;
  // Who reads private_, or a slot that it says, holds lock_ shared, so that a slot is not another disk's meanwhile. Who
  // changes it holds both.
  mutable std::shared_mutex lock_;
  std::mutex first_writes_;  // taken before lock_
};

}  // namespace doppel
