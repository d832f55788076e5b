// Bit-manipulation instructions against their definitions in the manual, bit by bit: string functions (orc.b, rev8),
// checksums and ciphers (clmul, xperm, brev8) of guests are built on them.
#include "guest/riscv64/bit_manipulation.h"

#include <gtest/gtest.h>

#include <functional>

#include "unit/guest/riscv64/float_operands.h"

namespace doppel::riscv64 {
namespace {

unsigned bit(uint64_t value, int i) { return (value >> i) & 1; }

/// A register value each of whose bits is definition(number of the bit).
uint64_t by_bits(const std::function<unsigned(int)>& definition) {
  uint64_t value = 0;
  for (int i = 0; i < 64; ++i) value |= uint64_t{definition(i) & 1} << i;
  return value;
}

uint64_t sign_extended(uint64_t value) {
  return by_bits([&](int i) { return bit(value, i < 32 ? i : 31); });
}

/// Bit `degree` of the carry-less product.
unsigned product_bit(uint64_t a, uint64_t b, int degree) {
  unsigned sum = 0;
  for (int i = 0; i < 64; ++i) {
    if (degree - i >= 0 && degree - i < 64) sum ^= bit(a, i) & bit(b, degree - i);
  }
  return sum;
}

uint64_t permuted(uint64_t table, uint64_t indices, int width) {
  return by_bits([&](int i) {
    const uint64_t index = (indices >> (i / width * width)) & ((uint64_t{1} << width) - 1);
    return index < uint64_t(64 / width) ? bit(table, int(index) * width + i % width) : 0;
  });
}

void compare_with_definitions(uint64_t a, uint64_t b) {
  const int n = int(b % 64), nw = int(b % 32);
  EXPECT_EQ(rol(a, b), by_bits([&](int i) { return bit(a, (i - n + 64) % 64); }));
  EXPECT_EQ(ror(a, b), by_bits([&](int i) { return bit(a, (i + n) % 64); }));
  EXPECT_EQ(rolw(a, b), sign_extended(by_bits([&](int i) { return bit(a, (i - nw + 64) % 32); })));
  EXPECT_EQ(rorw(a, b), sign_extended(by_bits([&](int i) { return bit(a, (i + nw) % 32); })));
  EXPECT_EQ(rev8(a), by_bits([&](int i) { return bit(a, (7 - i / 8) * 8 + i % 8); }));
  EXPECT_EQ(brev8(a), by_bits([&](int i) { return bit(a, i / 8 * 8 + 7 - i % 8); }));
  EXPECT_EQ(orc_b(a), by_bits([&](int i) { return ((a >> (i / 8 * 8)) & 0xff) != 0 ? 1 : 0; }));
  EXPECT_EQ(pack(a, b), by_bits([&](int i) { return i < 32 ? bit(a, i) : bit(b, i - 32); }));
  EXPECT_EQ(packh(a, b), by_bits([&](int i) { return i < 8 ? bit(a, i) : i < 16 ? bit(b, i - 8) : 0; }));
  EXPECT_EQ(packw(a, b), sign_extended(by_bits([&](int i) { return i < 16 ? bit(a, i) : bit(b, (i - 16) % 64); })));
  EXPECT_EQ(xperm4(a, b), permuted(a, b, 4));
  EXPECT_EQ(xperm8(a, b), permuted(a, b, 8));
  EXPECT_EQ(clmul(a, b), by_bits([&](int i) { return product_bit(a, b, i); }));
  EXPECT_EQ(clmulh(a, b), by_bits([&](int i) { return product_bit(a, b, i + 64); }));
  EXPECT_EQ(clmulr(a, b), by_bits([&](int i) { return product_bit(a, b, i + 63); }));
}

TEST(BitManipulation, follows_the_definitions) {
  std::mt19937_64 random(test_seed());
  for (int i = 0; i < 3000 && !testing::Test::HasFailure(); ++i) {
    // Sparse words leave bytes zero; indices of xperm8 are only in range if small.
    uint64_t a = random(), b = random();
    if (i % 3 == 1) a &= random() & random();
    if (i % 3 == 2) b &= 0x0f0f0f0f0f0f0f0f;
    SCOPED_TRACE(testing::Message() << std::hex << a << " " << b);
    compare_with_definitions(a, b);
  }
  for (const uint64_t a : {uint64_t{0}, ~uint64_t{0}, uint64_t{1}, uint64_t{1} << 63}) {
    compare_with_definitions(a, a);
    compare_with_definitions(a, ~a);
  }
}

// Zbb: counts of zero are the register's width, which C's builtins leave undefined.
TEST(BitManipulation, counts) {
  EXPECT_EQ(clz(0), 64U);
  EXPECT_EQ(ctz(0), 64U);
  EXPECT_EQ(clzw(0xffffffff00000000), 32U);
  EXPECT_EQ(ctzw(0xffffffff00000000), 32U);
  EXPECT_EQ(cpop(~uint64_t{0}), 64U);
  EXPECT_EQ(cpopw(0xffffffff0000000f), 4U);
  EXPECT_EQ(clz(1), 63U);
  EXPECT_EQ(ctzw(8), 3U);
}

}  // namespace
}  // namespace doppel::riscv64
