#include "storage/disk_image.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include "memory/racing_copy.h"

namespace doppel {
namespace {

using PartVisitor = std::function<Result<void>(const DiskPart&)>;
using Place = DiskPart::Place;

Result<void> visit_source(BlockSource& source, std::uint64_t first, std::uint64_t last, const PartVisitor& one) {
  while (first < last) {
    const auto held = source.next(first, last);
    if (first < held)
      if (auto done = one({.first = first, .last = held}); !done) return done;
    if (held == last) break;
    if (auto done = one({.first = held, .last = held + 1, .place = Place::source, .source = &source}); !done)
      return done;
    first = held + 1;
  }
  return {};
}

/// Layers that only one of the two images has.
std::vector<const BlockLayer*> layers_apart(const BlockLayer* one, const BlockLayer* other) {
  const auto chain = [](const BlockLayer* layer) {
    std::vector<const BlockLayer*> all;
    for (; layer; layer = layer->parent().get()) all.push_back(layer);
    return all;
  };
  auto ours = chain(one), theirs = chain(other);
  while (!ours.empty() && !theirs.empty() && ours.back() == theirs.back()) ours.pop_back(), theirs.pop_back();
  ours.insert(ours.end(), theirs.begin(), theirs.end());
  return ours;
}

/// The blocks that layers hold, as extents whose slots mean nothing.
BlockExtents blocks_of(std::span<const BlockLayer* const> layers, std::uint64_t blocks) {
  BlockExtents all;
  for (const auto* layer : layers) {
    BlockExtents held;
    if (auto* source = layer->source()) {
      for (auto block = source->next(0, blocks); block < blocks; block = source->next(block + 1, blocks))
        held.push_back({block, 1, BlockExtent::zeros});
    } else {
      for (const auto& extent : layer->extents()) held.push_back({extent.block, extent.count, BlockExtent::zeros});
    }
    all = merge(all, held);
  }
  return all;
}

}  // namespace

Result<void> DiskImage::for_each_of(const BlockExtents& blocks, const Visitor& visit) const {
  std::array<std::byte, disk_block_bytes> bytes;
  const auto show_block = [&](const DiskPart& part, std::uint64_t block) -> Result<void> {
    if (part.place == Place::zeros) return visit(block, {});
    const auto at = block * disk_block_bytes;
    const auto length = std::min<std::uint64_t>(disk_block_bytes, size() - at);
    std::memset(bytes.data() + length, 0, disk_block_bytes - length);
    const iovec piece{bytes.data(), length};
    if (auto got = read_part(part, at - part.first * disk_block_bytes, {&piece, 1}, *base); !got) return got;
    return visit(block, bytes);
  };
  for (const auto& extent : blocks) {
    auto shown = for_each_part(top.get(), extent.block, extent.end(), [&](const DiskPart& part) {
      Result<void> done;
      for (auto block = part.first; done && block < part.last; block++) done = show_block(part, block);
      return done;
    });
    if (!shown) return shown;
  }
  return {};
}

BlockLayer::BlockLayer(std::shared_ptr<ScratchFile> scratch, BlockExtents extents,
                       std::shared_ptr<const BlockLayer> parent)
    : scratch_(std::move(scratch)), extents_(std::move(extents)), parent_(std::move(parent)) {}

BlockLayer::~BlockLayer() {
  if (scratch_) scratch_->release(slots_of(extents_));
}

Result<void> for_each_part(const BlockLayer* layer, std::uint64_t first, std::uint64_t last, const PartVisitor& one) {
  if (first >= last) return {};
  if (!layer) return one({.first = first, .last = last});
  if (layer->source()) return visit_source(*layer->source(), first, last, one);
  const auto& extents = layer->extents();
  auto at = std::ranges::upper_bound(extents, first, {}, &BlockExtent::end);
  for (; first < last && at != extents.end() && at->block < last; ++at) {
    if (auto done = for_each_part(layer->parent().get(), first, at->block, one); !done) return done;
    const auto part = at->part(std::max(first, at->block), std::min(last, at->end()));
    const auto place = part.slot == BlockExtent::zeros ? Place::zeros : Place::slots;
    if (auto done = one({part.block, part.end(), place, part.slot, layer->scratch().get()}); !done) return done;
    first = part.end();
  }
  return for_each_part(layer->parent().get(), first, last, one);
}

Result<void> read_part(const DiskPart& part, std::uint64_t offset, std::span<const iovec> pieces, Disk& base) {
  switch (part.place) {
    case Place::image:
      return base.readv(part.first * disk_block_bytes + offset, pieces);
    case Place::slots:
      return part.scratch->read(part.slot, offset, pieces);
    case Place::zeros:
      for (const auto& piece : pieces) racing_fill(static_cast<std::byte*>(piece.iov_base), 0, piece.iov_len);
      return {};
    case Place::source:
      break;
  }
  const auto* bytes = part.source->bring(part.first);
  if (!bytes) return error("block {} of a disk could not be had from the snapshot", part.first);
  bytes += offset;
  for (const auto& piece : pieces) {
    racing_copy(static_cast<std::byte*>(piece.iov_base), bytes, piece.iov_len);
    bytes += piece.iov_len;
  }
  return {};
}

Result<void> DiskImage::for_each_block(const Visitor& visit) const {
  return for_each_of(blocks_apart({base, nullptr}), visit);
}

BlockExtents DiskImage::blocks_apart(const DiskImage& before) const {
  return blocks_of(layers_apart(top.get(), before.top.get()), disk_blocks(size()));
}

}  // namespace doppel
