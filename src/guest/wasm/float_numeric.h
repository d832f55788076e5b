#pragma once
// Floating-point operations (core specification, 4.3.3) and conversions (4.3.4), named as there. F is float or double.
// Where the specification leaves a NaN's bits open they are as x86-64 has them, which translated code inherits: the
// first operand that is a NaN, made quiet; else the negative canonical NaN.
#include <bit>
#include <cmath>
#include <concepts>
#include <limits>

#include "guest/wasm/numeric.h"

namespace doppel::wasm::numeric {

template <std::floating_point F>
using BitsOf = std::conditional_t<sizeof(F) == 4, U32, U64>;
template <std::floating_point F>
inline constexpr BitsOf<F> sign_bit = BitsOf<F>{1} << (sizeof(F) * 8 - 1);
template <std::floating_point F>
inline constexpr BitsOf<F> quiet_bit = BitsOf<F>{1} << (std::numeric_limits<F>::digits - 2);

template <std::floating_point F>
constexpr BitsOf<F> bits_of(F z) {
  return std::bit_cast<BitsOf<F>>(z);
}
template <std::floating_point F>
constexpr bool is_nan(F z) {
  return z != z;
}
template <std::floating_point F>
constexpr bool is_negative(F z) {
  return (bits_of(z) & sign_bit<F>) != 0;
}
template <std::floating_point F>
constexpr F quiet(F nan) {
  return std::bit_cast<F>(BitsOf<F>(bits_of(nan) | quiet_bit<F>));
}
template <std::floating_point F>
constexpr F default_nan() {
  return std::bit_cast<F>(BitsOf<F>(bits_of(std::numeric_limits<F>::infinity()) | quiet_bit<F> | sign_bit<F>));
}

/// `z`, unless it is a NaN: then the one that x86-64 makes of the operands.
template <std::floating_point F>
constexpr F with_nan(F z, std::same_as<F> auto... operands) {
  if (!is_nan(z)) return z;
  F nan = default_nan<F>();
  (void)((is_nan(operands) && (nan = quiet(operands), true)) || ...);
  return nan;
}

template <std::floating_point F>
constexpr F fadd(F z1, F z2) {
  return with_nan(z1 + z2, z1, z2);
}
template <std::floating_point F>
constexpr F fsub(F z1, F z2) {
  return with_nan(z1 - z2, z1, z2);
}
template <std::floating_point F>
constexpr F fmul(F z1, F z2) {
  return with_nan(z1 * z2, z1, z2);
}
template <std::floating_point F>
constexpr F fdiv(F z1, F z2) {
  return with_nan(z1 / z2, z1, z2);
}
template <std::floating_point F>
F fsqrt(F z) {
  return with_nan(std::sqrt(z), z);
}
/// Rounded once.
template <std::floating_point F>
F fma(F z1, F z2, F z3) {
  return with_nan(std::fma(z1, z2, z3), z1, z2, z3);
}

// The sign bit is all that these touch, of NaNs too.
template <std::floating_point F>
constexpr F fabs(F z) {
  return std::bit_cast<F>(BitsOf<F>(bits_of(z) & ~sign_bit<F>));
}
template <std::floating_point F>
constexpr F fneg(F z) {
  return std::bit_cast<F>(BitsOf<F>(bits_of(z) ^ sign_bit<F>));
}
template <std::floating_point F>
constexpr F fcopysign(F z1, F z2) {
  return std::bit_cast<F>(BitsOf<F>((bits_of(z1) & ~sign_bit<F>) | (bits_of(z2) & sign_bit<F>)));
}

/// A negative zero is less than a positive one.
template <std::floating_point F>
constexpr F fmin(F z1, F z2) {
  if (is_nan(z1) || is_nan(z2)) return with_nan(z1 + z2, z1, z2);
  if (z1 == z2) return is_negative(z1) ? z1 : z2;
  return z1 < z2 ? z1 : z2;
}
template <std::floating_point F>
constexpr F fmax(F z1, F z2) {
  if (is_nan(z1) || is_nan(z2)) return with_nan(z1 + z2, z1, z2);
  if (z1 == z2) return is_negative(z1) ? z2 : z1;
  return z1 > z2 ? z1 : z2;
}
template <std::floating_point F>
constexpr F fpmin(F z1, F z2) {
  return z2 < z1 ? z2 : z1;
}
template <std::floating_point F>
constexpr F fpmax(F z1, F z2) {
  return z1 < z2 ? z2 : z1;
}

template <std::floating_point F>
F fceil(F z) {
  return with_nan(std::ceil(z), z);
}
template <std::floating_point F>
F ffloor(F z) {
  return with_nan(std::floor(z), z);
}
template <std::floating_point F>
F ftrunc(F z) {
  return with_nan(std::trunc(z), z);
}
/// To the nearest integer, of two to the even one.
template <std::floating_point F>
F fnearest(F z) {
  return with_nan(__builtin_roundeven(z), z);
}
template <>
inline float fnearest(float z) {
  return with_nan(__builtin_roundevenf(z), z);
}

template <std::floating_point F>
constexpr U32 feq(F z1, F z2) {
  return z1 == z2;
}
template <std::floating_point F>
constexpr U32 fne(F z1, F z2) {
  return z1 != z2;
}
template <std::floating_point F>
constexpr U32 flt(F z1, F z2) {
  return z1 < z2;
}
template <std::floating_point F>
constexpr U32 fgt(F z1, F z2) {
  return z1 > z2;
}
template <std::floating_point F>
constexpr U32 fle(F z1, F z2) {
  return z1 <= z2;
}
template <std::floating_point F>
constexpr U32 fge(F z1, F z2) {
  return z1 >= z2;
}

/// The first value above all of Integer's, a power of two, which each floating-point type has exactly.
template <std::integral Integer, std::floating_point F>
inline constexpr F above = F(std::numeric_limits<Integer>::max() / 2 + 1) * F(2);

/// Whether Integer has the integer that `z` is.
template <std::integral Integer, std::floating_point F>
constexpr bool fits(F z) {
  return z >= F(std::numeric_limits<Integer>::min()) && z < above<Integer, F>;
}

template <std::integral Integer, std::floating_point F>
Partial<std::make_unsigned_t<Integer>> trunc(F z) {
  if (is_nan(z)) return Trap::invalid_conversion;
  const F integer = std::trunc(z);
  if (!fits<Integer>(integer)) return Trap::integer_overflow;
  return std::make_unsigned_t<Integer>(Integer(integer));
}
template <std::integral Integer, std::floating_point F>
std::make_unsigned_t<Integer> trunc_sat(F z) {
  if (is_nan(z)) return 0;
  const F integer = std::trunc(z);
  if (fits<Integer>(integer)) return std::make_unsigned_t<Integer>(Integer(integer));
  using limits = std::numeric_limits<Integer>;
  return std::make_unsigned_t<Integer>(is_negative(integer) ? limits::min() : limits::max());
}
template <std::unsigned_integral N, std::floating_point F>
auto trunc_s(F z) {
  return trunc<Signed<N>>(z);
}
template <std::unsigned_integral N, std::floating_point F>
auto trunc_u(F z) {
  return trunc<N>(z);
}
template <std::unsigned_integral N, std::floating_point F>
N trunc_sat_s(F z) {
  return trunc_sat<Signed<N>>(z);
}
template <std::unsigned_integral N, std::floating_point F>
N trunc_sat_u(F z) {
  return trunc_sat<N>(z);
}

template <std::floating_point F, std::unsigned_integral N>
constexpr F convert_u(N i) {
  return F(i);
}
template <std::floating_point F, std::unsigned_integral N>
constexpr F convert_s(N i) {
  return F(signed_(i));
}
/// A NaN keeps the upper bits of its payload.
constexpr float demote(double z) {
  if (!is_nan(z)) return float(z);
  const U64 bits = bits_of(z);
  return std::bit_cast<float>(U32(bits >> 32 & 0x8000'0000) | 0x7fc0'0000 | U32(bits >> 29 & 0x003f'ffff));
}
constexpr double promote(float z) {
  if (!is_nan(z)) return double(z);
  const U64 bits = bits_of(z);
  return std::bit_cast<double>((bits & 0x8000'0000) << 32 | 0x7ff8'0000'0000'0000 | (bits & 0x003f'ffff) << 29);
}

}  // namespace doppel::wasm::numeric
