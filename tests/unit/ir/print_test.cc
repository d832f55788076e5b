// What somebody reads who looks for why translated code is slow or wrong: every field that means something, each
// operation on a line.
#include "ir/print.h"

#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/form.h"

namespace doppel::ir {
namespace {

class PrintTest : public testing::Test {
 protected:
  Code code;
  Builder b{code};
  std::string last() const { return print(code, Value(code.instructions.size() - 1)); }
};

TEST_F(PrintTest, ABlockIsReadable) {
  code.begin = 0x100, code.end = 0x10a, code.guest_count = 3;
  b.at(0x100, 4);
  const auto base = b.get(10);
  b.set(11, b.load(Type::i32, true, base, 16));
  b.at(0x104, 2);
  b.branch(Condition::ltu, base, b.constant(-0x8000), 0x80);
  b.at(0x106, 4);
  b.interpret(0x73, true);
  for (auto& i : code.instructions) i.left = i.offset == 0x100 ? 2 : i.offset == 0x104 ? 1 : 0;
  EXPECT_EQ(print(code),
            "code 0x100 to 0x10a, 3 guest instructions\n"
            "at 0x100, 4 bytes, 2 left\n"
            "  %0 = get.i64 r10\n"
            "  %1 = load.i32.signed %0, 16\n"
            "  set r11, %1\n"
            "at 0x104, 2 bytes, 1 left\n"
            "  %3 = constant -0x8000\n"
            "  branch.i64.ltu %0, %3, 0x80\n"
            "at 0x106, 4 bytes, 0 left\n"
            "  interpret.ends 0x73\n");
}

TEST_F(PrintTest, FlagsHaveWords) {
  const auto a = b.get(1), d = b.get(40, Type::f64);
  b.atomic(AtomicKind::xor_, Type::i32, a, a);
  EXPECT_EQ(last(), "%2 = atomic.i32.xor %0, %0");
  b.ternary(Op::fma, Type::f64, d, d, d, 3);
  EXPECT_EQ(last(), "%3 = fma.f64.negate_both %1, %1, %1");
  b.toint(Type::i32, Type::f64, Rounding::to_zero, d);
  EXPECT_EQ(last(), "%4 = toint.i32.f64.to_zero %1");
  b.fromint(Type::f32, FromInteger::i64, a);
  EXPECT_EQ(last(), "%5 = fromint.f32.from64 %0");
  b.set_state(-8, a, true);
  EXPECT_EQ(last(), "set_state.execution %0, -8");
  b.constant(std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(last(), "%7 = constant -0x8000000000000000");
}

// A mistake somewhere else must be visible, not left out.
TEST_F(PrintTest, WhatShouldNotBeThereIsPrintedToo) {
  b.fence();
  auto& i = code.instructions.back();
  i.type = Type::i8, i.condition = Condition::ge, i.flag = 7, i.reg = 9, i.imm = 5000;
  EXPECT_EQ(last(), "fence.i8.ge.flag7 r9, 0x1388");
}

// The table of forms has a row for each operation (else it does not compile), and the rows fit ops.inc.
TEST(Form, FitsTheTableOfOperations) {
  for (unsigned n = 0; n < unsigned(Op::count); n++) {
    const auto op = Op(n);
    SCOPED_TRACE(traits(op).name);
    EXPECT_NE(form(op).types, 0);
    if (traits(op).result == "t") EXPECT_FALSE(form(op).allows(Type::none));
    EXPECT_FALSE(form(op).reg && form(op).second_type);
  }
  EXPECT_EQ(form(Op::set).implied(), Type::i64);
  EXPECT_EQ(form(Op::add).implied(), Type::none);
}

}  // namespace
}  // namespace doppel::ir
