// The corners that the RISC-V manual pins: what programs see of NaNs, infinities, zeros and numbers out of range.
// Random operands do not show that an oracle and the implementation share a misreading; these tables are the manual's.
#include <gtest/gtest.h>

#include <limits>

#include "unit/guest/riscv64/float_operands.h"

namespace doppel::riscv64 {
namespace {

constexpr uint64_t kNan = 0x7ff8000000000000, kSignalling = 0x7ff0000000000001, kNegativeNan = 0xfff8000000000123;
constexpr uint64_t kPlusZero = 0, kMinusZero = 0x8000000000000000;
constexpr double kInfinite = std::numeric_limits<double>::infinity();

uint64_t bits(double value) { return std::bit_cast<uint64_t>(value); }
uint32_t bits(float value) { return std::bit_cast<uint32_t>(value); }

struct Saturation {
  double input;
  Rounding rm;
  int32_t w;
  uint32_t wu;
  int64_t l;
  uint64_t lu;
  unsigned w_flags, wu_flags, l_flags, lu_flags;
};

constexpr int32_t kMinW = std::numeric_limits<int32_t>::min(), kMaxW = std::numeric_limits<int32_t>::max();
constexpr int64_t kMinL = std::numeric_limits<int64_t>::min(), kMaxL = std::numeric_limits<int64_t>::max();
constexpr uint32_t kMaxWu = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kMaxLu = std::numeric_limits<uint64_t>::max();
constexpr unsigned kNX = kInexact, kNV = kInvalid;

// Unprivileged ISA 20.7, "Domains of float-to-integer conversions and behavior for invalid inputs".
constexpr Saturation kSaturations[] = {
    {kInfinite, Rounding::rne, kMaxW, kMaxWu, kMaxL, kMaxLu, kNV, kNV, kNV, kNV},
    {-kInfinite, Rounding::rne, kMinW, 0, kMinL, 0, kNV, kNV, kNV, kNV},
    {1e300, Rounding::rtz, kMaxW, kMaxWu, kMaxL, kMaxLu, kNV, kNV, kNV, kNV},
    {-1e300, Rounding::rtz, kMinW, 0, kMinL, 0, kNV, kNV, kNV, kNV},
    {0.0, Rounding::rne, 0, 0, 0, 0, 0, 0, 0, 0},
    {-0.0, Rounding::rdn, 0, 0, 0, 0, 0, 0, 0, 0},
    {-1.0, Rounding::rne, -1, 0, -1, 0, 0, kNV, 0, kNV},
    {-0.75, Rounding::rtz, 0, 0, 0, 0, kNX, kNX, kNX, kNX},
    {-0.75, Rounding::rne, -1, 0, -1, 0, kNX, kNV, kNX, kNV},
    {-0.25, Rounding::rdn, -1, 0, -1, 0, kNX, kNV, kNX, kNV},
    {0x1p-1074, Rounding::rup, 1, 1, 1, 1, kNX, kNX, kNX, kNX},
    {0.5, Rounding::rne, 0, 0, 0, 0, kNX, kNX, kNX, kNX},
    {0.5, Rounding::rmm, 1, 1, 1, 1, kNX, kNX, kNX, kNX},
    {-0.5, Rounding::rmm, -1, 0, -1, 0, kNX, kNV, kNX, kNV},
    {2.5, Rounding::rne, 2, 2, 2, 2, kNX, kNX, kNX, kNX},
    {2.5, Rounding::rmm, 3, 3, 3, 3, kNX, kNX, kNX, kNX},
    {2147483647.5, Rounding::rtz, kMaxW, 2147483647, 2147483647, 2147483647, kNX, kNX, kNX, kNX},
    {2147483647.5, Rounding::rne, kMaxW, 2147483648, 2147483648, 2147483648, kNV, kNX, kNX, kNX},
    {-2147483648.0, Rounding::rne, kMinW, 0, -2147483648, 0, 0, kNV, 0, kNV},
    {-2147483648.5, Rounding::rtz, kMinW, 0, -2147483648, 0, kNX, kNV, kNX, kNV},
    {-2147483648.5, Rounding::rdn, kMinW, 0, -2147483649, 0, kNV, kNV, kNX, kNV},
    {4294967295.5, Rounding::rtz, kMaxW, kMaxWu, 4294967295, 4294967295, kNV, kNX, kNX, kNX},
    {4294967295.5, Rounding::rup, kMaxW, kMaxWu, 4294967296, 4294967296, kNV, kNV, kNX, kNX},
    {0x1p63, Rounding::rne, kMaxW, kMaxWu, kMaxL, uint64_t{1} << 63, kNV, kNV, kNV, 0},
    {-0x1p63, Rounding::rne, kMinW, 0, kMinL, 0, kNV, kNV, 0, kNV},
    {-0x1.0000000000001p63, Rounding::rtz, kMinW, 0, kMinL, 0, kNV, kNV, kNV, kNV},
    {0x1.fffffffffffffp63, Rounding::rne, kMaxW, kMaxWu, kMaxL, 0xfffffffffffff800, kNV, kNV, kNV, 0},
    {0x1p64, Rounding::rne, kMaxW, kMaxWu, kMaxL, kMaxLu, kNV, kNV, kNV, kNV},
};

// A wrong saturated value or a stray NX turns range checks in guest programs into garbage.
TEST(FloatCorner, conversions_to_integers_saturate) {
  for (const Saturation& row : kSaturations) {
    SCOPED_TRACE(testing::Message() << row.input << " mode " << int(row.rm));
    unsigned w = 0, wu = 0, l = 0, lu = 0;
    EXPECT_EQ(f64::to_i32(bits(row.input), row.rm, w), row.w);
    EXPECT_EQ(f64::to_u32(bits(row.input), row.rm, wu), row.wu);
    EXPECT_EQ(f64::to_i64(bits(row.input), row.rm, l), row.l);
    EXPECT_EQ(f64::to_u64(bits(row.input), row.rm, lu), row.lu);
    EXPECT_EQ(w, row.w_flags);
    EXPECT_EQ(wu, row.wu_flags);
    EXPECT_EQ(l, row.l_flags);
    EXPECT_EQ(lu, row.lu_flags);
  }
}

TEST(FloatCorner, nans_convert_to_the_largest_integer) {
  for (const uint64_t nan : {kNan, kSignalling, kNegativeNan}) {
    unsigned flags = 0;
    EXPECT_EQ(f64::to_i32(nan, Rounding::rtz, flags), kMaxW);
    EXPECT_EQ(f64::to_u32(nan, Rounding::rtz, flags), kMaxWu);
    EXPECT_EQ(f64::to_i64(nan, Rounding::rtz, flags), kMaxL);
    EXPECT_EQ(f64::to_u64(nan, Rounding::rtz, flags), kMaxLu);
    EXPECT_EQ(flags, kNV);
  }
}

// JavaScript engines use FCVTMOD.W.D for every `x | 0`.
TEST(FloatCorner, fcvtmod_wraps) {
  struct Row {
    uint64_t input;
    int32_t result;
    unsigned flags;
  };
  const Row rows[] = {
      {bits(0.0), 0, 0},
      {bits(-0.0), 0, 0},
      {bits(-1.0), -1, 0},
      {bits(1.75), 1, kNX},
      {bits(-0.5), 0, kNX},
      {bits(2147483647.5), kMaxW, kNX},
      {bits(2147483648.0), kMinW, kNV},
      {bits(-2147483648.5), kMinW, kNX},
      {bits(-2147483649.0), kMaxW, kNV},
      {bits(4294967295.5), -1, kNV},
      {bits(4294967301.0), 5, kNV},
      {bits(-4294967301.25), -5, kNV},
      {bits(0x1.0000000000001p52), 1, kNV},
      {bits(-0x1.0000000000001p52), -1, kNV},
      {bits(0x1.0000000000001p83), kMinW, kNV},
      {bits(0x1.0000000000001p84), 0, kNV},
      {bits(0x1.8p64), 0, kNV},
      {bits(1e300), 0, kNV},
      {bits(kInfinite), 0, kNV},
      {bits(-kInfinite), 0, kNV},
      {kNan, 0, kNV},
      {kSignalling, 0, kNV},
  };
  for (const Row& row : rows) {
    unsigned flags = 0;
    EXPECT_EQ(f64::to_i32_mod(row.input, flags), row.result) << std::hex << row.input;
    EXPECT_EQ(flags, row.flags) << std::hex << row.input;
  }
}

// Unprivileged ISA 20.9, "Format of result of FCLASS instruction".
TEST(FloatCorner, classes) {
  const uint64_t doubles[] = {bits(-kInfinite), bits(-1.0),      bits(-0x1p-1074), kMinusZero,  kPlusZero,
                              bits(0x1p-1074),  bits(0x1p-1022), bits(kInfinite),  kSignalling, kNan};
  const uint32_t singles[] = {0xff800000, 0x80800000, 0x807fffff, 0x80000000, 0,
                              1,          0x7f7fffff, 0x7f800000, 0xffbfffff, 0xffc00000};
  const uint16_t halves[] = {0xfc00, 0xfbff, 0x8001, 0x8000, 0, 0x03ff, 0x0400, 0x7c00, 0x7dff, 0x7e00};
  for (unsigned i = 0; i < 10; ++i) {
    EXPECT_EQ(f64::classify(doubles[i]), 1U << i);
    EXPECT_EQ(f32::classify(singles[i]), 1U << i);
    EXPECT_EQ(f16::classify(halves[i]), 1U << i);
  }
}

// F 2.2 (Unprivileged ISA 20.6) and Zfa 25.2: programs that skip missing values (NaN) rely on which operand survives.
TEST(FloatCorner, minimum_and_maximum) {
  struct Row {
    uint64_t a, b, min, max, minm, maxm;
    unsigned flags;
  };
  const uint64_t one = bits(1.0), minus_two = bits(-2.0), infinite = bits(kInfinite);
  const Row rows[] = {
      {one, minus_two, minus_two, one, minus_two, one, 0},
      {kMinusZero, kPlusZero, kMinusZero, kPlusZero, kMinusZero, kPlusZero, 0},
      {kPlusZero, kMinusZero, kMinusZero, kPlusZero, kMinusZero, kPlusZero, 0},
      {infinite, one, one, infinite, one, infinite, 0},
      {kNan, one, one, one, kNan, kNan, 0},
      {minus_two, kNegativeNan, minus_two, minus_two, kNan, kNan, 0},
      {kSignalling, one, one, one, kNan, kNan, kNV},
      {one, kSignalling, one, one, kNan, kNan, kNV},
      {kNegativeNan, kNegativeNan, kNan, kNan, kNan, kNan, 0},
      {kNan, kSignalling, kNan, kNan, kNan, kNan, kNV},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(testing::Message() << std::hex << row.a << " " << row.b);
    unsigned flags[4] = {};
    EXPECT_EQ(f64::min(row.a, row.b, flags[0]), row.min);
    EXPECT_EQ(f64::max(row.a, row.b, flags[1]), row.max);
    EXPECT_EQ(f64::minm(row.a, row.b, flags[2]), row.minm);
    EXPECT_EQ(f64::maxm(row.a, row.b, flags[3]), row.maxm);
    for (const unsigned raised : flags) EXPECT_EQ(raised, row.flags);
  }
}

// Zfa 25.3: the C library's rint, floor, ceil, trunc and round are these instructions; only rint may raise NX.
TEST(FloatCorner, fround) {
  struct Row {
    double input;
    std::array<double, 5> results;  // By rounding mode.
    bool inexact;
  };
  const Row rows[] = {
      {0.0, {0, 0, 0, 0, 0}, false},
      {0.5, {0, 0, 0, 1, 1}, true},
      {-0.5, {-0.0, -0.0, -1, -0.0, -1}, true},
      {1.5, {2, 1, 1, 2, 2}, true},
      {-2.5, {-2, -2, -3, -2, -3}, true},
      {0x1p-1074, {0, 0, 0, 1, 0}, true},
      {-0x1p-1074, {-0.0, -0.0, -1, -0.0, -0.0}, true},
      {0x1.fffffffffffffp51, {0x1p52, 0x1.ffffffffffffep51, 0x1.ffffffffffffep51, 0x1p52, 0x1p52}, true},
      {0x1.0000000000001p52,
       {0x1.0000000000001p52, 0x1.0000000000001p52, 0x1.0000000000001p52, 0x1.0000000000001p52, 0x1.0000000000001p52},
       false},
      {-kInfinite, {-kInfinite, -kInfinite, -kInfinite, -kInfinite, -kInfinite}, false},
  };
  for (const Row& row : rows) {
    for (const Rounding rm : kRoundings) {
      unsigned flags = 0, flags_nx = 0;
      EXPECT_EQ(f64::round(bits(row.input), rm, flags), bits(row.results[size_t(rm)])) << row.input << " " << int(rm);
      EXPECT_EQ(f64::roundnx(bits(row.input), rm, flags_nx), bits(row.results[size_t(rm)]));
      EXPECT_EQ(flags, 0U);
      EXPECT_EQ(flags_nx, row.inexact ? kNX : 0);
    }
  }
  unsigned quiet = 0, signalling = 0;
  EXPECT_EQ(f64::round(kNegativeNan, Rounding::rne, quiet), kNan);
  EXPECT_EQ(f64::round(kSignalling, Rounding::rne, signalling), kNan);
  EXPECT_EQ(quiet, 0U);
  EXPECT_EQ(signalling, kNV);
}

// Unprivileged ISA 20.3 and 20.6: no operation passes on a NaN's payload or sign, and these are the invalid ones.
TEST(FloatCorner, invalid_operations_give_the_canonical_nan) {
  const uint64_t one = bits(1.0), infinite = bits(kInfinite), minus_infinite = bits(-kInfinite);
  const auto rne = Rounding::rne;
  const auto invalid = [](auto operation) {
    unsigned flags = 0;
    EXPECT_EQ(operation(flags), kNan);
    EXPECT_EQ(flags, kNV);
  };
  const auto quiet = [](auto operation) {
    unsigned flags = 0;
    EXPECT_EQ(operation(flags), kNan);
    EXPECT_EQ(flags, 0U);
  };
  invalid([&](unsigned& f) { return f64::add(infinite, minus_infinite, rne, f); });
  invalid([&](unsigned& f) { return f64::sub(infinite, infinite, rne, f); });
  invalid([&](unsigned& f) { return f64::mul(infinite, kMinusZero, rne, f); });
  invalid([&](unsigned& f) { return f64::div(kPlusZero, kPlusZero, rne, f); });
  invalid([&](unsigned& f) { return f64::div(infinite, minus_infinite, rne, f); });
  invalid([&](unsigned& f) { return f64::sqrt(minus_infinite, rne, f); });
  invalid([&](unsigned& f) { return f64::sqrt(bits(-0x1p-1074), rne, f); });
  invalid([&](unsigned& f) { return f64::fma(infinite, kPlusZero, kNan, rne, f); });
  invalid([&](unsigned& f) { return f64::fma(kMinusZero, minus_infinite, one, rne, f); });
  invalid([&](unsigned& f) { return f64::fma(infinite, one, minus_infinite, rne, f); });
  invalid([&](unsigned& f) { return f64::fma(kNan, one, kSignalling, rne, f); });
  invalid([&](unsigned& f) { return f64::add(one, kSignalling, rne, f); });
  quiet([&](unsigned& f) { return f64::add(kNegativeNan, one, rne, f); });
  quiet([&](unsigned& f) { return f64::fma(one, kNegativeNan, infinite, rne, f); });
  quiet([&](unsigned& f) { return f64::sqrt(kNegativeNan, rne, f); });
}

// A narrowing that lost infinities, signs of zeros or subnormals would break every program that stores halves.
TEST(FloatCorner, every_half_survives_a_round_trip) {
  for (unsigned half = 0; half < 0x10000; ++half) {
    const bool nan = (half & 0x7fff) > 0x7c00, signalling = nan && (half & 0x200) == 0;
    unsigned single_flags = 0, double_flags = 0;
    const uint32_t single = f32::from_f16(uint16_t(half), Rounding::rne, single_flags);
    const uint64_t wide = f64::from_f16(uint16_t(half), Rounding::rne, double_flags);
    ASSERT_EQ(single_flags, signalling ? kNV : 0);
    ASSERT_EQ(double_flags, single_flags);
    if (nan) {
      ASSERT_EQ(single, 0x7fc00000U);
      ASSERT_EQ(wide, kNan);
    } else {
      ASSERT_EQ(wide, bits(double(std::bit_cast<float>(single))));
    }
    const auto expected = uint16_t(nan ? 0x7e00 : half);
    for (const Rounding rm : kRoundings) {
      unsigned flags = 0;
      ASSERT_EQ(f16::from_f32(single, rm, flags), expected);
      ASSERT_EQ(f16::from_f64(wide, rm, flags), expected);
      ASSERT_EQ(flags, 0U);
    }
  }
  unsigned flags = 0;
  EXPECT_EQ(f32::from_f16(0x3555, Rounding::rne, flags), bits(0.333251953125F));
}

// The edge that decides between detecting tininess before rounding and after: RISC-V is after (Unprivileged ISA 20.4).
TEST(FloatCorner, tininess_is_detected_after_rounding) {
  unsigned flags = 0;
  // 2^-126 less a hair rounds to 2^-126 with unbounded exponents too: not tiny.
  EXPECT_EQ(f32::from_f64(bits(0x1.ffffffffffp-127), Rounding::rne, flags), 0x00800000U);
  EXPECT_EQ(flags, kNX);
  flags = 0;
  // With unbounded exponents this rounds to a number under 2^-126: tiny, though the subnormal rounds to 2^-126.
  EXPECT_EQ(f32::from_f64(bits(0x1.fffffep-127), Rounding::rne, flags), 0x00800000U);
  EXPECT_EQ(flags, kNX | kUnderflow);
}

// A product that rounds up to the smallest normal number is not exact, though its significand looks so: NX was lost
// here.
TEST(FloatCorner, fma_whose_product_is_just_below_the_normal_range_is_inexact) {
  unsigned flags = 0;
  EXPECT_EQ(f32::fma(0x00800000, 0xbf7fffff, 0x812fc459, Rounding::rne, flags), 0x816fc459U);
  EXPECT_EQ(flags, kNX);
}

TEST(FloatCorner, overflow_by_rounding_mode) {
  const uint64_t largest = 0x7fefffffffffffff, infinite = 0x7ff0000000000000, sign = kMinusZero;
  const uint64_t positive[] = {infinite, largest, largest, infinite, infinite};
  const uint64_t negative[] = {infinite, largest, infinite, largest, infinite};
  for (const Rounding rm : kRoundings) {
    unsigned flags = 0;
    EXPECT_EQ(f64::add(largest, largest, rm, flags), positive[size_t(rm)]);
    EXPECT_EQ(f64::add(largest | sign, largest | sign, rm, flags), negative[size_t(rm)] | sign);
    EXPECT_EQ(flags, kNX | kOverflow);
  }
}

// Zfa 25.1, "Immediate values loaded by the FLI.S instruction".
TEST(FloatCorner, fli_constants) {
  const uint32_t singles[32] = {0xbf800000, 0x00800000, 0x37800000, 0x38000000, 0x3b800000, 0x3c000000, 0x3d800000,
                                0x3e000000, 0x3e800000, 0x3ea00000, 0x3ec00000, 0x3ee00000, 0x3f000000, 0x3f200000,
                                0x3f400000, 0x3f600000, 0x3f800000, 0x3fa00000, 0x3fc00000, 0x3fe00000, 0x40000000,
                                0x40200000, 0x40400000, 0x40800000, 0x41000000, 0x41800000, 0x43000000, 0x43800000,
                                0x47000000, 0x47800000, 0x7f800000, 0x7fc00000};
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(f32_fli[i], singles[i]) << i;
    if (i == 1 || i == 31) continue;  // Below, as they differ by format.
    EXPECT_EQ(f64_fli[i], bits(double(std::bit_cast<float>(singles[i])))) << i;
    unsigned flags = 0;
    if (i == 29) continue;  // 2^16 is no half.
    EXPECT_EQ(f32::from_f16(f16_fli[i], Rounding::rne, flags), singles[i]) << i;
  }
  EXPECT_EQ(f64_fli[1], 0x0010000000000000U);
  EXPECT_EQ(f64_fli[31], kNan);
  EXPECT_EQ(f16_fli[1], 0x0400U);
  EXPECT_EQ(f16_fli[29], 0x7c00U);
  EXPECT_EQ(f16_fli[31], 0x7e00U);
}

}  // namespace
}  // namespace doppel::riscv64
