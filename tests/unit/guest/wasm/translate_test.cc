// Functions in the IR: what they become, as text, and that the verifier finds nothing wrong.
#include "guest/wasm/translate.h"

#include "ir/function_print.h"
#include "ir/function_verify.h"
#include "unit/guest/wasm/wat_program.h"

namespace doppel::wasm::bench {
namespace {

ir::Function translated(std::string_view text, std::uint32_t function = 0) {
  ir::Function f;
  const auto module = module_of(text);
  const auto wrong = translate(*module, module->imported_functions + function, f);
  EXPECT_FALSE(wrong) << wrong->message;
  const auto verified = ir::verify(f);
  EXPECT_TRUE(verified.ok()) << verified.message() << "\n" << print(f);
  return f;
}

TEST(Translate, KeepsLocalsAsVariables) {
  EXPECT_EQ(print(translated("(func (param i32 i32) (result i32)"
                             "  (local.set 0 (i32.add (local.get 0) (i32.const 5))) (local.get 0))")),
            "  %0 = get_variable.i32 0\n"
            "  %1 = constant.i32 5\n"
            "  %2 = add.i32 %0 %1\n"
            "  set_variable.i32 %2 0\n"
            "  %4 = get_variable.i32 0\n"
            "  return (%4)\n");
}

TEST(Translate, MakesWhatMeetsAParameter) {
  EXPECT_EQ(print(translated("(func (param i32) (result i64)"
                             "  (if (result i64) (local.get 0) (then (i64.const 1)) (else (i64.const 2))))")),
            "  %0 = get_variable.i32 0\n"
            "  jump_if.not %0 block 1\n"
            "  %2 = constant.i64 1\n"
            "  jump block 2 (%2)\n"
            "block 1\n"
            "  %5 = constant.i64 2\n"
            "  jump block 2 (%5)\n"
            "block 2\n"
            "  %8 = parameter.i64 0\n"
            "  return (%8)\n");
}

TEST(Translate, GivesLoopsTheirParameters) {
  EXPECT_EQ(
      print(translated("(func (result i32) (i32.const 3)"
                       "  (loop (param i32) (result i32) (drop) (br_if 0 (i32.const 4) (i32.eqz (i32.const 0)))))")),
      "  %0 = constant.i32 3\n"
      "  jump block 1 (%0)\n"
      "block 1\n"
      "  %3 = parameter.i32 0\n"
      "  %4 = constant.i32 4\n"
      "  %5 = constant.i32 0\n"
      "  %6 = is_zero.i32 %5\n"
      "  jump_if %6 block 1 (%4)\n"
      "  return (%4)\n");
}

// A block that nothing branches to is none: what falls out of it goes on as it is.
TEST(Translate, MakesNoBlockWhereNothingBranches) {
  EXPECT_EQ(print(translated("(func (result i32) (block (result i32) (i32.const 1)))")),
            "  %0 = constant.i32 1\n"
            "  return (%0)\n");
}

TEST(Translate, TellsNothingOfCodeThatIsNotReached) {
  EXPECT_EQ(print(translated("(func (result i32) (return (i32.const 1)) (drop (i32.add)) (unreachable))")),
            "  %0 = constant.i32 1\n"
            "  return (%0)\n");
}

TEST(Translate, NamesMemoriesTablesAndRoutines) {
  EXPECT_EQ(print(translated("(memory 1) (memory 1) (table 1 funcref) (type $t (func (param i32)))"
                             "(func (param i32)"
                             "  (i32.store16 1 offset=4 (local.get 0) (i32.load8_s (local.get 0)))"
                             "  (memory.fill (local.get 0) (local.get 0) (local.get 0))"
                             "  (call_indirect (type $t) (local.get 0) (local.get 0)))")),
            [] {
              // The type's number is the process's.
              const auto module = module_of("(type $t (func (param i32)))");
              return "  %0 = get_variable.i32 0\n"
                     "  %1 = get_variable.i32 0\n"
                     "  %2 = load.i32.i8.signed %1\n"
                     "  store.i32.i16 %0 %2 + 4 memory 1\n"
                     "  %4 = get_variable.i32 0\n"
                     "  %5 = get_variable.i32 0\n"
                     "  %6 = get_variable.i32 0\n"
                     "  runtime.memory_fill 0 0 (%4, %5, %6)\n"
                     "  %8 = get_variable.i32 0\n"
                     "  %9 = get_variable.i32 0\n"
                     "  call_indirect %9 table 0 type " +
                     std::to_string(module->types[0]) +
                     " (%8)\n"
                     "  return\n";
            }());
}

// Values that are alive together have words of their own, in the order of the guest's stack: a v128 has two.
TEST(Translate, CountsWordsOfOperands) {
  const auto f = translated(
      "(func (param v128 i32) (result i32)"
      "  (local.get 1) (local.get 0) (i32x4.extract_lane 1 (local.get 0))"
      "  (drop) (drop))");
  EXPECT_EQ(f.variable_at, (std::vector<std::uint32_t>{0, 2, 3}));
  EXPECT_EQ(f.code[1].slot, 1U);
  EXPECT_EQ(f.code[2].slot, 3U);
  EXPECT_EQ(f.operand_words, 5U);
}

TEST(Translate, SaysWhereTheGuestIs) {
  const auto module = module_of("(func (result i32) (i32.div_u (i32.const 1) (i32.const 0)))");
  ir::Function f;
  ASSERT_FALSE(translate(*module, 0, f));
  const auto begin = module->functions[0].body.begin;
  EXPECT_EQ(f.code[2].op, ir::FunctionOp::div_u);
  EXPECT_EQ(f.code[2].pc, begin + 5);
}

TEST(Translate, RefusesWhatIsNotValid) {
  const auto module = module_of("(func (result i32) (i64.const 1))");
  ir::Function f;
  EXPECT_TRUE(translate(*module, 0, f));
}

}  // namespace
}  // namespace doppel::wasm::bench
