#include "storage/block_map.h"

namespace doppel {
namespace {

void append(BlockExtents& to, const BlockExtent& extent) {
  if (!to.empty() && to.back().joins(extent))
    to.back().count += extent.count;
  else
    to.push_back(extent);
}

}  // namespace

BlockExtents merge(const BlockExtents& upper, const BlockExtents& lower) {
  BlockExtents both;
  auto above = upper.begin();
  const auto append_above_until = [&](std::uint64_t block) {
    for (; above != upper.end() && above->block < block; ++above) append(both, *above);
  };
  for (const auto& extent : lower) {
    auto first = extent.block;
    append_above_until(first);
    if (!both.empty()) first = std::max(first, both.back().end());
    while (first < extent.end()) {
      const auto last = above == upper.end() ? extent.end() : std::min(extent.end(), above->block);
      if (first < last) append(both, extent.part(first, last));
      if (last == extent.end()) break;
      append(both, *above);
      first = (above++)->end();
    }
  }
  append_above_until(~0ULL);
  return both;
}

std::vector<ScratchFile::Run> slots_of(const BlockExtents& extents) {
  std::vector<ScratchFile::Run> runs;
  for (const auto& extent : extents)
    if (extent.slot != BlockExtent::zeros) runs.push_back({extent.slot, extent.count});
  return runs;
}

/// Makes an extent that goes over a block two.
void BlockMap::cut(std::uint64_t at) {
  auto next = extents_.upper_bound(at);
  if (next == extents_.begin()) return;
  auto& extent = std::prev(next)->second;
  if (extent.block == at || extent.end() <= at) return;
  extents_.emplace_hint(next, at, extent.part(at, extent.end()));
  extent = extent.part(extent.block, at);
}

void BlockMap::set(BlockExtent extent, std::vector<ScratchFile::Run>& replaced) {
  cut(extent.block);
  cut(extent.end());
  auto at = extents_.lower_bound(extent.block);
  while (at != extents_.end() && at->second.block < extent.end()) {
    if (at->second.slot != BlockExtent::zeros) replaced.push_back({at->second.slot, at->second.count});
    at = extents_.erase(at);
  }
  if (at != extents_.begin() && std::prev(at)->second.joins(extent))
    std::prev(at)->second.count += extent.count;
  else
    extents_.emplace_hint(at, extent.block, extent);
}

bool BlockMap::all_in_slots(std::uint64_t first, std::uint64_t last) const {
  auto at = extents_.upper_bound(first);
  if (at == extents_.begin()) return first >= last;
  for (--at; first < last; ++at) {
    if (at == extents_.end()) return false;
    const auto& extent = at->second;
    if (extent.block > first || extent.end() <= first || extent.slot == BlockExtent::zeros) return false;
    first = extent.end();
  }
  return true;
}

BlockExtents BlockMap::take() {
  BlockExtents all;
  all.reserve(extents_.size());
  for (const auto& [block, extent] : extents_) all.push_back(extent);
  extents_.clear();
  return all;
}

}  // namespace doppel
