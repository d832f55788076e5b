#include "process/invocation.h"

#include <gtest/gtest.h>

#include <cmath>

namespace doppel {
namespace {

using wasm::Cell;

struct Integer {
  wasm::ValueType type;
  const char* word;
  std::uint64_t value;
};

TEST(Invocation, IntegersAreDecimalOrHexadecimalAndFit) {
  const Integer good[] = {
      {wasm::i32, "0", 0},
      {wasm::i32, "+7", 7},
      {wasm::i32, "-1", 0xffff'ffff},
      {wasm::i32, "4294967295", 0xffff'ffff},
      {wasm::i32, "-2147483648", 0x8000'0000},
      {wasm::i32, "0xFf", 255},
      {wasm::i32, "-0x1", 0xffff'ffff},
      {wasm::i64, "18446744073709551615", ~0ULL},
      {wasm::i64, "-9223372036854775808", 1ULL << 63},
  };
  for (const auto& [type, word, value] : good) {
    const auto parsed = parse_value(type, word);
    ASSERT_TRUE(parsed) << word;
    EXPECT_EQ(type == wasm::i32 ? parsed->i32() : parsed->i64(), value) << word;
  }
}

TEST(Invocation, WhatIsNoNumberOfTheTypeIsRefusedByName) {
  const std::pair<wasm::ValueType, const char*> bad[] = {
      {wasm::i32, ""},     {wasm::i32, "4294967296"}, {wasm::i32, "-2147483649"},
      {wasm::i32, "1.5"},  {wasm::i32, "0x"},         {wasm::i32, "--1"},
      {wasm::i32, "1 "},   {wasm::i32, "12a"},        {wasm::i64, "18446744073709551616"},
      {wasm::i64, "-"},    {wasm::f32, "1e39"},       {wasm::f64, ""},
      {wasm::f64, "1.5x"}, {wasm::f64, "+-1"},        {wasm::f64, "one"},
      {wasm::f64, "0x"},   {wasm::i64, "9e3"},        {wasm::i64, "-9223372036854775809"},
  };
  for (const auto& [type, word] : bad) {
    const auto parsed = parse_value(type, word);
    ASSERT_FALSE(parsed) << word;
    EXPECT_EQ(parsed.message(), fmt::format("'{}' is no {}", word, wasm::spelling(type)));
  }
  EXPECT_FALSE(parse_value(wasm::v128, "0"));
}

TEST(Invocation, FloatingPointNumbersAreWrittenAsInC) {
  const auto f64 = [](const char* word) { return parse_value(wasm::f64, word)->f64(); };
  EXPECT_EQ(f64("1.5"), 1.5);
  EXPECT_EQ(f64("-1e2"), -100);
  EXPECT_EQ(f64("0x1.8p1"), 3);
  EXPECT_EQ(f64("inf"), INFINITY);
  EXPECT_EQ(f64("-inf"), -INFINITY);
  EXPECT_TRUE(std::isnan(f64("nan")));
  EXPECT_TRUE(std::signbit(f64("-0")));
  EXPECT_EQ(parse_value(wasm::f32, ".1")->f32(), .1f);
}

TEST(Invocation, ResultsTellValuesApart) {
  EXPECT_EQ(value_text(wasm::i32, Cell::of_i32(0xffff'ffff)), "-1");
  EXPECT_EQ(value_text(wasm::i64, Cell::of_i64(1ULL << 63)), "-9223372036854775808");
  EXPECT_EQ(value_text(wasm::f32, Cell::of_f32(.1f)), "0.1");
  EXPECT_EQ(value_text(wasm::f64, Cell::of_f64(.1f)), "0.10000000149011612");
  EXPECT_EQ(value_text(wasm::f64, Cell::of_f64(-0.0)), "-0");
  EXPECT_EQ(value_text(wasm::v128, Cell{.low = 1, .high = 2}), "0x00000000000000020000000000000001");
}

}  // namespace
}  // namespace doppel
