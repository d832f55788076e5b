#pragma once
// Numbers that are given out and come back in runs.
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace doppel::wasm {

/// The free numbers below an end. Runs that touch become one, so that what was given in small pieces can be given
/// whole.
class IdRanges {
 public:
  explicit IdRanges(std::uint32_t end) : end_(end) {}
  /// The first of `size` numbers in a row, from the smallest run of used ones that has as many, else of such as were
  /// never used; nothing where there is none.
  std::optional<std::uint32_t> take(std::uint32_t size);
  /// Makes numbers free that were taken.
  void give(std::uint32_t first, std::uint32_t size);

 private:
  using ByPlace = std::map<std::uint32_t, std::uint32_t>;
  void insert(std::uint32_t first, std::uint32_t size);
  ByPlace::iterator remove(ByPlace::iterator run);

  std::uint32_t next_ = 0, end_;                               // from `next_` on all are free
  ByPlace by_place_;                                           // first, size
  std::set<std::pair<std::uint32_t, std::uint32_t>> by_size_;  // size, first
};

}  // namespace doppel::wasm
