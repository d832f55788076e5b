#pragma once
// Taking encodings apart and rounding exact results back into them; internal to floating_point.cc.
#include <bit>
#include <cstdint>

#include "guest/riscv64/floating_point.h"

namespace doppel::riscv64::soft {

using Wide = unsigned __int128;

enum class Kind : uint8_t { zero, finite, infinity, quiet_nan, signalling_nan };

/// A number taken apart. If finite it is significand * 2^(exponent - 63), and bit 63 of `significand` is set, which
/// hides subnormals. The 11 low bits of `significand` are 0 in every format.
struct Unpacked {
  Kind kind;
  bool sign;
  int exponent;
  uint64_t significand;

  constexpr bool is_nan() const { return kind >= Kind::quiet_nan; }
  constexpr bool is_infinity() const { return kind == Kind::infinity; }
  constexpr bool is_zero() const { return kind == Kind::zero; }
};

template <typename Format>
constexpr int biased_exponent(typename Format::Bits bits) {
  return int(bits >> Format::kFractionBits) & Format::kMaxExponent;
}

template <typename Format>
constexpr Unpacked unpack(typename Format::Bits bits) {
  const bool sign = (bits & Format::kSign) != 0;
  const int biased = biased_exponent<Format>(bits);
  const uint64_t fraction = uint64_t(bits & Format::kFractionMask) << (63 - Format::kFractionBits);
  if (biased == Format::kMaxExponent) {
    if (fraction == 0) return {Kind::infinity, sign, 0, 0};
    return {(bits & Format::kQuiet) != 0 ? Kind::quiet_nan : Kind::signalling_nan, sign, 0, 0};
  }
  if (biased != 0) return {Kind::finite, sign, biased - Format::kBias, fraction | (uint64_t{1} << 63)};
  if (fraction == 0) return {Kind::zero, sign, 0, 0};
  const int shift = std::countl_zero(fraction);
  return {Kind::finite, sign, 1 - Format::kBias - shift, fraction << shift};
}

template <typename Format>
constexpr typename Format::Bits zero(bool sign) {
  return sign ? Format::kSign : typename Format::Bits{0};
}

template <typename Format>
constexpr typename Format::Bits infinity(bool sign) {
  return typename Format::Bits(zero<Format>(sign) | Format::kInfinity);
}

template <typename Format>
constexpr typename Format::Bits invalid(unsigned& flags) {
  flags |= kInvalid;
  return Format::kCanonicalNan;
}

/// The result of an operation that has a NaN among `operands`.
template <typename Format, typename... Operands>
constexpr typename Format::Bits nan_result(unsigned& flags, const Operands&... operands) {
  if (((operands.kind == Kind::signalling_nan) || ...)) flags |= kInvalid;
  return Format::kCanonicalNan;
}

/// Shifts right by any count; what falls out is kept as one sticky bit at the bottom, which is enough to round by.
template <typename Unsigned>
constexpr Unsigned shift_right_jam(Unsigned value, int count) {
  constexpr int kWidth = int(sizeof(Unsigned)) * 8;
  if (count == 0) return value;
  if (count >= kWidth) return value != 0;
  return (value >> count) | Unsigned{(value << (kWidth - count)) != 0};
}

/// Whether a magnitude whose discarded part is `remainder`, in units where `half` is one half of its last place, is
/// rounded away from zero. `odd`: its last kept bit is 1.
constexpr bool rounds_away(Rounding rm, bool sign, bool odd, uint64_t remainder, uint64_t half) {
  switch (rm) {
    case Rounding::rne:
      return remainder > half || (remainder == half && odd);
    case Rounding::rdn:
      return sign && remainder != 0;
    case Rounding::rup:
      return !sign && remainder != 0;
    case Rounding::rmm:
      return remainder >= half;
    case Rounding::rtz:
      break;
  }
  return false;
}

template <typename Format>
constexpr typename Format::Bits overflow(bool sign, Rounding rm, unsigned& flags) {
  flags |= kOverflow | kInexact;
  const bool towards_zero = rm == Rounding::rtz || rm == (sign ? Rounding::rup : Rounding::rdn);
  return typename Format::Bits(infinity<Format>(sign) - (towards_zero ? 1 : 0));
}

/// Rounds significand * 2^(exponent - 127) to the format; `significand` is not 0, and its bit 0 may be sticky if a
/// bit above 63 is set.
template <typename Format>
constexpr typename Format::Bits round_and_pack(bool sign, int exponent, Wide significand, Rounding rm,
                                               unsigned& flags) {
  using Bits = typename Format::Bits;
  constexpr int kDropped = 63 - Format::kFractionBits;
  constexpr uint64_t kHalf = uint64_t{1} << (kDropped - 1);
  constexpr uint64_t kRemainder = 2 * kHalf - 1;
  constexpr uint64_t kAllOnes = ~uint64_t{0} >> kDropped;

  const auto high = uint64_t(significand >> 64);
  const int shift = high != 0 ? std::countl_zero(high) : 64 + std::countl_zero(uint64_t(significand));
  uint64_t top = uint64_t(shift_right_jam<Wide>(significand << shift, 64));
  int biased = exponent - shift + Format::kBias;
  if (biased >= Format::kMaxExponent) return overflow<Format>(sign, rm, flags);

  const auto away = [&] { return rounds_away(rm, sign, (top >> kDropped) & 1, top & kRemainder, kHalf); };
  bool tiny = false;
  if (biased <= 0) {
    // Tiny is what would stay below the normal range if rounded with unbounded exponents.
    const bool becomes_normal = biased == 0 && top >> kDropped == kAllOnes && away();
    tiny = !becomes_normal;
    top = shift_right_jam(top, 1 - biased);
    biased = 1;  // The encoding of subnormals is that of exponent 1 without the leading bit.
  }
  const uint64_t remainder = top & kRemainder;
  const uint64_t kept = (top >> kDropped) + (away() ? 1 : 0);
  // The leading bit of `kept`, and a carry out of rounding, add themselves to the exponent.
  const uint64_t magnitude = (uint64_t(biased - 1) << Format::kFractionBits) + kept;
  if (magnitude >= Format::kInfinity) return overflow<Format>(sign, rm, flags);
  if (remainder != 0) flags |= kInexact | (tiny ? kUnderflow : 0);
  return Bits(zero<Format>(sign) | magnitude);
}

}  // namespace doppel::riscv64::soft
