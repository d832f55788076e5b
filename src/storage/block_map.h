#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "base/result.h"
#include "storage/scratch_file.h"

namespace doppel {

/// Blocks of a disk that follow one another, and the slots of a scratch file that they are in, in the same order.
struct BlockExtent {
  static constexpr std::uint32_t zeros = ~0u;  // no slots: the blocks read as zeros
  std::uint64_t block = 0;
  std::uint32_t count = 0;
  std::uint32_t slot = zeros;

  std::uint64_t end() const { return block + count; }
  /// The part from `first` on and before `last`, which must be in it.
  BlockExtent part(std::uint64_t first, std::uint64_t last) const {
    return {first, std::uint32_t(last - first), slot == zeros ? zeros : std::uint32_t(slot + (first - block))};
  }
  /// Whether `next` goes on where this one ends.
  bool joins(const BlockExtent& next) const {
    return end() == next.block && (slot == zeros) == (next.slot == zeros) &&
           (slot == zeros || slot + count == next.slot) && std::uint64_t(count) + next.count < zeros;
  }
};

/// Extents that do not overlap, in ascending order.
using BlockExtents = std::vector<BlockExtent>;

/// What is in either, of which `upper` hides `lower`.
BlockExtents merge(const BlockExtents& upper, const BlockExtents& lower);
/// The slots that extents are in.
std::vector<ScratchFile::Run> slots_of(const BlockExtents& extents);

/// Which blocks of a disk are in which slots. Not for several threads.
class BlockMap {
 public:
  /// `replaced` gets the slots of what was there.
  void set(BlockExtent extent, std::vector<ScratchFile::Run>& replaced);
  bool empty() const { return extents_.empty(); }
  BlockExtents take();

  /// Whether each block before `last` from `first` on is in a slot.
  bool all_in_slots(std::uint64_t first, std::uint64_t last) const;
  /// Calls `there(extent)` for what it has of the blocks before `last` from `first` on, cut to them, and
  /// `missing(first, last)` for the others, in ascending order, until one fails.
  template <typename There, typename Missing>
  Result<void> visit(std::uint64_t first, std::uint64_t last, There&& there, Missing&& missing) const {
    auto at = extents_.upper_bound(first);
    if (at != extents_.begin() && std::prev(at)->second.end() > first) --at;
    for (; first < last && at != extents_.end() && at->second.block < last; ++at) {
      const auto& extent = at->second;
      if (extent.block > first)
        if (auto done = missing(first, extent.block); !done) return done;
      const auto begin = std::max(first, extent.block), end = std::min(last, extent.end());
      if (auto done = there(extent.part(begin, end)); !done) return done;
      first = end;
    }
    if (first < last) return missing(first, last);
    return {};
  }

 private:
  void cut(std::uint64_t at);
  std::map<std::uint64_t, BlockExtent> extents_;  // by their first block
};

}  // namespace doppel
