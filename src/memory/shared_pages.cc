#include "memory/shared_pages.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace doppel {
namespace {

bool equal(const std::byte* one, const std::byte* other) { return std::memcmp(one, other, page_size) == 0; }

}  // namespace

std::size_t SharedPages::share(MemoryImage& image, std::size_t owner) {
  if (!image.top || image.top.use_count() != 1 || !image.top->parent || image.top->shares_pages) return 0;
  std::atomic_thread_fence(std::memory_order_acquire);  // behind those who had it
  auto& layer = const_cast<Layer&>(*image.top);
  std::vector<std::uint64_t> pages;
  layer.for_each([&](std::uint64_t page) { pages.push_back(page); });
  std::vector<std::byte*> freed;
  for (const auto page : pages) {
    auto* bytes = layer.own(page);
    if (!bytes) continue;  // lent already
    const auto* below = find_page(layer.parent.get(), page);
    if (below != lost_page && equal(bytes, below)) {
      layer.remove(page);
    } else if (equal(bytes, zero_page)) {
      layer.lend(page, zero_page);
    } else {
      std::lock_guard guard(lock_);
      const auto* entry = find_or_keep(bytes, owner);
      if (!entry) continue;
      layer.lend(page, entry->bytes);
      if (std::ranges::find(layer.segments, entry->segment) == layer.segments.end())
        layer.segments.push_back(entry->segment);
    }
    freed.push_back(bytes);
  }
  const auto count = freed.size();
  layer.give_back(std::move(freed));
  return count;
}

const SharedPages::Entry* SharedPages::find_or_keep(const std::byte* bytes, std::size_t owner) {
  const auto hash = XXH3_64bits(bytes, page_size);
  if (const auto found = entries_.find(hash); found != entries_.end())
    return equal(found->second.bytes, bytes) ? &found->second : nullptr;
  const auto [seen, first] = seen_.emplace(hash, owner);
  if (!first && seen->second != owner) {
    seen_.erase(seen);
    return keep(hash, bytes);
  }
  if (seen_.size() > most_seen) seen_.clear();  // what is there for long is seen again
  return nullptr;
}

const SharedPages::Entry* SharedPages::keep(std::uint64_t hash, const std::byte* bytes) {
  if (entries_.size() >= next_cleaning_) forget_unused();
  if (open_used_ == segment_pages) {
    auto segment = Segment::create(segment_pages * page_size);
    if (!segment) return nullptr;  // then it is not shared
    open_ = *std::move(segment), open_used_ = 0;
  }
  auto* frame = open_->data() + page_size * open_used_++;
  std::memcpy(frame, bytes, page_size);
  return &entries_.emplace(hash, Entry{frame, open_}).first->second;
}

/// A segment is in use as long as any layer has it.
void SharedPages::forget_unused() {
  std::unordered_map<const Segment*, long> ours;
  for (const auto& [hash, entry] : entries_) ours[entry.segment.get()]++;
  std::erase_if(entries_, [&](const auto& one) {
    const auto& segment = one.second.segment;
    if (segment == open_) return false;
    auto& count = ours[segment.get()];
    if (segment.use_count() != count) return false;
    count--;
    return true;
  });
  next_cleaning_ = std::max(16 * segment_pages, 2 * entries_.size());
}

std::size_t SharedPages::pages() const {
  std::lock_guard guard(lock_);
  return entries_.size();
}

}  // namespace doppel
