// A mistake of a frontend or a pass must be found where it is made, not in the guest that crashes on it.
#include "ir/verify.h"

#include <gtest/gtest.h>

#include "ir/parse.h"

namespace doppel::ir {
namespace {

constexpr std::string_view before =
    "code 0x100 to 0x10c, 3 guest instructions\n"
    "at 0x100, 4 bytes, 2 left\n"
    "%0 = get.i64 r10\n"
    "%1 = get.f64 r40\n"
    "%2 = unbox %1\n"
    "at 0x104, 4 bytes, 1 left\n";
constexpr std::string_view behind = "\nat 0x10c, 0 bytes, 0 left\njump 0x10c\n";

/// What verify() says of this between some values and a jump; empty: nothing.
std::string verdict(std::string_view middle, std::string_view end = behind) {
  const auto code = parse(fmt::format("{}{}{}", before, middle, end));
  EXPECT_TRUE(code.ok()) << code.message();
  const auto sound = verify(*code);
  return sound ? "" : sound.failure().message;
}

TEST(Verify, TakesWhatIsSound) {
  EXPECT_EQ(verdict("%3 = add.i32 %0, %0\n%4 = sext.i32 %3\nset r10, %4"), "");
  EXPECT_EQ(verdict("storef.f32 %0, %1, 8\nstoref.f32 %0, %2, 12"), "");
  EXPECT_EQ(verdict("%3 = toint.i32.f64.to_zero %1\n%4 = fcvt.f64 %2\nsetf r40, %4"), "");
  EXPECT_EQ(verdict("%3 = constant 5\ninterpret 0x73\nset r10, %3"), "");
  EXPECT_EQ(verdict("", "interpret.ends 0x73"), "");
}

TEST(Verify, Types) {
  EXPECT_EQ(verdict("%3 = add.i16 %0, %0"), "operation 3 (add): it does not come in this type");
  EXPECT_EQ(verdict("%3 = mulhu.i32 %0, %0"), "operation 3 (mulhu): it does not come in this type");
  EXPECT_EQ(verdict("%3 = add.i64 %0, %1"), "operation 3 (add): %1 is of type f64, and cannot be its argument 2");
  EXPECT_EQ(verdict("%3 = fadd.f64 %1, %2"), "operation 3 (fadd): %2 is of type f32, and cannot be its argument 2");
  EXPECT_EQ(verdict("setf r40, %2"), "operation 3 (setf): %2 is of type f32, and cannot be its argument 1");
  EXPECT_EQ(verdict("%3 = fcvt.f64 %1"), "operation 3 (fcvt): %1 is of type f64, and cannot be its argument 1");
  EXPECT_EQ(verdict("storef.f64 %0, %2, 0"), "operation 3 (storef): %2 is of type f32, and cannot be its argument 2");
  EXPECT_EQ(verdict("set r40, %0"), "operation 3 (set): r40 is of type f64");
  EXPECT_EQ(verdict("%3 = get.i64 r40"), "operation 3 (get): r40 is of type f64");
}

TEST(Verify, Fields) {
  EXPECT_EQ(verdict("%3 = add.i64.lt %0, %0"), "operation 3 (add): it has no condition");
  EXPECT_EQ(verdict("%3 = add.i64 %0, %0, 5"), "operation 3 (add): it has no number");
  EXPECT_EQ(verdict("%3 = add.i64 r5, %0, %0"), "operation 3 (add): it has no register");
  EXPECT_EQ(verdict("%3 = atomic.i64.flag9 %0, %0"), "operation 3 (atomic): it has no flag 9");
  EXPECT_EQ(verdict("%3 = get.i64 r96"), "operation 3 (get): there is no register 96");
  EXPECT_EQ(verdict("%3 = load.i8 %0, 0x80000000"), "operation 3 (load): 2147483648 is out of range");
}

TEST(Verify, Values) {
  auto code = parse(fmt::format("{}set r10, %0{}", before, behind));
  code->instructions[3].a = 3;
  EXPECT_EQ(verify(*code).failure().message, "operation 3 (set): its argument 1 is not given before it");
  code->instructions[3].a = 0, code->instructions[3].b = 1;
  EXPECT_EQ(verify(*code).failure().message, "operation 3 (set): it has 1 arguments, not 2");
  code->instructions[3].b = no_value, code->instructions[4].a = 3;
  EXPECT_EQ(verify(*code).failure().message, "operation 4 (jump): it has 0 arguments, not 1");
  // The interpreter may change every register, and so every place that a value is in.
  EXPECT_EQ(verdict("interpret 0x73\nset r10, %0"), "operation 4 (set): %0 is lost, because the interpreter ran since");
}

TEST(Verify, PlacesAndEnds) {
  EXPECT_EQ(verdict("%3 = constant 1\nat 0x102, 2 bytes, 1 left\n%4 = constant 1"),
            "operation 4 (constant): its guest instruction is not the one before or a later one");
  EXPECT_EQ(verdict("at 0x10e, 2 bytes, 1 left\n%3 = constant 1"), "operation 3 (constant): 0x10e is not in the block");
  EXPECT_EQ(verdict("at 0x108, 2 bytes, 3 left\n%3 = constant 1"),
            "operation 3 (constant): 3 of 3 guest instructions cannot be left");
  EXPECT_EQ(verdict("jump 0x100"), "operation 3 (jump): what follows is never reached");
  EXPECT_EQ(verdict("interpret.ends 0x73"), "operation 3 (interpret): what follows is never reached");
  EXPECT_EQ(verdict("", ""), "operation 2 (unbox): the last operation does not leave");
  EXPECT_EQ(verify(Code()).failure().message, "there is no operation");
}

TEST(VerifyDeathTest, EndsTheProcessWithTheCode) {
  auto code = *parse(fmt::format("{}{}", before, behind));
  code.instructions.pop_back();
  EXPECT_DEATH(expect_sound(code, "a test"),
               "a test made IR that is not sound: operation 2 .unbox.: the last operation(.|\n)*%2 = unbox %1");
}

}  // namespace
}  // namespace doppel::ir
