#pragma once
// Disks as values: immutable layers of 4 KiB blocks over an image that nobody writes to any more.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "storage/block_map.h"
#include "storage/disk.h"

namespace doppel {

inline constexpr std::uint64_t disk_block_bytes = 4096;
inline std::uint64_t disk_blocks(std::uint64_t bytes) { return (bytes + disk_block_bytes - 1) / disk_block_bytes; }

/// Blocks that are kept elsewhere, for instance in a snapshot, and brought when they are first read. Every function may
/// be called from several threads.
class BlockSource {
 public:
  virtual ~BlockSource() = default;
  virtual bool holds(std::uint64_t block) const = 0;
  /// The 4 KiB of a block that it holds, zeros after the end of the disk; they stay as long as the source. Null: they
  /// cannot be had.
  virtual const std::byte* bring(std::uint64_t block) = 0;
  /// The first block before `last` from `first` on that it holds, or `last`.
  virtual std::uint64_t next(std::uint64_t first, std::uint64_t last) const {
    while (first < last && !holds(first)) first++;
    return first;
  }
};

/// What was written to a disk between two moments; or, as the lowest one, what a source has. Never changes.
class BlockLayer {
 public:
  /// The layer is from now on one of the owners of the extents' slots.
  BlockLayer(std::shared_ptr<ScratchFile> scratch, BlockExtents extents, std::shared_ptr<const BlockLayer> parent);
  explicit BlockLayer(std::shared_ptr<BlockSource> source) : source_(std::move(source)) {}
  ~BlockLayer();
  BlockLayer(const BlockLayer&) = delete;

  const BlockExtents& extents() const { return extents_; }
  const std::shared_ptr<const BlockLayer>& parent() const { return parent_; }  // null: the image is below
  BlockSource* source() const { return source_.get(); }
  const std::shared_ptr<ScratchFile>& scratch() const { return scratch_; }

 private:
  std::shared_ptr<ScratchFile> scratch_;
  BlockExtents extents_;
  std::shared_ptr<const BlockLayer> parent_;
  std::shared_ptr<BlockSource> source_;
};

/// Blocks that follow one another and are in one place.
struct DiskPart {
  enum class Place : std::uint8_t { image, zeros, slots, source };
  std::uint64_t first = 0, last = 0;  // the blocks before `last`
  Place place = Place::image;
  std::uint32_t slot = 0;                // slots: that of the first block, in
  const ScratchFile* scratch = nullptr;  // this file
  BlockSource* source = nullptr;
};

/// What a disk was at one moment. Copying it costs two pointers, whatever was written to the disk.
struct DiskImage {
  std::shared_ptr<Disk> base;             // from now on only read
  std::shared_ptr<const BlockLayer> top;  // null: the base as it is

  /// `base` with the blocks of `source` over it.
  static DiskImage over(std::shared_ptr<Disk> base, std::shared_ptr<BlockSource> source) {
    return {std::move(base), std::make_shared<BlockLayer>(std::move(source))};
  }
  std::uint64_t size() const { return base->size(); }

  /// Sees one block over the base: 4 KiB, after the end of the disk zeros, or nothing for a block of zeros.
  using Visitor = std::function<Result<void>(std::uint64_t block, std::span<const std::byte> bytes)>;
  /// Shows all blocks that are not the base's, in ascending order, until `visit` fails.
  Result<void> for_each_block(const Visitor& visit) const;
  /// Shows the blocks, the base's too, that may be others than in `before`, which lies over the same base.
  Result<void> for_each_difference(const DiskImage& before, const Visitor& visit) const {
    return for_each_of(blocks_apart(before), visit);
  }
  /// All that this or `before` wrote since they parted, as extents whose slots mean nothing.
  BlockExtents blocks_apart(const DiskImage& before) const;
  /// Shows these blocks, the base's too.
  Result<void> for_each_of(const BlockExtents& blocks, const Visitor& visit) const;
};

/// Calls `one(part)` for the blocks before `last` from `first` on, in ascending order, until it fails: where they are
/// in `layer` and what it lies on.
Result<void> for_each_part(const BlockLayer* layer, std::uint64_t first, std::uint64_t last,
                           const std::function<Result<void>(const DiskPart&)>& one);
/// Reads `pieces` from a part, `offset` bytes after its start.
Result<void> read_part(const DiskPart& part, std::uint64_t offset, std::span<const iovec> pieces, Disk& base);

}  // namespace doppel
