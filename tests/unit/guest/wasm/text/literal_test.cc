// Numbers mean the nearest value there is, and nothing else: a constant that is off by one bit is another program.
#include "guest/wasm/text/literal.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>

#include "guest/wasm/text/spelling.h"

namespace doppel::wasm::text {
namespace {

TEST(Literal, IntegersAreSignedOrUnsigned) {
  EXPECT_EQ(parse_integer("4294967295", 32), 0xffff'ffffU);
  EXPECT_EQ(parse_integer("-2147483648", 32), 0x8000'0000U);
  EXPECT_EQ(parse_integer("-0x8000_0000", 32), 0x8000'0000U);
  EXPECT_EQ(parse_integer("+0x7f", 8), 0x7fU);
  EXPECT_EQ(parse_integer("-1", 64), ~0ULL);
  EXPECT_EQ(parse_integer("18446744073709551615", 64), ~0ULL);
  for (const char* text : {"4294967296", "-2147483649", "0x1_0000_0000", "99999999999999999999999"})
    EXPECT_FALSE(parse_integer(text, 32)) << text;
  EXPECT_FALSE(parse_integer("18446744073709551616", 64));
  EXPECT_FALSE(parse_integer("-9223372036854775809", 64));
  EXPECT_FALSE(parse_integer("256", 8));
}

TEST(Literal, FloatsAreRoundedOnce) {
  // As a double it is a tie that would be rounded down to even in a second step.
  EXPECT_EQ(parse_f32("1.00000005960464477540"), 0x3f80'0001U);
  EXPECT_EQ(parse_f32("0x1.000001000000001p0"), 0x3f80'0001U);
  EXPECT_EQ(parse_f32("0x1.000001p0"), 0x3f80'0000U) << "a tie goes to even";
  EXPECT_EQ(parse_f32("0x1.000003p0"), 0x3f80'0002U);
  EXPECT_EQ(parse_f64("0x1.00000000000008p0"), 0x3ff0'0000'0000'0000U);
  EXPECT_EQ(parse_f64("0x1.00000000000008000000000001p0"), 0x3ff0'0000'0000'0001U);
  EXPECT_EQ(parse_f64("9007199254740993"), std::bit_cast<std::uint64_t>(9007199254740992.0));
  const auto long_tail = "9007199254740993." + std::string(2000, '0') + "1";
  EXPECT_EQ(parse_f64(long_tail), std::bit_cast<std::uint64_t>(9007199254740994.0)) << "every digit counts";
}

TEST(Literal, FloatsReachFromTheSmallestToTheLargest) {
  EXPECT_EQ(parse_f32("0x1p-149"), 1U);
  EXPECT_EQ(parse_f32("0x1p-150"), 0U);
  EXPECT_EQ(parse_f32("0x1.000002p-150"), 1U);
  EXPECT_EQ(parse_f32("-1e-400"), 0x8000'0000U);
  EXPECT_EQ(parse_f32("0x1.fffffep127"), 0x7f7f'ffffU);
  EXPECT_EQ(parse_f32("0x1.fffffe9p127"), 0x7f7f'ffffU);
  EXPECT_FALSE(parse_f32("0x1.ffffffp127"));
  EXPECT_FALSE(parse_f32("1e39"));
  EXPECT_EQ(parse_f64("4.9406564584124654e-324"), 1U);
  EXPECT_EQ(parse_f64("1.7976931348623157e308"), 0x7fef'ffff'ffff'ffffU);
  EXPECT_FALSE(parse_f64("1e309"));
  EXPECT_FALSE(parse_f64("1" + std::string(400, '0')));
  EXPECT_EQ(parse_f64("0." + std::string(400, '0') + "1e401"), std::bit_cast<std::uint64_t>(1.0));
}

TEST(Literal, NansHavePayloads) {
  EXPECT_EQ(parse_f32("nan"), 0x7fc0'0000U);
  EXPECT_EQ(parse_f32("-nan"), 0xffc0'0000U);
  EXPECT_EQ(parse_f32("nan:0x1"), 0x7f80'0001U);
  EXPECT_EQ(parse_f32("-nan:0x7f_ffff"), 0xffff'ffffU);
  EXPECT_EQ(parse_f64("nan:0x4_0000_0000_0000"), 0x7ff4'0000'0000'0000U);
  EXPECT_EQ(parse_f32("-inf"), 0xff80'0000U);
  EXPECT_FALSE(parse_f32("nan:0x80_0000"));
  EXPECT_FALSE(parse_f32("nan:0x0"));
  EXPECT_FALSE(parse_f64("nan:0x10_0000_0000_0000"));
}

// What the printer writes is read as the same bits, whichever these are.
TEST(Literal, EveryFloatIsWrittenAndReadAgain) {
  std::mt19937_64 random(7);
  for (int n = 0; n < 20'000; n++) {
    const auto bits = random();
    const auto narrow = std::uint32_t(bits >> 16);
    ASSERT_EQ(parse_f64(spell_f64(bits)), bits) << spell_f64(bits);
    ASSERT_EQ(parse_f32(spell_f32(narrow)), narrow) << spell_f32(narrow);
    ASSERT_NE(number_kind(spell_f64(bits)), TokenKind::reserved) << spell_f64(bits);
  }
  for (const std::uint32_t bits : {0U, 0x8000'0000U, 0x7f80'0000U, 0xff80'0000U, 0x7fc0'0000U, 0x7f80'0001U, 1U})
    EXPECT_EQ(parse_f32(spell_f32(bits)), bits) << spell_f32(bits);
}

TEST(Literal, StringsAreTheirBytes) {
  EXPECT_EQ(decode_string(R"("a\41\00\u{e9}\u{1F600}\t")"), std::string("aA\0\xc3\xa9\xf0\x9f\x98\x80\t", 10));
  std::string all;
  for (int n = 0; n < 256; n++) all += char(n);
  EXPECT_EQ(decode_string(quoted_string(all)), all);
}

}  // namespace
}  // namespace doppel::wasm::text
