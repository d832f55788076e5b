// Text is how IR is looked at and how passes are tested: what is printed reads back as it was, and a mistake in a text
// is told with its line.
#include "ir/parse.h"

#include <gtest/gtest.h>

#include <random>

#include "ir/builder.h"
#include "ir/form.h"
#include "ir/print.h"
#include "ir/verify.h"

namespace doppel::ir {
namespace {

/// Any operation, with any content of the fields that it has, whether that makes sense or not.
Instruction random_instruction(std::mt19937_64& random, Value place) {
  const auto below = [&](unsigned n) { return unsigned(random() % n); };
  Instruction i{.op = Op(below(unsigned(Op::count))), .type = Type(below(type_count)), .imm = 0};
  const auto& f = form(i.op);
  if (f.condition) i.condition = Condition(below(condition_count));
  if (f.reg || f.second_type) i.reg = std::uint8_t(below(f.reg ? 96 : type_count));
  if (f.imm) i.imm = std::int64_t(random() >> below(64)) * (below(2) ? 1 : -1);
  i.flag = std::uint8_t(below(3) ? below(2) : below(256));
  Value* const arguments[] = {&i.a, &i.b, &i.c};
  for (std::size_t n = 0; n < traits(i.op).arguments.size(); n++) *arguments[n] = below(place);
  return i;
}

Code random_code(unsigned seed) {
  std::mt19937_64 random(seed);
  Code code{.instructions = {},
            .begin = std::uint16_t(random() % 4000),
            .end = std::uint16_t(random() % 4096),
            .guest_count = 9};
  // The first one gives a value that others may use.
  code.instructions.push_back({.op = Op::constant, .type = Type::i64, .imm = std::int64_t(random())});
  std::vector<Value> values = {0};
  while (code.instructions.size() < 60) {
    auto i = random_instruction(random, Value(values.size()));
    for (auto* argument : {&i.a, &i.b, &i.c})
      if (*argument != no_value) *argument = values[*argument];
    const auto group = std::uint16_t(code.instructions.size() / 3);
    i.offset = std::uint16_t(code.begin + 4 * group), i.length = std::uint8_t(group % 3 * 2), i.left = group;
    if (traits(i.op).result != "-") values.push_back(Value(code.instructions.size()));
    code.instructions.push_back(i);
  }
  return code;
}

TEST(Parse, ReadsWhatIsPrinted) {
  for (unsigned seed = 0; seed < 2000; seed++) {
    const auto code = random_code(seed);
    const auto text = print(code);
    const auto again = parse(text);
    ASSERT_TRUE(again.ok()) << again.message() << '\n' << text;
    ASSERT_EQ(print(*again), text);
    ASSERT_EQ(*again, code) << text;
  }
}

constexpr std::string_view header = "code 0x100 to 0x108, 2 guest instructions\nat 0x100, 4 bytes, 1 left\n";

TEST(Parse, NamesMayHaveGapsAndCommentsAreLeftOut) {
  const auto code = parse(std::string(header) +
                          "; of a4, say\n"
                          "\t%70 = get.i64 r14   ; comment\r\n"
                          "\n"
                          "  %9 = add.i64 %70 , %70\n"
                          "set r15, %9");
  ASSERT_TRUE(code.ok()) << code.message();
  ASSERT_EQ(code->instructions.size(), 3u);
  EXPECT_EQ(code->instructions[1].a, 0u);
  EXPECT_EQ(code->instructions[2].a, 1u);
  EXPECT_EQ(code->instructions[2].type, Type::i64) << "the only type that set has";
  EXPECT_EQ(code->instructions[2].offset, 0x100);
}

TEST(Parse, SaysWhatIsWrongAndWhere) {
  const auto expect = [](std::string_view text, std::string_view sentence) {
    const auto code = parse(text);
    ASSERT_FALSE(code.ok()) << text;
    EXPECT_EQ(code.message(), sentence) << text;
  };
  const auto line = [&](std::string_view text, std::string_view sentence) {
    expect(std::string(header) + "%1 = constant 1\n" + std::string(text), fmt::format("line 4: {}", sentence));
  };
  expect("", "line 1: there is no line 'code FIRST to END, N guest instructions'");
  expect("\n%1 = constant 1", "line 2: the first line must be 'code FIRST to END, N guest instructions'");
  expect("code 0x100 to 70000, 1 guest instructions",
         "line 1: the number that '70000, 1 guest instructions' begins with is out of range");
  expect("code 1 to 2, 1 guest instructions\n%1 = constant 1",
         "line 2: a line 'at OFFSET, N bytes, N left' must come before the first operation");
  line("code 1 to 2, 1 guest instructions", "there is a second line 'code'");
  line("at 5, 300 bytes, 0 left", "the number that '300 bytes, 0 left' begins with is out of range");
  line("at 5, 3 bytes, 0", "'left' is missing before ''");
  line("%1 = constant 2", "%1 is given a second time");
  line("%2 = constant 0x10000000000000000", "the number that '0x10000000000000000' begins with is out of range");
  line("%2 = constant x", "a number is missing before 'x'");
  line("%2 = constant", "constant needs a number last");
  line("%2 = madd %1, %1", "'madd' is no operation");
  line("%2 = store.i8 %1, %1, 0", "store gives no value");
  line("%2 = add.i64 %1", "add needs 2 values, as in %3");
  line("%2 = add.i64 %1, %1, %1", "a number is missing before '%1'");
  line("%2 = add.i64 %1, %3", "%3 is used, and no line before gives it");
  line("%2 = add.i64.i32 %1, %1", "add has no 'i32', or had one");
  line("%2 = compare %1, %1", "compare needs a condition");
  line("%2 = atomic.i64 %1, %1", "atomic needs a flag");
  line("%2 = load.i64.unsigned %1, 0", "load has no 'unsigned', or had one");
  line("set %1", "set needs a register first, as in r10");
  line("set r300, %1", "the number that '300, %1' begins with is out of range");
  line("jump 0x10 0x20", "'0x20' is too much");
}

}  // namespace
}  // namespace doppel::ir
