#pragma once
// Operations on the host's floating point unit where that is provably the same as rounding exactly; internal to
// floating_point.cc. The host's exception flags are never read or cleared, which would cost more than the arithmetic:
// when the result is finite and above the bottom of the normal range, the only exception possible is NX, and that is
// either set already or decided by integer arithmetic on the significands. All else is left to the soft path.
#include <atomic>
#include <bit>
#include <type_traits>
#include <utility>

#include "guest/riscv64/float_unpacked.h"

namespace doppel::riscv64::host {

inline std::atomic<bool> enabled_flag{true};
inline constinit thread_local uint64_t operations = 0;

template <typename Format>
inline constexpr bool kExists = std::is_same_v<Format, SingleFormat> || std::is_same_v<Format, DoubleFormat>;

template <typename Format>
using Number = std::conditional_t<std::is_same_v<Format, SingleFormat>, float, double>;

inline bool enabled() { return enabled_flag.load(std::memory_order_relaxed); }

template <typename Format>
Number<Format> number(typename Format::Bits bits) {
  return std::bit_cast<Number<Format>>(bits);
}

template <typename Format>
typename Format::Bits encoding(Number<Format> value) {
  return std::bit_cast<typename Format::Bits>(value);
}

template <typename Format>
bool is_finite(typename Format::Bits a) {
  return soft::biased_exponent<Format>(a) != Format::kMaxExponent;
}

template <typename Format>
bool is_normal(typename Format::Bits a) {
  return unsigned(soft::biased_exponent<Format>(a) - 1) < unsigned(Format::kMaxExponent - 1);
}

/// Neither overflowed nor underflowed. The lowest normal binade is left out: a tiny result can round up into it.
template <typename Format>
bool only_inexact_possible(typename Format::Bits result) {
  return unsigned(soft::biased_exponent<Format>(result) - 2) < unsigned(Format::kMaxExponent - 2);
}

template <typename Format>
soft::Wide significand(typename Format::Bits a) {
  return (a & Format::kFractionMask) | (Format::kFractionMask + 1);
}

/// Whether the product of two normal numbers needs no rounding, provided that it neither overflows nor underflows.
template <typename Format>
bool product_is_exact(typename Format::Bits a, typename Format::Bits b) {
  const soft::Wide product = significand<Format>(a) * significand<Format>(b);
  const int carry = int(product >> (2 * Format::kFractionBits + 1));
  return (product & ((soft::Wide{1} << (Format::kFractionBits + carry)) - 1)) == 0;
}

/// Whether the product of the significands of normal numbers is that of `c`, but for its scale.
template <typename Format>
bool product_equals(typename Format::Bits a, typename Format::Bits b, typename Format::Bits c) {
  const soft::Wide product = significand<Format>(a) * significand<Format>(b);
  const soft::Wide scaled = significand<Format>(c) << Format::kFractionBits;
  return product == scaled || product == scaled << 1;
}

/// Whether finite x + y == sum needs no rounding (Knuth's error-free sum). Operands near overflow are turned down.
template <typename Format>
bool sum_is_exact(Number<Format> x, Number<Format> y, Number<Format> sum) {
  constexpr int kLimit = Format::kMaxExponent - 2;
  if (soft::biased_exponent<Format>(encoding<Format>(x)) >= kLimit) return false;
  if (soft::biased_exponent<Format>(encoding<Format>(y)) >= kLimit) return false;
  const Number<Format> y_part = sum - x, x_part = sum - y_part;
  return (x - x_part) + (y - y_part) == 0;
}

// Each operation below rounds to nearest even and returns whether `result` is right and no exceptions are to be raised
// that `flags` does not hold; `flags` itself never changes, NX being left to the soft path the first time.

template <typename Format, typename Bits = typename Format::Bits>
bool add(Bits a, Bits b, unsigned flags, Bits& result) {
  const auto x = number<Format>(a), y = number<Format>(b);
  const auto sum = x + y;
  result = encoding<Format>(sum);
  if (!is_finite<Format>(result)) return false;
  // A sum in the subnormal range is exact.
  return (flags & kInexact) != 0 || sum_is_exact<Format>(x, y, sum);
}

template <typename Format, typename Bits = typename Format::Bits>
bool mul(Bits a, Bits b, unsigned flags, Bits& result) {
  result = encoding<Format>(number<Format>(a) * number<Format>(b));
  if (!only_inexact_possible<Format>(result)) return false;
  if ((flags & kInexact) != 0) return true;
  return is_normal<Format>(a) && is_normal<Format>(b) && product_is_exact<Format>(a, b);
}

template <typename Format, typename Bits = typename Format::Bits>
bool div(Bits a, Bits b, unsigned flags, Bits& result) {
  if (!is_normal<Format>(a) || !is_normal<Format>(b)) return false;
  result = encoding<Format>(number<Format>(a) / number<Format>(b));
  if (!only_inexact_possible<Format>(result)) return false;
  return (flags & kInexact) != 0 || product_equals<Format>(result, b, a);
}

template <typename Format, typename Bits = typename Format::Bits>
bool sqrt(Bits a, unsigned flags, Bits& result) {
  if (!is_normal<Format>(a) || (a & Format::kSign) != 0) return false;
  if constexpr (std::is_same_v<Format, SingleFormat>) {
    result = encoding<Format>(__builtin_sqrtf(number<Format>(a)));
  } else {
    result = encoding<Format>(__builtin_sqrt(number<Format>(a)));
  }
  return (flags & kInexact) != 0 || product_equals<Format>(result, result, a);
}

#if defined(__x86_64__)
inline bool has_fma() {
  static const bool has = __builtin_cpu_supports("fma");
  return has;
}
[[gnu::target("fma")]] inline float fused(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
[[gnu::target("fma")]] inline double fused(double x, double y, double z) { return __builtin_fma(x, y, z); }
#else
inline bool has_fma() { return true; }  // C's fma rounds once, by hardware or not.
inline float fused(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double fused(double x, double y, double z) { return __builtin_fma(x, y, z); }
#endif

template <typename Format, typename Bits = typename Format::Bits>
bool fma(Bits a, Bits b, Bits c, unsigned flags, Bits& result) {
  if (!has_fma()) return false;
  const auto x = number<Format>(a), y = number<Format>(b), z = number<Format>(c);
  const auto sum = fused(x, y, z);
  result = encoding<Format>(sum);
  if (!only_inexact_possible<Format>(result)) return false;
  if ((flags & kInexact) != 0) return true;
  if (!is_normal<Format>(a) || !is_normal<Format>(b) || !product_is_exact<Format>(a, b)) return false;
  const auto product = x * y;
  return only_inexact_possible<Format>(encoding<Format>(product)) && sum_is_exact<Format>(product, z, sum);
}

/// Between single and double, in either direction.
template <typename To, typename From>
bool convert(typename From::Bits a, unsigned flags, typename To::Bits& result) {
  const Number<To> converted = Number<To>(number<From>(a));
  result = encoding<To>(converted);
  if (!only_inexact_possible<To>(result)) return false;
  return (flags & kInexact) != 0 || Number<From>(converted) == number<From>(a);
}

/// Integers that fit the significand; `result` is exact in every rounding mode.
template <typename Format, typename Integer>
bool from_integer(Integer value, typename Format::Bits& result) {
  constexpr int64_t kLimit = int64_t{1} << (Format::kFractionBits + 1);
  if (std::cmp_greater(value, kLimit) || std::cmp_less(value, -kLimit)) return false;
  result = encoding<Format>(Number<Format>(int64_t(value)));
  return true;
}

/// Runs `operation`, which is one of the above, if that is allowed. Counts those that succeed.
template <typename Operation>
bool attempt(Operation operation) {
  if (!enabled() || !operation()) return false;
  ++operations;
  return true;
}

}  // namespace doppel::riscv64::host
