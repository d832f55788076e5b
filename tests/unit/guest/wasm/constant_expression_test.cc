#include "guest/wasm/constant_expression.h"

#include <gtest/gtest.h>

#include "unit/guest/wasm/module_bytes.h"

namespace doppel::wasm {
namespace {

// Globals are 100 times their index, functions have the number that is 10 more than theirs.
Cell value_of(const Bytes& code) {
  Module module;
  const Bytes expression = code + Bytes{0x0b};
  module.bytes = std::make_shared<const Bytes>(expression);
  return evaluate_constant(
      module, {0, std::uint32_t(expression.size())}, [](std::uint32_t n) { return Cell::of_i32(100 * n); },
      [](std::uint32_t n) { return n + 10; });
}

TEST(ConstantExpression, GivesConstants) {
  EXPECT_EQ(value_of({0x41, 0x7f}), Cell::of_i32(0xffff'ffff));
  EXPECT_EQ(value_of({0x42, 0x7f}), Cell::of_i64(~0ULL));
  EXPECT_EQ(value_of({0x43, 0, 0, 0x80, 0x3f}), Cell::of_f32(1));
  EXPECT_EQ(value_of({0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf}), Cell::of_f64(-1));
  Bytes wide = {0xfd, 0x0c};
  for (std::uint8_t n = 1; n <= 16; n++) wide.push_back(n);
  EXPECT_EQ(value_of(wide), (Cell{0x0807060504030201, 0x100f0e0d0c0b0a09}));
}

TEST(ConstantExpression, GivesReferences) {
  EXPECT_EQ(value_of({0xd0, 0x70}), Cell::of(Reference::null()));
  EXPECT_EQ(value_of({0xd0, 0x80, 0x01}), Cell::of(Reference::null()));  // of a defined type
  EXPECT_EQ(value_of({0xd2, 3}), Cell::of(Reference::function(13)));
}

TEST(ConstantExpression, CalculatesWithoutOverflow) {
  EXPECT_EQ(value_of({0x23, 2, 0x41, 5, 0x6a}), Cell::of_i32(205));
  EXPECT_EQ(value_of({0x41, 1, 0x41, 2, 0x6b}), Cell::of_i32(0xffff'ffff));
  EXPECT_EQ(value_of({0x41, 0x7f, 0x41, 3, 0x6c}), Cell::of_i32(0xffff'fffd));
  EXPECT_EQ(value_of({0x42, 1, 0x42, 2, 0x7d, 0x42, 3, 0x7e, 0x42, 4, 0x7c}), Cell::of_i64(1));
}

}  // namespace
}  // namespace doppel::wasm
