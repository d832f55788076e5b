#pragma once
// An oracle for floating_point.h that shares nothing with it: numbers are exact fixed-point integers of a few thousand
// bits, wide enough for every sum and product of doubles, and are rounded by looking at their bits.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "guest/riscv64/floating_point.h"

namespace doppel::riscv64 {

using Wide = unsigned __int128;

/// A sign and an integer number of 2^-kUnit.
class Exact {
 public:
  static constexpr int kUnit = 2304;  // The smallest square of a double is 2^-2148.
  static constexpr int kBits = kUnit + 2176;

  /// magnitude * 2^exponent.
  Exact(bool negative, Wide magnitude, int exponent) : negative_(negative) {
    for (int i = 0; i < 128; ++i) {
      if ((magnitude >> i) & 1) set(exponent + kUnit + i);
    }
  }

  template <typename Format>
  static Exact of(typename Format::Bits bits) {
    const auto [significand, exponent] = parts<Format>(bits);
    return Exact((bits & Format::kSign) != 0, significand, exponent);
  }

  /// The magnitude of a finite number as an integer and a power of two.
  template <typename Format>
  static std::pair<uint64_t, int> parts(typename Format::Bits bits) {
    const int biased = int(bits >> Format::kFractionBits) & Format::kMaxExponent;
    const uint64_t fraction = bits & Format::kFractionMask;
    const uint64_t hidden = biased == 0 ? 0 : uint64_t{1} << Format::kFractionBits;
    return {fraction + hidden, (biased == 0 ? 1 : biased) - Format::kBias - Format::kFractionBits};
  }

  bool negative() const { return negative_; }
  bool bit(int i) const { return i >= 0 && (limbs_[size_t(i) / 64] >> (i % 64)) & 1; }
  bool any_below(int end) const {
    for (int i = 0; i < end; i = (i / 64 + 1) * 64) {
      const uint64_t limb = limbs_[size_t(i) / 64];
      if ((end - i >= 64 ? limb : limb & ((uint64_t{1} << (end - i)) - 1)) != 0) return true;
    }
    return false;
  }
  /// The number of the highest bit set; -1 for zero.
  int top() const {
    for (size_t i = limbs_.size(); i-- > 0;) {
      if (limbs_[i] != 0) return int(i) * 64 + 63 - std::countl_zero(limbs_[i]);
    }
    return -1;
  }
  /// The 64 bits from bit `start` up.
  uint64_t window(int start) const {
    uint64_t result = 0;
    for (int i = 63; i >= 0; --i) result = (result << 1) | (start + i < kBits && bit(start + i) ? 1 : 0);
    return result;
  }

  friend Exact operator+(const Exact& a, const Exact& b) {
    if (a.negative_ == b.negative_) return combine(a, b, false);
    return a.magnitude_less(b) ? combine(b, a, true) : combine(a, b, true);
  }

 private:
  void set(int i) { limbs_[size_t(i) / 64] |= uint64_t{1} << (i % 64); }
  bool magnitude_less(const Exact& other) const {
    for (size_t i = limbs_.size(); i-- > 0;) {
      if (limbs_[i] != other.limbs_[i]) return limbs_[i] < other.limbs_[i];
    }
    return false;
  }
  static Exact combine(Exact a, const Exact& b, bool subtract) {
    uint64_t carry = subtract ? 1 : 0;
    for (size_t i = 0; i < a.limbs_.size(); ++i) {
      const Wide sum = Wide{a.limbs_[i]} + (subtract ? ~b.limbs_[i] : b.limbs_[i]) + carry;
      a.limbs_[i] = uint64_t(sum);
      carry = uint64_t(sum >> 64);
    }
    return a;
  }

