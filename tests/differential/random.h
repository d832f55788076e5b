#pragma once
// A small generator of random numbers whose sequence for a seed is the same everywhere, so that a seed names a program.
#include <cstdint>

namespace doppel::differential {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  /// SplitMix64.
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  /// 0 to bound - 1; bound is not 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  template <typename List>
  const auto& pick(const List& list) {
    return list[below(list.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace doppel::differential
