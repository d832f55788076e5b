// What the verifier of functions refuses.
#include "ir/function.h"

#include <gtest/gtest.h>

#include "ir/function_print.h"
#include "ir/function_verify.h"

namespace doppel::ir {
namespace {

/// Adds one to its argument.
Function increment() {
  Function f;
  f.parameters = f.results = f.variables = {Type::i32};
  f.variable_at = {0, 1};
  f.code = {{.op = FunctionOp::get_variable, .type = Type::i32, .slot = 0},
            {.op = FunctionOp::constant, .type = Type::i32, .slot = 1, .imm = 1},
            {.op = FunctionOp::add, .type = Type::i32, .slot = 0, .a = 0, .b = 1},
            {.op = FunctionOp::return_, .a = 0, .b = 1}};
  f.arguments = {2};
  f.operand_words = 2;
  return f;
}

TEST(FunctionIr, IsTakenAsItIs) {
  EXPECT_TRUE(verify(increment()).ok());
  EXPECT_EQ(print(increment(), 2), "%2 = add.i32 %0 %1");
}

TEST(FunctionIr, RefusesValuesThatComeLater) {
  auto f = increment();
  f.code[2].b = 2;
  EXPECT_FALSE(verify(f).ok());
}

TEST(FunctionIr, RefusesOtherTypes) {
  auto f = increment();
  f.code[1].type = Type::i64;
  EXPECT_FALSE(verify(f).ok());
}

TEST(FunctionIr, RefusesWordsBehindTheFrame) {
  auto f = increment();
  f.operand_words = 1;
  EXPECT_FALSE(verify(f).ok());
}

TEST(FunctionIr, RefusesCodeWithoutAnEnd) {
  auto f = increment();
  f.code.pop_back();
  EXPECT_FALSE(verify(f).ok());
}

TEST(FunctionIr, RefusesJumpsThatPassSomethingElse) {
  auto f = increment();
  f.blocks = {{.begin = 4, .height = 0, .parameters = 1}};
  f.code[3] = {.op = FunctionOp::jump, .a = 0, .b = 1, .imm = 0};
  f.code.push_back({.op = FunctionOp::block, .imm = 0});
  f.code.push_back({.op = FunctionOp::parameter, .type = Type::i32});
  f.arguments.push_back(5);
  f.code.push_back({.op = FunctionOp::return_, .a = 1, .b = 1});
  EXPECT_TRUE(verify(f).ok()) << verify(f).message();
  f.code[5].type = Type::f32;
  EXPECT_FALSE(verify(f).ok());
  f.code[5].type = Type::i32;
  f.blocks[0].parameters = 0;
  EXPECT_FALSE(verify(f).ok());
}

}  // namespace
}  // namespace doppel::ir
