// What instructions compute, where the official tests leave a choice or look at few operands (core specification, 4.3).
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "guest/wasm/operations.h"

namespace doppel::wasm {
namespace {

template <Opcode opcode>
auto run(auto... operands) {
  return operation<opcode>(operands...);
}
template <typename T>
V128 lanes(std::array<T, 16 / sizeof(T)> of) {
  return vector::of<T>(of);
}
constexpr float f32_nan(U32 bits) { return std::bit_cast<float>(bits); }
U32 bits(float z) { return std::bit_cast<U32>(z); }
U64 bits(double z) { return std::bit_cast<U64>(z); }

static_assert(operation<Opcode::i32_add>(0xffff'ffffU, 2U) == 1);
static_assert(operation<Opcode::i16x8_mul>(V128{0xffff, 0}, V128{0xffff, 0}) == V128{1, 0});
static_assert(operation<Opcode::i8x16_shl>(V128{0x81, 0}, 9U) == V128{2, 0});

TEST(Numeric, WhatIsNotDefinedTraps) {
  EXPECT_EQ(run<Opcode::i32_div_s>(1U, 0U).trap, Trap::divide_by_zero);
  EXPECT_EQ(run<Opcode::i32_div_s>(0x8000'0000U, ~0U).trap, Trap::integer_overflow);
  EXPECT_EQ(run<Opcode::i32_rem_s>(0x8000'0000U, ~0U).value, 0U);
  EXPECT_EQ(run<Opcode::i32_trunc_f32_s>(f32_nan(0x7fc0'0000)).trap, Trap::invalid_conversion);
  EXPECT_EQ(run<Opcode::i32_trunc_f64_s>(2147483648.0).trap, Trap::integer_overflow);
  EXPECT_EQ(run<Opcode::i32_trunc_f64_s>(-2147483648.9).value, 0x8000'0000U);
  EXPECT_EQ(run<Opcode::i32_trunc_f64_u>(-0.9).value, 0U);
  EXPECT_EQ(run<Opcode::i64_trunc_f64_u>(18446744073709551616.0).trap, Trap::integer_overflow);
  EXPECT_EQ(run<Opcode::i64_trunc_sat_f32_s>(1e30F), 0x7fff'ffff'ffff'ffffULL);
}

// Translated code leaves NaNs to the host's instructions; where it could differ, differential tests would be noise.
TEST(Numeric, NansAreThoseOfX86) {
  EXPECT_EQ(bits(run<Opcode::f32_add>(f32_nan(0x7f80'0001), f32_nan(0xffc0'0002))), 0x7fc0'0001U);
  EXPECT_EQ(bits(run<Opcode::f32_add>(1.0F, f32_nan(0xff80'0002))), 0xffc0'0002U);
  EXPECT_EQ(bits(run<Opcode::f32_sub>(std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity())),
            0xffc0'0000U);
  EXPECT_EQ(bits(run<Opcode::f32_sqrt>(-1.0F)), 0xffc0'0000U);
  EXPECT_EQ(bits(run<Opcode::f32_ceil>(f32_nan(0x7f80'0001))), 0x7fc0'0001U);
  EXPECT_EQ(bits(run<Opcode::f32_neg>(f32_nan(0x7f80'0001))), 0xff80'0001U);
  EXPECT_EQ(bits(run<Opcode::f64_promote_f32>(f32_nan(0xff80'0001))), 0xfff8'0000'2000'0000ULL);
  EXPECT_EQ(bits(run<Opcode::f32_demote_f64>(std::bit_cast<double>(0x7ff0'0000'2000'0000ULL))), 0x7fc0'0001U);
}

TEST(Numeric, ZerosHaveAnOrder) {
  EXPECT_EQ(bits(run<Opcode::f32_min>(0.0F, -0.0F)), 0x8000'0000U);
  EXPECT_EQ(bits(run<Opcode::f32_max>(-0.0F, 0.0F)), 0U);
  EXPECT_EQ(bits(run<Opcode::f32_nearest>(-0.5F)), 0x8000'0000U);
  EXPECT_EQ(run<Opcode::f64_nearest>(2.5), 2.0);
}

// The choices are those of one host instruction, so that all tiers agree.
TEST(Numeric, RelaxedVectorsAreAsAvx2AndFmaDoThem) {
  EXPECT_EQ(run<Opcode::i8x16_relaxed_swizzle>(lanes<U8>({5, 6}), lanes<U8>({0x11, 0x80})),
            lanes<U8>({6, 0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}));
  EXPECT_EQ(run<Opcode::i32x4_relaxed_trunc_f32x4_s>(lanes<float>({3e9F, -3e9F, f32_nan(0x7fc0'0000), -1.5F})),
            lanes<U32>({0x8000'0000, 0x8000'0000, 0x8000'0000, ~0U}));
  EXPECT_EQ(run<Opcode::i32x4_relaxed_trunc_f32x4_u>(lanes<float>({5e9F, -1, f32_nan(0x7fc0'0000), 3e9F})),
            lanes<U32>({~0U, 0, 0, 3'000'000'000}));
  EXPECT_EQ(run<Opcode::i8x16_relaxed_laneselect>(V128{1, 1}, V128{2, 2}, V128{0x80, 0x7f}), (V128{1, 2}));
  EXPECT_EQ(run<Opcode::i16x8_relaxed_laneselect>(V128{0xff, 0}, V128{0, 0}, V128{0x80, 0}), (V128{0x80, 0}));
  EXPECT_EQ(run<Opcode::i16x8_relaxed_q15mulr_s>(V128{0x8000, 0}, V128{0x8000, 0}), (V128{0x8000, 0}));
  EXPECT_EQ(run<Opcode::i16x8_q15mulr_sat_s>(V128{0x8000, 0}, V128{0x8000, 0}), (V128{0x7fff, 0}));
  EXPECT_EQ(run<Opcode::i16x8_relaxed_dot_i8x16_i7x16_s>(V128{0x8080, 0}, V128{0xffff, 0}), (V128{0x8000, 0}));
  const double third = 1.0 / 3;
  EXPECT_NE(vector::lanes<double>(run<Opcode::f64x2_relaxed_madd>(lanes<double>({third, 0}), lanes<double>({3, 0}),
                                                                  lanes<double>({-1, 0})))[0],
            0.0)
      << "rounded once";
  EXPECT_EQ(bits(vector::lanes<float>(run<Opcode::f32x4_relaxed_min>(lanes<float>({0.0F}), lanes<float>({-0.0F})))[0]),
            0x8000'0000U);
  EXPECT_EQ(
      vector::lanes<float>(run<Opcode::f32x4_relaxed_max>(lanes<float>({f32_nan(0x7fc0'0000)}), lanes<float>({2})))[0],
      2.0F);
}

}  // namespace
}  // namespace doppel::wasm
