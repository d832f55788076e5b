#pragma once
// Vector operations (core specification, 4.3.5): scalar ones done on lanes, and what crosses lanes.
//
// The relaxed ones are what AVX2 and FMA do in an instruction or two, always the same way: relaxed_madd and nmadd are
// fused; relaxed_min and max are minps and maxps (the second operand where one is a NaN or both are zeros); relaxed_swizzle is pshufb;
// relaxed_trunc to signed is cvttps2dq (the smallest integer for what is out of range), to unsigned it saturates; laneselect goes by the
// top bit of each lane of the mask, but by each bit for 16-bit lanes, for which there is no blend; q15mulr is pmulhrsw; dot is pmaddubsw.
#include <array>
#include <bit>
#include <cstddef>

#include "guest/wasm/float_numeric.h"
#include "guest/wasm/numeric.h"

namespace doppel::wasm {

/// A v128: lane 0 is in its first bytes.
struct V128 {
  U64 low = 0, high = 0;
  constexpr bool operator==(const V128&) const = default;
};

namespace vector {

template <typename T>
inline constexpr std::size_t count = 16 / sizeof(T);
template <typename T>
using Lanes = std::array<T, count<T>>;

template <typename T>
constexpr Lanes<T> lanes(V128 v) {
  return std::bit_cast<Lanes<T>>(v);
}
template <typename T>
constexpr V128 of(Lanes<T> lanes) {
  return std::bit_cast<V128>(lanes);
}

/// `scalar` of each lane of type T of one or more vectors.
template <typename T, auto scalar>
constexpr V128 each(std::same_as<V128> auto... v) {
  Lanes<T> result{};
  for (std::size_t n = 0; n < count<T>; n++) result[n] = scalar(lanes<T>(v)[n]...);
  return of(result);
}
/// Like each(), all ones where `relation` holds and zeros elsewhere.
template <typename T, auto relation>
constexpr V128 compare(V128 a, V128 b) {
  using Mask = std::conditional_t<sizeof(T) == 1, U8, std::conditional_t<sizeof(T) == 2, U16, std::conditional_t<sizeof(T) == 4, U32, U64>>>;
  Lanes<Mask> result{};
  for (std::size_t n = 0; n < count<T>; n++) result[n] = Mask(-Mask(relation(lanes<T>(a)[n], lanes<T>(b)[n])));
  return of(result);
}
/// All lanes by the same distance.
template <typename T, auto scalar>
constexpr V128 shift(V128 a, U32 k) {
  auto result = lanes<T>(a);
  for (T& lane : result) lane = scalar(lane, k);
  return of(result);
}

template <typename T>
constexpr V128 splat(T value) {
  Lanes<T> result{};
  result.fill(value);
  return of(result);
}
template <typename T, typename From>
constexpr V128 splat_of(From value) {
  return splat(T(value));
}
template <typename T, typename To>
constexpr To extract_lane(U8 lane, V128 v) {
  return lanes<T>(v)[lane];
}
template <typename T, typename To>
constexpr To extract_lane_s(U8 lane, V128 v) {
  return numeric::extend_s<T, To>(lanes<T>(v)[lane]);
}
template <typename T, typename From>
constexpr V128 replace_lane(U8 lane, V128 v, From value) {
  auto result = lanes<T>(v);
  result[lane] = T(value);
  return of(result);
}

constexpr U32 any_true(V128 v) { return (v.low | v.high) != 0; }
template <typename T>
constexpr U32 all_true(V128 v) {
  return std::ranges::all_of(lanes<T>(v), [](T lane) { return lane != 0; });
}
/// The top bit of each lane.
template <typename T>
constexpr U32 bitmask(V128 v) {
  U32 result = 0;
  for (std::size_t n = 0; n < count<T>; n++) result |= U32(lanes<T>(v)[n] >> (numeric::bits<T> - 1)) << n;
  return result;
}

/// The lanes of the low or high half, from `first` on, become as many wider ones.
template <typename From, typename To, auto scalar, std::size_t first = 0>
constexpr V128 widen(V128 v) {
  Lanes<To> result{};
  for (std::size_t n = 0; n < count<To>; n++) result[n] = scalar(lanes<From>(v)[first + n]);
  return of(result);
}
template <typename From, typename To, auto scalar>
constexpr V128 widen_high(V128 v) {
  return widen<From, To, scalar, count<To>>(v);
}
/// v128.load8x8 and so on: 64 bits of lanes.
template <typename From, typename To, auto scalar>
constexpr V128 load_extended(U64 memory) {
  return widen<From, To, scalar>(V128{memory, 0});
}
constexpr V128 load_zero(U64 memory) { return {memory, 0}; }
/// The lanes become half of the result, narrower; the other half is 0.
template <typename From, typename To, auto scalar>
constexpr V128 shrink(V128 v) {
  Lanes<To> result{};
  for (std::size_t n = 0; n < count<From>; n++) result[n] = scalar(lanes<From>(v)[n]);
  return of(result);
}
/// The lanes of `a` and then those of `b`, narrower.
template <typename From, typename To, auto scalar>
constexpr V128 narrow(V128 a, V128 b) {
  Lanes<To> result{};
  for (std::size_t n = 0; n < count<From>; n++) {
    result[n] = scalar(lanes<From>(a)[n]);
    result[count<From> + n] = scalar(lanes<From>(b)[n]);
  }
  return of(result);
}
template <typename From, typename To, auto extend>
constexpr V128 extmul_low(V128 a, V128 b) {
  return each<To, numeric::imul<To>>(widen<From, To, extend>(a), widen<From, To, extend>(b));
}
template <typename From, typename To, auto extend>
constexpr V128 extmul_high(V128 a, V128 b) {
  return each<To, numeric::imul<To>>(widen_high<From, To, extend>(a), widen_high<From, To, extend>(b));
}
/// Sums of neighbours.
template <typename From, typename To, auto extend>
constexpr V128 extadd_pairwise(V128 v) {
  Lanes<To> result{};
  for (std::size_t n = 0; n < count<To>; n++)
    result[n] = numeric::iadd<To>(extend(lanes<From>(v)[2 * n]), extend(lanes<From>(v)[2 * n + 1]));
  return of(result);
}
constexpr V128 dot_i16x8_s(V128 a, V128 b) {
  constexpr auto extend = numeric::extend_s<U16, U32>;
  Lanes<U32> result{};
  for (std::size_t n = 0; n < 4; n++)
    for (std::size_t m = 2 * n; m < 2 * n + 2; m++) result[n] += extend(lanes<U16>(a)[m]) * extend(lanes<U16>(b)[m]);
  return of(result);
}

/// `indices` below 16 choose bytes of `a`, others of `b`.
constexpr V128 shuffle(Lanes<U8> indices, V128 a, V128 b) {
  for (U8& index : indices) index = index < 16 ? lanes<U8>(a)[index] : lanes<U8>(b)[index & 15];
  return of(indices);
}
constexpr V128 swizzle(V128 a, V128 indices) {
  auto result = lanes<U8>(indices);
  for (U8& index : result) index = index < 16 ? lanes<U8>(a)[index] : U8{0};
  return of(result);
}

constexpr V128 relaxed_swizzle(V128 a, V128 indices) {
  auto result = lanes<U8>(indices);
  for (U8& index : result) index = index < 128 ? lanes<U8>(a)[index & 15] : U8{0};
  return of(result);
}
template <std::unsigned_integral T>
constexpr T relaxed_laneselect(T a, T b, T mask) {
  return mask >> (numeric::bits<T> - 1) ? a : b;
}
template <std::floating_point F>
constexpr F relaxed_min(F a, F b) {
  return a < b ? a : b;
}
template <std::floating_point F>
constexpr F relaxed_max(F a, F b) {
  return a > b ? a : b;
}
template <std::floating_point F>
F relaxed_nmadd(F a, F b, F c) {
  return numeric::fma(numeric::fneg(a), b, c);
}
template <std::floating_point F>
U32 relaxed_trunc_s(F z) {
  const F integer = std::trunc(z);
  return numeric::fits<std::int32_t>(integer) ? U32(std::int32_t(integer)) : 0x8000'0000U;
}
constexpr U16 relaxed_q15mulr_s(U16 a, U16 b) {
  return U16((numeric::signed_(a) * numeric::signed_(b) + 0x4000) >> 15);
}
/// Of products of a signed and an unsigned byte, where the specification leaves open what bytes above 127 of the latter are.
constexpr V128 relaxed_dot(V128 a, V128 b) {
  Lanes<U16> result{};
  for (std::size_t n = 0; n < 8; n++) {
    std::int64_t sum = 0;
    for (std::size_t m = 2 * n; m < 2 * n + 2; m++) sum += numeric::signed_(lanes<U8>(a)[m]) * int{lanes<U8>(b)[m]};
    result[n] = numeric::sat_s<U16>(sum);
  }
  return of(result);
}
constexpr V128 relaxed_dot_add(V128 a, V128 b, V128 c) {
  return each<U32, numeric::iadd<U32>>(
      extadd_pairwise<U16, U32, numeric::extend_s<U16, U32>>(relaxed_dot(a, b)), c);
}

}  // namespace vector
}  // namespace doppel::wasm
