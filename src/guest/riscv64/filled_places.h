#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace doppel::riscv64 {

/// Remembers which places of a table have been filled since it was emptied, while they are few: so that what goes over
/// the filled ones costs what was filled.
template <std::size_t table_size>
class FilledPlaces {
 public:
  /// A place may be added again.
  void add(std::size_t place) {
    if (count_ < place_.size()) place_[count_] = std::uint32_t(place);
    count_ += count_ <= place_.size();
  }
  std::size_t count() const { return count_ > place_.size() ? table_size : count_; }
  void clear() { count_ = 0; }
  /// Calls `f` for every place that may be filled; some twice.
  template <typename F>
  void for_each(F&& f) const {
    if (count_ > place_.size())
      for (std::size_t place = 0; place < table_size; place++) f(place);
    else
      for (std::size_t n = 0; n < count_; n++) f(std::size_t(place_[n]));
  }

 private:
  std::array<std::uint32_t, table_size / 16> place_;
  std::size_t count_ = 0;
};

}  // namespace doppel::riscv64
