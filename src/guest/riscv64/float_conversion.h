#pragma once
// Conversions between formats and from and to integers, and rounding to integers; internal to floating_point.cc.
#include <limits>
#include <type_traits>

#include "guest/riscv64/float_unpacked.h"

namespace doppel::riscv64::soft {

template <typename To, typename From>
constexpr typename To::Bits convert(typename From::Bits bits, Rounding rm, unsigned& flags) {
  const Unpacked a = unpack<From>(bits);
  if (a.is_nan()) return nan_result<To>(flags, a);
  if (a.is_infinity()) return infinity<To>(a.sign);
  if (a.is_zero()) return zero<To>(a.sign);
  return round_and_pack<To>(a.sign, a.exponent, Wide{a.significand} << 64, rm, flags);
}

template <typename Format>
typename Format::Bits from_magnitude(bool sign, uint64_t magnitude, Rounding rm, unsigned& flags) {
  if (magnitude == 0) return zero<Format>(false);
  return round_and_pack<Format>(sign, 63, Wide{magnitude} << 64, rm, flags);
}

template <typename Format, typename Integer>
typename Format::Bits from_integer(Integer value, Rounding rm, unsigned& flags) {
  const bool sign = value < 0;
  const auto extended = uint64_t(value);  // Sign-extended if signed.
  return from_magnitude<Format>(sign, sign ? -extended : extended, rm, flags);
}

/// A finite number rounded to an integer.
struct Rounded {
  uint64_t magnitude;
  bool inexact;
  bool overflow;  ///< The magnitude is 2^64 or more.
};

inline Rounded round_to_integer(const Unpacked& a, Rounding rm) {
  constexpr uint64_t kHalf = uint64_t{1} << 63;
  if (a.is_zero()) return {0, false, false};
  if (a.exponent > 63) return {0, false, true};
  if (a.exponent == 63) return {a.significand, false, false};
  if (a.exponent < -1) return {rounds_away(rm, a.sign, false, 1, kHalf) ? 1U : 0U, true, false};
  const uint64_t truncated = a.exponent < 0 ? 0 : a.significand >> (63 - a.exponent);
  const uint64_t remainder = a.significand << (a.exponent + 1);
  const bool away = rounds_away(rm, a.sign, truncated & 1, remainder, kHalf);
  return {truncated + (away ? 1 : 0), remainder != 0, false};
}

template <typename Integer, typename Format>
Integer to_integer(typename Format::Bits bits, Rounding rm, unsigned& flags) {
  using Limits = std::numeric_limits<Integer>;
  const Unpacked a = unpack<Format>(bits);
  if (a.is_nan() || a.is_infinity()) {
    flags |= kInvalid;
    return a.is_infinity() && a.sign ? Limits::min() : Limits::max();
  }
  const Rounded rounded = round_to_integer(a, rm);
  const uint64_t limit = a.sign ? -uint64_t(Limits::min()) : uint64_t(Limits::max());
  if (rounded.overflow || rounded.magnitude > limit) {
    flags |= kInvalid;
    return a.sign ? Limits::min() : Limits::max();
  }
  if (rounded.inexact) flags |= kInexact;
  return Integer(a.sign ? -rounded.magnitude : rounded.magnitude);
}

/// The low 32 bits of the truncated value in two's complement; 0 for what is not finite.
template <typename Format>
uint32_t truncate_modulo(typename Format::Bits bits) {
  const Unpacked a = unpack<Format>(bits);
  if (a.kind != Kind::finite || a.exponent < 0 || a.exponent > 63 + 31) return 0;
  const uint64_t magnitude = a.exponent <= 63 ? a.significand >> (63 - a.exponent) : a.significand << (a.exponent - 63);
  return uint32_t(a.sign ? -magnitude : magnitude);
}

template <typename Format>
typename Format::Bits round_in_format(typename Format::Bits bits, Rounding rm, unsigned& flags, unsigned raised) {
  const Unpacked a = unpack<Format>(bits);
  if (a.is_nan()) return nan_result<Format>(flags, a);
  if (a.kind != Kind::finite || a.exponent >= Format::kFractionBits) return bits;
  const Rounded rounded = round_to_integer(a, rm);
  if (rounded.inexact) flags |= raised;
  if (rounded.magnitude == 0) return zero<Format>(a.sign);
  return from_magnitude<Format>(a.sign, rounded.magnitude, rm, flags);  // Exact.
}

}  // namespace doppel::riscv64::soft
