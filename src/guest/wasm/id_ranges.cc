#include "guest/wasm/id_ranges.h"

#include <iterator>

namespace doppel::wasm {

std::optional<std::uint32_t> IdRanges::take(std::uint32_t size) {
  const auto fit = by_size_.lower_bound({size, 0});
  if (fit == by_size_.end())
    return size <= end_ - next_ ? std::optional(std::exchange(next_, next_ + size)) : std::nullopt;
  const auto [had, first] = *fit;
  remove(by_place_.find(first));
  if (had > size) insert(first + size, had - size);
  return first;
}

void IdRanges::give(std::uint32_t first, std::uint32_t size) {
  auto after = by_place_.lower_bound(first);
  if (after != by_place_.end() && after->first == first + size) {
    size += after->second;
    after = remove(after);
  }
  if (after != by_place_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == first) {
      first = before->first;
      size += before->second;
      remove(before);
    }
  }
  if (first + size == next_) {
    next_ = first;
  } else {
    insert(first, size);
  }
}

void IdRanges::insert(std::uint32_t first, std::uint32_t size) {
  by_place_.emplace(first, size);
  by_size_.emplace(size, first);
}

IdRanges::ByPlace::iterator IdRanges::remove(ByPlace::iterator run) {
  by_size_.erase({run->second, run->first});
  return by_place_.erase(run);
}

}  // namespace doppel::wasm
