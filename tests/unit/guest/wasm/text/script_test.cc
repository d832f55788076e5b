// Scripts: what the specification's tests ask for must arrive as they mean it, or they would test something else.
#include "guest/wasm/text/script.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "unit/guest/wasm/text/assembled.h"

namespace doppel::wasm::text {
namespace {

using Kind = Command::Kind;
using Nan = ScriptValue::Nan;
using Pattern = ScriptValue::ReferencePattern;

std::vector<Command> script(std::string_view text) {
  auto parsed = parse_script(text);
  if (const auto* error = std::get_if<TextError>(&parsed)) {
    ADD_FAILURE() << error->line << ":" << error->column << ": " << error->message;
    return {};
  }
  return std::get<0>(std::move(parsed));
}

std::vector<ScriptValue> results(std::string_view values) {
  auto commands = script(fmt::format("(assert_return (invoke \"f\") {})", values));
  return commands.empty() ? std::vector<ScriptValue>() : std::move(commands[0].results);
}

TEST(Script, ModulesOfAllForms) {
  const auto commands = script(
      "(module $a (func)) (module definition $b (func)) (module binary \"\\00asm\" \"\\01\\00\\00\\00\") (module quote "
      "\"(func\" \")\")"
      "(module instance $i $b) (module definition binary \"x\") (module quote \"(fun)\") (register \"n\" $a) (register "
      "\"m\")");
  ASSERT_EQ(commands.size(), 9U);
  EXPECT_EQ(commands[0].module->id, "$a");
  EXPECT_FALSE(commands[0].module->definition);
  EXPECT_TRUE(commands[1].module->definition);
  EXPECT_EQ(std::get<AssembledModule>(commands[2].module->module).bytes.size(), 8U);
  EXPECT_TRUE(commands[3].module->quoted);
  EXPECT_TRUE(std::holds_alternative<AssembledModule>(commands[3].module->module));
  EXPECT_EQ(commands[4].kind, Kind::instance);
  EXPECT_EQ(commands[4].instance.id, "$i");
  EXPECT_EQ(commands[4].instance.of, "$b");
  EXPECT_TRUE(commands[5].module->definition);
  EXPECT_TRUE(std::holds_alternative<TextError>(commands[6].module->module));
  EXPECT_EQ(commands[7].as + commands[7].id, "n$a");
  EXPECT_EQ(commands[8].as + commands[8].id, "m");
}

TEST(Script, FieldsAloneAreAModule) {
  const auto commands = script("(func) (memory 0)\n(func (export \"f\"))\n(invoke \"f\")");
  ASSERT_EQ(commands.size(), 2U);
  EXPECT_EQ(commands[0].kind, Kind::module);
  EXPECT_EQ(commands[1].kind, Kind::action);
  EXPECT_EQ(commands[1].line, 3U);
}

TEST(Script, AssertionsHaveTheirParts) {
  const auto commands = script(
      "(assert_return (invoke $m \"f\" (i32.const -1) (v128.const i16x8 0 1 2 3 4 5 6 7)) (i64.const 2))\n"
      "(assert_return (get \"g\"))\n"
      "(assert_trap (invoke \"f\") \"unreachable\") (assert_trap (module (func)) \"t\") (assert_exhaustion (invoke "
      "\"f\") \"e\")"
      "(assert_exception (invoke \"f\")) (assert_malformed (module quote \"(\") \"m\") (assert_invalid (module) \"i\")"
      "(assert_unlinkable (module) \"u\") (assert_malformed_custom (module quote \"\") \"c\") (assert_invalid_custom "
      "(module) \"d\")");
  ASSERT_EQ(commands.size(), 11U);
  const auto& action = *commands[0].action;
  EXPECT_EQ(action.module + action.name, "$mf");
  ASSERT_EQ(action.arguments.size(), 2U);
  EXPECT_EQ(action.arguments[0].cell, Cell::of_i32(~0U));
  EXPECT_EQ(action.arguments[1].cell.low, 0x0003'0002'0001'0000U);
  EXPECT_EQ(action.arguments[1].cell.high, 0x0007'0006'0005'0004U);
  EXPECT_EQ(commands[0].results[0].cell, Cell::of_i64(2));
  EXPECT_EQ(commands[1].action->kind, Action::Kind::get);
  EXPECT_EQ(commands[1].line, 2U);
  EXPECT_TRUE(commands[3].module && !commands[3].action);
  const Kind kinds[] = {
      Kind::assert_trap,          Kind::assert_trap,    Kind::assert_exhaustion, Kind::assert_exception,
      Kind::assert_malformed,     Kind::assert_invalid, Kind::assert_unlinkable, Kind::assert_malformed_custom,
      Kind::assert_invalid_custom};
  std::string messages;
  for (unsigned n = 2; n < commands.size(); n++) {
    EXPECT_EQ(commands[n].kind, kinds[n - 2]);
    messages += commands[n].message + " ";
  }
  EXPECT_EQ(messages, "unreachable t e  m i u c d ");
}

TEST(Script, NansAreExpectedByKind) {
  const auto values =
      results("(f32.const nan:canonical) (f64.const nan:0x1) (v128.const f32x4 1 nan:arithmetic -0 nan:canonical)");
  ASSERT_EQ(values.size(), 3U);
  EXPECT_EQ(values[0].lanes, std::vector{Nan::canonical});
  EXPECT_EQ(values[1].lanes, std::vector{Nan::none});
  EXPECT_EQ(values[1].cell.low, 0x7ff0'0000'0000'0001U);
  EXPECT_EQ(values[2].lanes, (std::vector{Nan::none, Nan::arithmetic, Nan::none, Nan::canonical}));
  EXPECT_EQ(values[2].lane_bytes, 4U);
  EXPECT_EQ(values[2].cell.low, 0x3f80'0000U);
  EXPECT_EQ(values[2].cell.high, 0x8000'0000U);
  EXPECT_TRUE(std::holds_alternative<TextError>(parse_script("(invoke \"f\" (f32.const nan:canonical))")));
}

TEST(Script, ReferencesAreExactOrAnyOfAKind) {
  const auto values = results(
      "(ref.null) (ref.null func) (ref.extern 7) (ref.extern) (ref.func) (ref.host 3) (ref.struct)"
      "(either (i32.const 1) (f32.const nan:canonical))");
  ASSERT_EQ(values.size(), 8U);
  EXPECT_EQ(values[0].pattern, Pattern::any_null);
  EXPECT_EQ(values[1].pattern, Pattern::exact);
  EXPECT_EQ(values[1].type, funcref);
  EXPECT_TRUE(values[1].cell.reference().is_null());
  EXPECT_EQ(values[2].cell.reference(), Reference::host(7));
  EXPECT_EQ(values[3].pattern, Pattern::any_extern);
  EXPECT_EQ(values[4].pattern, Pattern::any_function);
  EXPECT_EQ(values[5].cell.reference(), Reference::host(3));
  EXPECT_EQ(values[6].pattern, Pattern::any_other);
  EXPECT_EQ(values[6].other, "ref.struct");
  ASSERT_EQ(values[7].either.size(), 2U);
  EXPECT_EQ(values[7].either[0].cell, Cell::of_i32(1));
}

TEST(Script, ErrorsOfTheScriptItself) {
  for (const char* text :
       {"(assert_return)", "(module", "(frobnicate)", "(invoke f)", "x", "(assert_trap (invoke \"f\"))",
        "(module) \x01", "(assert_return (invoke \"f\") (i32.const))"})
    EXPECT_TRUE(std::holds_alternative<TextError>(parse_script(text))) << text;
}

/// Whether the text is refused as the command wants, as far as the text decides that.
void check_module(const Command& command, const std::string& where) {
  const auto* error = std::get_if<TextError>(&command.module->module);
  const bool malformed = command.kind == Kind::assert_malformed || command.kind == Kind::assert_malformed_custom ||
                         command.kind == Kind::assert_invalid_custom;
  if (!malformed) EXPECT_EQ(error, nullptr) << where << ": " << error->message;
  if (malformed && (command.module->quoted || command.kind == Kind::assert_invalid_custom)) {
    ASSERT_NE(error, nullptr) << where << ": " << command.message;
    EXPECT_TRUE(error->message.starts_with(command.message))
        << where << ": " << error->message << ", not " << command.message;
  }
}

TEST(Script, TheSpecificationsOwnTests) {
  const char* folder = std::getenv("DOPPEL_WASM_TESTSUITE");
  if (folder == nullptr) GTEST_SKIP() << "DOPPEL_WASM_TESTSUITE is not the folder of the specification's tests";
  unsigned files = 0;
  for (const char* part : {"", "custom", "proposals/custom-page-sizes"}) {
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(folder) / part)) {
      if (entry.path().extension() != ".wast") continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      SCOPED_TRACE(entry.path());
      for (const auto& command : script(text))
        if (command.module) check_module(command, fmt::format("line {}", command.line));
      files++;
    }
  }
  EXPECT_GT(files, 200U);
}

}  // namespace
}  // namespace doppel::wasm::text
