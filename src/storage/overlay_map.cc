#include "storage/overlay_map.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

namespace doppel {
namespace {

using overlay::blocks_per_page, overlay::MapPage, overlay::slot_size;

std::uint32_t checksum_of(MapPage page) {
  page.checksum = 0;
  return static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(&page), sizeof page));
}

enum class Slot { empty, torn, valid };

Slot judge(const MapPage& page, std::uint64_t index) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&page);
  if (std::all_of(bytes, bytes + sizeof page, [](std::byte b) { return b == std::byte{0}; })) return Slot::empty;
  const bool valid = page.magic == overlay::map_magic && page.index == index && page.generation != 0 &&
                     page.checksum == checksum_of(page);
  return valid ? Slot::valid : Slot::torn;
}

// Calls f(word, mask) for each word of a page's range of blocks, until f returns false.
template <typename F>
void for_words(std::uint64_t first, std::uint64_t count, F f) {
  while (count > 0) {
    const std::uint64_t bit = first % 64, part = std::min<std::uint64_t>(count, 64 - bit);
    const std::uint64_t mask = (part == 64 ? ~0ULL : (1ULL << part) - 1) << bit;
    if (!f(first / 64, mask)) return;
    first += part;
    count -= part;
  }
}

}  // namespace

OverlayMap::OverlayMap(std::uint64_t blocks) : pages_((blocks + blocks_per_page - 1) / blocks_per_page) {}

OverlayMap::Page& OverlayMap::page(std::uint64_t index) {
  if (Page* there = pages_[index].load(std::memory_order_acquire)) return *there;
  owned_.push_back(std::make_unique<Page>());
  pages_[index].store(owned_.back().get(), std::memory_order_release);
  return *owned_.back();
}

OverlayMap::Run OverlayMap::run_at(std::uint64_t first, std::uint64_t limit) const {
  const std::uint64_t in_page = first % blocks_per_page;
  limit = std::min(limit, blocks_per_page - in_page);
  const Page* page = pages_[first / blocks_per_page].load(std::memory_order_acquire);
  if (!page) return {false, limit};
  const bool present = page->words[in_page / 64].load(std::memory_order_acquire) >> (in_page % 64) & 1;
  Run run{present, 0};
  for_words(in_page, limit, [&](std::size_t word, std::uint64_t mask) {
    const std::uint64_t bits = page->words[word].load(std::memory_order_acquire);
    const std::uint64_t different = (present ? ~bits : bits) & mask;
    const int low = std::countr_zero(mask);
    run.blocks += (different ? std::countr_zero(different) - low : std::popcount(mask));
    return different == 0;
  });
  return run;
}

bool OverlayMap::all_present(std::uint64_t first, std::uint64_t count) const {
  while (count > 0) {
    const Run run = run_at(first, count);
    if (!run.present) return false;
    first += run.blocks;
    count -= run.blocks;
  }
  return true;
}

void OverlayMap::set_present(std::uint64_t first, std::uint64_t count) {
  while (count > 0) {
    const std::uint64_t index = first / blocks_per_page, in_page = first % blocks_per_page;
    const std::uint64_t part = std::min(count, blocks_per_page - in_page);
    Page& target = page(index);
    for_words(in_page, part, [&](std::size_t word, std::uint64_t mask) {
      if ((target.words[word].fetch_or(mask, std::memory_order_release) & mask) != mask) dirty_.insert(index);
      return true;
    });
    first += part;
    count -= part;
  }
}

Result<void> OverlayMap::load_page(const ImageFile& file, std::uint64_t map_offset, std::uint64_t index) {
  std::array<MapPage, 2> slots;
  if (auto got = file.read(map_offset + index * sizeof slots, std::as_writable_bytes(std::span(slots))); !got)
    return got;
  const MapPage* newest = nullptr;
  bool any_empty = false;
  for (const auto& slot : slots) {
    const Slot state = judge(slot, index);
    any_empty |= state == Slot::empty;
    if (state == Slot::valid && (!newest || slot.generation > newest->generation)) newest = &slot;
  }
  // An empty and a torn slot: the first write to the page was cut off, and nothing of it had been flushed.
  if (!newest && !any_empty)
    return error("{} is damaged: page {} of its block map has a wrong checksum", file.path(), index);
  if (!newest) return {};
  Page& target = page(index);
  target.generation = newest->generation;
  for (std::size_t i = 0; i < newest->words.size(); i++) target.words[i].store(newest->words[i]);
  return {};
}

Result<void> OverlayMap::load(const ImageFile& file, std::uint64_t map_offset) {
  const std::uint64_t end = map_offset + stored_bytes();
  for (std::uint64_t at = map_offset; at < end;) {
    const std::uint64_t hole = file.hole_at(at, end - at) / (2 * slot_size) * (2 * slot_size);
    at += hole;
    if (at >= end) break;
    if (auto loaded = load_page(file, map_offset, (at - map_offset) / (2 * slot_size)); !loaded) return loaded;
    at += 2 * slot_size;
  }
  return {};
}

std::vector<MapPage> OverlayMap::take_dirty() {
  std::vector<MapPage> taken;
  for (const std::uint64_t index : dirty_) {
    Page& source = page(index);
    MapPage& copy = taken.emplace_back();
    copy = {.magic = overlay::map_magic, .checksum = 0, .generation = 0, .index = index, .reserved = 0, .words = {}};
    for (std::size_t i = 0; i < copy.words.size(); i++) copy.words[i] = source.words[i].load(std::memory_order_acquire);
  }
  dirty_.clear();
  return taken;
}

void OverlayMap::mark_dirty(const std::vector<MapPage>& pages) {
  for (const auto& page : pages) dirty_.insert(page.index);
}

Result<void> OverlayMap::store(const ImageFile& file, std::uint64_t map_offset, std::vector<MapPage>& pages) {
  for (auto& out : pages) {
    Page& source = *pages_[out.index].load(std::memory_order_acquire);
    out.generation = source.generation + 1;
    out.checksum = checksum_of(out);
    const std::uint64_t slot = map_offset + (out.index * 2 + out.generation % 2) * slot_size;
    if (auto put = file.write(slot, std::as_bytes(std::span(&out, 1))); !put) return put;
  }
  for (const auto& out : pages) pages_[out.index].load(std::memory_order_acquire)->generation = out.generation;
  return {};
}

}  // namespace doppel
