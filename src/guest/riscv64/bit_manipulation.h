#pragma once
// Scalar bit-manipulation instructions (Unprivileged ISA 28 and 32: Zbb, Zbc, Zbkb, Zbkx), as functions of register
// values. Functions carry the instruction's name; those that end in w give the sign-extended 32-bit result.
#include <bit>
#include <cstdint>

namespace doppel::riscv64 {

namespace detail {
constexpr uint64_t sign_extend_word(uint32_t value) { return uint64_t(int64_t(int32_t(value))); }

/// xperm: each `width`-bit field of `indices` selects a field of `table`; an index past the end gives 0.
constexpr uint64_t permute(uint64_t table, uint64_t indices, unsigned width) {
  const uint64_t mask = (uint64_t{1} << width) - 1;
  uint64_t result = 0;
  for (unsigned position = 0; position < 64; position += width) {
    const uint64_t index = (indices >> position) & mask;
    if (index < 64 / width) result |= ((table >> (index * width)) & mask) << position;
  }
  return result;
}
}  // namespace detail

// Zbb: rotates, counts and bytes.
constexpr uint64_t rol(uint64_t a, uint64_t b) { return std::rotl(a, int(b & 63)); }
constexpr uint64_t ror(uint64_t a, uint64_t b) { return std::rotr(a, int(b & 63)); }
constexpr uint64_t rolw(uint64_t a, uint64_t b) {
  return detail::sign_extend_word(std::rotl(uint32_t(a), int(b & 31)));
}
constexpr uint64_t rorw(uint64_t a, uint64_t b) {
  return detail::sign_extend_word(std::rotr(uint32_t(a), int(b & 31)));
}
constexpr uint64_t clz(uint64_t a) { return uint64_t(std::countl_zero(a)); }
constexpr uint64_t ctz(uint64_t a) { return uint64_t(std::countr_zero(a)); }
constexpr uint64_t cpop(uint64_t a) { return uint64_t(std::popcount(a)); }
constexpr uint64_t clzw(uint64_t a) { return uint64_t(std::countl_zero(uint32_t(a))); }
constexpr uint64_t ctzw(uint64_t a) { return uint64_t(std::countr_zero(uint32_t(a))); }
constexpr uint64_t cpopw(uint64_t a) { return uint64_t(std::popcount(uint32_t(a))); }
constexpr uint64_t rev8(uint64_t a) { return __builtin_bswap64(a); }

/// Each byte that is not 0 becomes 0xff.
constexpr uint64_t orc_b(uint64_t a) {
  constexpr uint64_t kLow7 = 0x7f7f7f7f7f7f7f7f;
  const uint64_t top_bits = (((a & kLow7) + kLow7) | a) & ~kLow7;  // No carry leaves a byte.
  return (top_bits >> 7) * 0xff;
}

// Zbkb: reverses the bits of each byte, and packs low halves.
constexpr uint64_t brev8(uint64_t a) {
  a = ((a >> 1) & 0x5555555555555555) | ((a & 0x5555555555555555) << 1);
  a = ((a >> 2) & 0x3333333333333333) | ((a & 0x3333333333333333) << 2);
  return ((a >> 4) & 0x0f0f0f0f0f0f0f0f) | ((a & 0x0f0f0f0f0f0f0f0f) << 4);
}
constexpr uint64_t pack(uint64_t a, uint64_t b) { return (b << 32) | uint32_t(a); }
constexpr uint64_t packh(uint64_t a, uint64_t b) { return (uint64_t{uint8_t(b)} << 8) | uint8_t(a); }
constexpr uint64_t packw(uint64_t a, uint64_t b) {
  return detail::sign_extend_word((uint32_t{uint16_t(b)} << 16) | uint16_t(a));
}

// Zbkx.
constexpr uint64_t xperm4(uint64_t table, uint64_t indices) { return detail::permute(table, indices, 4); }
constexpr uint64_t xperm8(uint64_t table, uint64_t indices) { return detail::permute(table, indices, 8); }

// Zbc: the product of polynomials over GF(2), 127 bits: its low 64, its high 63, and bits 126 to 63.
constexpr uint64_t clmul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  for (; b != 0; b &= b - 1) product ^= a << std::countr_zero(b);
  return product;
}
constexpr uint64_t clmulr(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  for (; b != 0; b &= b - 1) product ^= a >> (63 - std::countr_zero(b));
  return product;
}
constexpr uint64_t clmulh(uint64_t a, uint64_t b) { return clmulr(a, b) >> 1; }

}  // namespace doppel::riscv64
