#pragma once
// Integer operations (core specification, 4.3.2), named as there. N is the unsigned type of the operands' width; what
// reads them as signed says so in its name.
#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

#include "guest/wasm/value.h"

namespace doppel::wasm {

using U8 = std::uint8_t;
using U16 = std::uint16_t;
using U32 = std::uint32_t;
using U64 = std::uint64_t;

/// What an operation gives that is not defined for all operands.
template <typename T>
struct Partial {
  T value{};
  std::optional<Trap> trap;
  constexpr Partial(T v) : value(v) {}
  constexpr Partial(Trap t) : trap(t) {}
};

namespace numeric {

template <std::unsigned_integral N>
inline constexpr unsigned bits = sizeof(N) * 8;
template <std::unsigned_integral N>
using Signed = std::make_signed_t<N>;
template <std::unsigned_integral N>
inline constexpr auto smallest = std::numeric_limits<Signed<N>>::min();
template <std::unsigned_integral N>
inline constexpr auto largest = std::numeric_limits<Signed<N>>::max();
/// An integer in its two's complement reading.
template <std::unsigned_integral N>
constexpr Signed<N> signed_(N i) {
  return Signed<N>(i);
}

// Narrow operands are computed with 64 bits: the language would make them signed and overflow.
template <std::unsigned_integral N>
constexpr N iadd(N i, N j) {
  return N(U64{i} + j);
}
template <std::unsigned_integral N>
constexpr N isub(N i, N j) {
  return N(U64{i} - j);
}
template <std::unsigned_integral N>
constexpr N imul(N i, N j) {
  return N(U64{i} * j);
}
template <std::unsigned_integral N>
constexpr N ineg(N i) {
  return N(-U64{i});
}
template <std::unsigned_integral N>
constexpr N iabs(N i) {
  return signed_(i) < 0 ? ineg(i) : i;
}

template <std::unsigned_integral N>
constexpr Partial<N> idiv_u(N i, N j) {
  if (j == 0) return Trap::divide_by_zero;
  return N(i / j);
}
template <std::unsigned_integral N>
constexpr Partial<N> idiv_s(N i, N j) {
  if (j == 0) return Trap::divide_by_zero;
  if (signed_(i) == smallest<N> && signed_(j) == -1) return Trap::integer_overflow;
  return N(signed_(i) / signed_(j));
}
template <std::unsigned_integral N>
constexpr Partial<N> irem_u(N i, N j) {
  if (j == 0) return Trap::divide_by_zero;
  return N(i % j);
}
template <std::unsigned_integral N>
constexpr Partial<N> irem_s(N i, N j) {
  if (j == 0) return Trap::divide_by_zero;
  if (signed_(j) == -1) return N{0};  // where the quotient may be out of range
  return N(signed_(i) % signed_(j));
}

template <std::unsigned_integral N>
constexpr N inot(N i) {
  return N(~i);
}
template <std::unsigned_integral N>
constexpr N iand(N i, N j) {
  return i & j;
}
template <std::unsigned_integral N>
constexpr N iandnot(N i, N j) {
  return N(i & ~j);
}
template <std::unsigned_integral N>
constexpr N ior(N i, N j) {
  return i | j;
}
template <std::unsigned_integral N>
constexpr N ixor(N i, N j) {
  return i ^ j;
}
/// The bits of `i` where `k` has ones, of `j` elsewhere.
template <std::unsigned_integral N>
constexpr N ibitselect(N i, N j, N k) {
  return N((i & k) | (j & ~k));
}

// Shifts take their distance modulo the width, which all distances' own widths are multiples of.
template <std::unsigned_integral N>
constexpr N ishl(N i, U64 k) {
  return N(U64{i} << k % bits<N>);
}
template <std::unsigned_integral N>
constexpr N ishr_u(N i, U64 k) {
  return N(i >> k % bits<N>);
}
template <std::unsigned_integral N>
constexpr N ishr_s(N i, U64 k) {
  return N(signed_(i) >> k % bits<N>);
}
template <std::unsigned_integral N>
constexpr N irotl(N i, U64 k) {
  return std::rotl(i, int(k % bits<N>));
}
template <std::unsigned_integral N>
constexpr N irotr(N i, U64 k) {
  return std::rotr(i, int(k % bits<N>));
}

template <std::unsigned_integral N>
constexpr N iclz(N i) {
  return N(std::countl_zero(i));
}
template <std::unsigned_integral N>
constexpr N ictz(N i) {
  return N(std::countr_zero(i));
}
template <std::unsigned_integral N>
constexpr N ipopcnt(N i) {
  return N(std::popcount(i));
}

template <std::unsigned_integral N>
constexpr U32 ieqz(N i) {
  return i == 0;
}
template <std::unsigned_integral N>
constexpr U32 ieq(N i, N j) {
  return i == j;
}
template <std::unsigned_integral N>
constexpr U32 ine(N i, N j) {
  return i != j;
}
template <std::unsigned_integral N>
constexpr U32 ilt_u(N i, N j) {
  return i < j;
}
template <std::unsigned_integral N>
constexpr U32 ilt_s(N i, N j) {
  return signed_(i) < signed_(j);
}
template <std::unsigned_integral N>
constexpr U32 igt_u(N i, N j) {
  return i > j;
}
template <std::unsigned_integral N>
constexpr U32 igt_s(N i, N j) {
  return signed_(i) > signed_(j);
}
template <std::unsigned_integral N>
constexpr U32 ile_u(N i, N j) {
  return i <= j;
}
template <std::unsigned_integral N>
constexpr U32 ile_s(N i, N j) {
  return signed_(i) <= signed_(j);
}
template <std::unsigned_integral N>
constexpr U32 ige_u(N i, N j) {
  return i >= j;
}
template <std::unsigned_integral N>
constexpr U32 ige_s(N i, N j) {
  return signed_(i) >= signed_(j);
}

template <std::unsigned_integral N>
constexpr N imin_u(N i, N j) {
  return std::min(i, j);
}
template <std::unsigned_integral N>
constexpr N imin_s(N i, N j) {
  return N(std::min(signed_(i), signed_(j)));
}
template <std::unsigned_integral N>
constexpr N imax_u(N i, N j) {
  return std::max(i, j);
}
template <std::unsigned_integral N>
constexpr N imax_s(N i, N j) {
  return N(std::max(signed_(i), signed_(j)));
}

/// The value nearest to `i` that N has, read as signed or as unsigned.
template <std::unsigned_integral N>
constexpr N sat_s(std::int64_t i) {
  return N(std::clamp<std::int64_t>(i, smallest<N>, largest<N>));
}
template <std::unsigned_integral N>
constexpr N sat_u(std::int64_t i) {
  return N(std::clamp<std::int64_t>(i, 0, std::numeric_limits<N>::max()));
}
// Of 8 and 16 bits.
template <std::unsigned_integral N>
constexpr N iadd_sat_u(N i, N j) {
  return sat_u<N>(std::int64_t{i} + j);
}
template <std::unsigned_integral N>
constexpr N iadd_sat_s(N i, N j) {
  return sat_s<N>(std::int64_t{signed_(i)} + signed_(j));
}
template <std::unsigned_integral N>
constexpr N isub_sat_u(N i, N j) {
  return sat_u<N>(std::int64_t{i} - j);
}
template <std::unsigned_integral N>
constexpr N isub_sat_s(N i, N j) {
  return sat_s<N>(std::int64_t{signed_(i)} - signed_(j));
}
template <std::unsigned_integral N>
constexpr N iavgr_u(N i, N j) {
  return N((U32{i} + j + 1) / 2);
}
/// (i * j + 2^14) >> 15
constexpr U16 iq15mulr_sat_s(U16 i, U16 j) {
  return sat_s<U16>((std::int64_t{signed_(i)} * signed_(j) + 0x4000) >> 15);
}

// 4.3.4: to another width.
template <std::unsigned_integral From, std::unsigned_integral To>
constexpr To extend_u(From i) {
  return i;
}
template <std::unsigned_integral From, std::unsigned_integral To>
constexpr To extend_s(From i) {
  return To(signed_(i));
}
template <std::unsigned_integral From, std::unsigned_integral To>
constexpr To wrap(From i) {
  return To(i);
}
/// Sign-extends the lowest bits, as many as Part has.
template <std::unsigned_integral Part, std::unsigned_integral N>
constexpr N iextend_s(N i) {
  return extend_s<Part, N>(Part(i));
}
template <std::unsigned_integral From, std::unsigned_integral To>
constexpr To narrow_s(From i) {
  return sat_s<To>(signed_(i));
}
/// Reads `i` as signed, and gives what the narrower type has nearest to it without a sign.
template <std::unsigned_integral From, std::unsigned_integral To>
constexpr To narrow_u(From i) {
  return sat_u<To>(signed_(i));
}

template <typename To, typename From>
constexpr To reinterpret(From c) {
  return std::bit_cast<To>(c);
}

}  // namespace numeric
}  // namespace doppel::wasm
