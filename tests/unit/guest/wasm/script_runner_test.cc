// The runner of the specification's tests: one that took everything for right would make all of them worthless.
#include "guest/wasm/script_runner.h"

#include <gtest/gtest.h>

namespace doppel::wasm {
namespace {

ScriptReport run(std::string_view text) {
  const auto parsed = text::parse_script(text);
  const auto* wrong = std::get_if<text::TextError>(&parsed);
  EXPECT_FALSE(wrong) << (wrong ? wrong->message : "");
  InterpretingRunner runner(3, true);
  return wrong ? ScriptReport{} : run_script(std::get<0>(parsed), runner);
}

constexpr std::string_view program = R"((module
  (func (export "seven") (result i32) (i32.const 7))
  (func (export "nan") (param f32) (result f32) (f32.div (local.get 0) (local.get 0)))
  (func (export "trap") (unreachable)) (global (export "g") i64 (i64.const 5))))";

TEST(ScriptRunner, CountsWhatHolds) {
  const auto report = run(std::string(program) + R"(
    (assert_return (invoke "seven") (i32.const 7))
    (assert_return (invoke "seven") (either (i32.const 1) (i32.const 7)))
    (assert_return (invoke "nan" (f32.const 0)) (f32.const nan:canonical))
    (assert_return (get "g") (i64.const 5))
    (assert_trap (invoke "trap") "unreachable")
    (assert_invalid (module (func (result i32))) "type mismatch")
    (assert_malformed (module quote "(func") "unexpected token")
    (assert_unlinkable (module (import "a" "b" (func))) "unknown import")
    (assert_trap (module (memory 1) (data (i32.const 65536) "x")) "out of bounds memory access"))");
  for (const auto& failure : report.failures) ADD_FAILURE() << failure.line << ": " << failure.message;
  EXPECT_EQ(report.passed, 10U);
}

TEST(ScriptRunner, TellsEachThatDoesNotHold) {
  for (const auto* assertion :
       {R"((assert_return (invoke "seven") (i32.const 8)))", R"((assert_return (invoke "seven")))",
        R"((assert_return (invoke "nan" (f32.const 1)) (f32.const nan:arithmetic)))",
        R"((assert_return (invoke "trap")))", R"((assert_return (get "seven") (i32.const 7)))",
        R"((assert_return (invoke "none")))", R"((assert_trap (invoke "trap") "integer overflow"))",
        R"((assert_trap (invoke "seven") "unreachable"))",
        R"((assert_exhaustion (invoke "trap") "call stack exhausted"))", R"((assert_invalid (module) "type mismatch"))",
        R"((assert_invalid (module (func (result i32))) "unknown type"))",
        R"((assert_malformed (module (func (result i32))) "type mismatch"))",
        R"((assert_unlinkable (module) "unknown import"))", R"((invoke "trap"))", R"((module (func (result i32))))"}) {
    const auto report = run(std::string(program) + "\n\n\n" + assertion);
    EXPECT_EQ(report.passed, 1U) << assertion;
    ASSERT_EQ(report.failures.size(), 1U) << assertion;
    EXPECT_EQ(report.failures[0].line, 7U);
  }
}

}  // namespace
}  // namespace doppel::wasm
