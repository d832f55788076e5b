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
/// layer costs nothing until something is written. Nothing in it is durable but by keep_in().
class LayeredDisk final : public Disk {
 public:
  /// A disk as it was opened. Without a scratch file it cannot be frozen.
  LayeredDisk(std::shared_ptr<Disk> disk, std::shared_ptr<ScratchFile> scratch);
  /// What was captured, to go on from; or an image that is to stay as it is.
  LayeredDisk(DiskImage image, bool read_only, std::shared_ptr<ScratchFile> scratch);
  ~LayeredDisk() override;

  /// The disk as of now: what was written is shared from now on. Costs what was written since the last time, a map
  /// entry for each run of blocks. The caller sees to it that no request is under way.
  Result<DiskImage> freeze();
  /// Takes over the content of an image of the same size, and the same base where it is kept in an overlay; what was
  /// not frozen is gone. No request is under way.
  Result<void> adopt(const DiskImage& image);

  /// Whether to freeze it, without keep_in() before, would take from the guest that what it flushes is durable.
  bool needs_overlay() const { return !read_only_ && !layered_; }
  /// Freezes the disk that it was given and makes an overlay over that in `file`, empty and open for writing. All that
  /// is over the base is in it with each flush from now on, and durable. The file is at `path`, beside the base's. No
  /// request is under way.
  Result<void> keep_in(FileDescriptor file, const std::string& path);

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
  Result<std::unique_ptr<Disk>> make_overlay(FileDescriptor file, const std::string& path) const;
  Result<DiskImage> freeze_layers();
  Result<void> keep(const DiskImage& image, const BlockExtents& blocks);
  Result<void> complete_block(std::uint64_t offset, std::uint64_t length, Pieces& in);
  Result<std::uint64_t> write_blocks(std::uint64_t first, std::uint64_t last, Pieces& in);
  void clear_blocks(std::uint64_t first, std::uint64_t last);
  void put(const BlockExtent& extent);
  void give_up_private();

  std::shared_ptr<Disk> base_;
  std::shared_ptr<const BlockLayer> top_;
  std::shared_ptr<ScratchFile> scratch_;
  bool read_only_;
  std::atomic<bool> layered_;
  BlockMap private_;
  // Who reads private_, or a slot that it says, holds lock_ shared, so that a slot is not another disk's meanwhile. Who
  // changes it holds both.
  mutable std::shared_mutex lock_;
  std::mutex first_writes_;  // taken before lock_
  std::mutex flushing_;      // taken before first_writes_
  std::unique_ptr<Disk> overlay_;
  BlockExtents unkept_;  // what may be other in the overlay than in the frozen layers; guarded by first_writes_
};

}  // namespace doppel
