#pragma once
// Random operands that reach the corners of floating point.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

#include "guest/riscv64/floating_point.h"

namespace doppel::riscv64 {

inline constexpr Rounding kRoundings[] = {Rounding::rne, Rounding::rtz, Rounding::rdn, Rounding::rup, Rounding::rmm};

/// A different seed in every run, printed so that a failure can be had again.
inline uint64_t test_seed() {
  static const uint64_t seed = [] {
    const char* wanted = std::getenv("DOPPEL_TEST_SEED");
    const uint64_t value = wanted != nullptr ? std::strtoull(wanted, nullptr, 0) : std::random_device{}();
    std::cout << "DOPPEL_TEST_SEED=" << value << std::endl;
    return value;
  }();
  return seed;
}

template <typename Format>
class Operands {
 public:
  using Bits = typename Format::Bits;
  explicit Operands(uint64_t salt) : random_(test_seed() + salt) {}

  /// Any encoding: evenly spread, special, with few bits set (exact results and ties), or near `anchor_` (cancellation,
  /// results around the ends of the range).
  Bits next() {
    const auto bits = Bits(random_());
    const auto choice = random_() % 16;
    Bits result = bits;
    if (choice < 2) result = Bits(special() | (bits & Format::kSign));
    if (choice >= 2 && choice < 5) result = few_bits(bits);
    if (choice >= 5 && choice < 9) result = Bits(anchor_ ^ (bits & (Format::kSign | Bits(Bits{1} << (bits & 7)))));
    if (choice >= 9 && choice < 12) result = with_exponent(bits, Format::kBias - 4 + int(random_() % 9));
    if (choice >= 12 && choice < 14) result = with_exponent(bits, int(random_() % 4));
    anchor_ = result;
    return result;
  }

  Bits next_nonzero_finite() {
    for (;;) {
      const Bits bits = next();
      const auto magnitude = Bits(bits & ~Format::kSign);
      if (magnitude != 0 && magnitude < Format::kInfinity) return bits;
    }
  }

  uint64_t raw() { return random_(); }

 private:
  static Bits with_exponent(Bits bits, int biased) {
    return Bits((bits & (Format::kSign | Format::kFractionMask)) | (Bits(biased) << Format::kFractionBits));
  }
  Bits few_bits(Bits bits) {
    const auto kept = Bits(Format::kFractionMask & ~(Format::kFractionMask >> (random_() % 5)));
    const int biased = Format::kBias - 16 + int(random_() % 33);
    return with_exponent(Bits(bits & (Format::kSign | kept)), biased > 0 ? biased : 1);
  }
  Bits special() {
    constexpr Bits kOne = Bits(Bits(Format::kBias) << Format::kFractionBits);
    const Bits table[] = {0,
                          1,
                          2,
                          Format::kFractionMask,
                          Format::kFractionMask + 1,
                          Format::kFractionMask + 2,
                          kOne,
                          kOne - 1,
                          kOne + 1,
                          Format::kInfinity - 1,
                          Format::kInfinity,
                          Format::kInfinity + 1,
                          Format::kCanonicalNan,
                          Format::kCanonicalNan + 1};
    return table[random_() % std::size(table)];
  }

  std::mt19937_64 random_;
  Bits anchor_ = 0;
};

}  // namespace doppel::riscv64