  bool negative_;
  std::array<uint64_t, kBits / 64> limbs_{};
};

/// The magnitude of a number cut at some bit and rounded there.
struct Cut {
  uint64_t kept;
  bool inexact;
};

inline Cut cut_at(const Exact& value, int position, Rounding rm) {
  const uint64_t kept = value.window(position);
  const bool half = value.bit(position - 1), rest = value.any_below(position - 1), inexact = half || rest;
  bool up = false;
  if (rm == Rounding::rne) up = half && (rest || (kept & 1) != 0);
  if (rm == Rounding::rmm) up = half;
  if (rm == Rounding::rdn) up = inexact && value.negative();
  if (rm == Rounding::rup) up = inexact && !value.negative();
  return {kept + (up ? 1 : 0), inexact};
}

/// What IEEE 754 says the encoding of a number that is not zero is, tininess being detected after rounding.
template <typename Format>
typename Format::Bits reference_round(const Exact& value, Rounding rm, unsigned& flags) {
  constexpr int kMinExponent = 1 - Format::kBias, kFraction = Format::kFractionBits;
  constexpr uint64_t kHidden = uint64_t{1} << kFraction;
  const typename Format::Bits sign = value.negative() ? Format::kSign : 0;
  const int exponent = value.top() - Exact::kUnit;
  const auto cut = [&](int quantum) { return cut_at(value, quantum + Exact::kUnit, rm); };
  const bool reaches_next = cut(exponent - kFraction).kept == 2 * kHidden;
  const bool tiny = exponent + (reaches_next ? 1 : 0) < kMinExponent;
  int quantum = exponent < kMinExponent ? kMinExponent - kFraction : exponent - kFraction;
  Cut result = cut(quantum);
  if (result.kept == 2 * kHidden) result.kept = kHidden, ++quantum;
  if (result.inexact) flags |= kInexact | (tiny ? kUnderflow : 0);
  if (quantum + kFraction > Format::kBias) {
    flags |= kInexact | kOverflow;
    const bool infinite = rm == Rounding::rne || rm == Rounding::rmm || (rm == Rounding::rdn && value.negative()) ||
                          (rm == Rounding::rup && !value.negative());
    return typename Format::Bits(sign | (infinite ? Format::kInfinity : Format::kInfinity - 1));
  }
  const auto biased = uint64_t(result.kept < kHidden ? 0 : quantum + kFraction + Format::kBias);
  return typename Format::Bits(sign | (biased << kFraction) | (result.kept & (kHidden - 1)));
}

/// The quotient of the magnitudes cut off after 70 bits or more, with a sticky bit below; signs as for division.
template <typename Format>
Exact reference_quotient(typename Format::Bits a, typename Format::Bits b) {
  auto [dividend, a_exponent] = Exact::parts<Format>(a);
  const auto [divisor, b_exponent] = Exact::parts<Format>(b);
  while (dividend >> 52 == 0) dividend <<= 1, --a_exponent;
  const Wide scaled = Wide{dividend} << 70;
  const Wide quotient = (scaled / divisor) * 2 + (scaled % divisor != 0 ? 1 : 0);
  return Exact(((a ^ b) & Format::kSign) != 0, quotient, a_exponent - 70 - b_exponent - 1);
}

/// The square root of a positive number cut off after 60 bits or more, with a sticky bit below.
template <typename Format>
Exact reference_root(typename Format::Bits a) {
  auto [significand, exponent] = Exact::parts<Format>(a);
  Wide radicand = significand;
  while (radicand >> 122 == 0 || exponent % 2 != 0) radicand <<= 1, --exponent;
  uint64_t root = 0;
  for (uint64_t step = uint64_t{1} << 63; step != 0; step >>= 1) {
    if (Wide{root + step} * (root + step) <= radicand) root += step;
  }
  const bool sticky = Wide{root} * root != radicand;
  return Exact(false, Wide{root} * 2 + (sticky ? 1 : 0), exponent / 2 - 1);
}

template <typename Format>
Exact reference_product(typename Format::Bits a, typename Format::Bits b) {
  const auto [a_significand, a_exponent] = Exact::parts<Format>(a);
  const auto [b_significand, b_exponent] = Exact::parts<Format>(b);
  return Exact(((a ^ b) & Format::kSign) != 0, Wide{a_significand} * b_significand, a_exponent + b_exponent);
}

}  // namespace doppel::riscv64
