// What frontends rely on: constants are folded as the operations compute, registers are read once, and what a value
// already is costs nothing.
#include "ir/builder.h"

#include <gtest/gtest.h>

#include "ir/fold.h"

namespace doppel::ir {
namespace {

class BuilderTest : public testing::Test {
 protected:
  Code code;
  Builder b{code};
  unsigned count(Op op) const {
    unsigned n = 0;
    for (const auto& i : code.instructions) n += i.op == op;
    return n;
  }
};

// A long immediate made of two instructions is one constant.
TEST_F(BuilderTest, FoldsConstants) {
  const auto upper = b.constant(0x12345000);
  const auto all = b.binary(Op::add, Type::i64, upper, b.constant(-0x678));
  ASSERT_TRUE(b.is_constant(all));
  EXPECT_EQ(b.constant_of(all), 0x12344988);
  EXPECT_EQ(count(Op::add), 0u);
}

TEST_F(BuilderTest, AddingNothingIsNothing) {
  const auto a = b.get(5);
  for (const auto op : {Op::add, Op::sub, Op::or_, Op::xor_, Op::shl, Op::shr, Op::sar})
    EXPECT_EQ(b.binary(op, Type::i64, a, b.constant(0)), a);
  // Of 32 bits the upper half is not the argument's.
  EXPECT_NE(b.binary(Op::add, Type::i32, a, b.constant(0)), a);
  EXPECT_NE(b.binary(Op::mul, Type::i64, a, b.constant(0)), a);
}

TEST_F(BuilderTest, ReadsARegisterOnceAndKnowsWhatWasSet) {
  const auto a = b.get(5);
  EXPECT_EQ(b.get(5), a);
  const auto sum = b.binary(Op::add, Type::i64, a, a);
  b.set(5, sum);
  EXPECT_EQ(b.get(5), sum);
  EXPECT_EQ(count(Op::get), 1u);
  b.interpret(0x13, false);  // may have changed any
  EXPECT_NE(b.get(5), sum);
}

TEST_F(BuilderTest, UnboxesWhatItBoxed) {
  const auto single = b.unary(Op::unbox, Type::f32, b.get(40, Type::f64));
  const auto boxed = b.unary(Op::box, Type::f32, single);
  EXPECT_EQ(b.unary(Op::unbox, Type::f32, boxed), single);
  b.set(41, boxed);
  EXPECT_EQ(code.instructions.back().op, Op::setf);
}

TEST(Fold, ComputesAsTheOperationsSay) {
  EXPECT_EQ(evaluate(Op::add, Type::i32, 0xffffffff, 1), 0u);
  EXPECT_EQ(evaluate(Op::sar, Type::i32, 0x80000000, 4), 0xf8000000u);
  EXPECT_EQ(evaluate(Op::shr, Type::i32, 0xff'80000000, 4), 0x08000000u);
  EXPECT_EQ(evaluate(Op::shl, Type::i64, 1, 65), 2u);  // by the amount's low bits
  EXPECT_EQ(evaluate(Op::andn, Type::i64, 0b1100, 0b1010), 0b0100u);
  EXPECT_FALSE(evaluate(Op::load, Type::i64, 0, 0));
  EXPECT_EQ(extend(Type::i8, true, 0x80), ~0ULL << 7);
  EXPECT_EQ(extend(Type::i32, false, ~0ULL), 0xffffffffu);
}

// The table's columns decide what generators may drop or move.
TEST(Traits, SayWhatMayHappen) {
  EXPECT_TRUE(traits(Op::add).pure);
  EXPECT_FALSE(traits(Op::fadd).pure) << "its exceptions gather";
  EXPECT_FALSE(traits(Op::fcompare).pure);
  EXPECT_TRUE(traits(Op::load).memory);
  EXPECT_TRUE(traits(Op::jump).last && traits(Op::jump).leaves);
  EXPECT_EQ(traits(Op::and_).name, "and");
}

}  // namespace
}  // namespace doppel::ir
