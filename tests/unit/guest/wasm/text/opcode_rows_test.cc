// Every row of opcodes.inc is read and printed: a row whose text nobody can write is an instruction that nobody has.
#include "guest/wasm/opcode.h"
#include "guest/wasm/text/encoder.h"
#include "guest/wasm/text/immediates.h"
#include "guest/wasm/text/print.h"
#include "unit/guest/wasm/text/assembled.h"

namespace doppel::wasm::text {
namespace {

/// Of one letter: how it is written, and its bytes.
struct Sample {
  char letter;
  std::string_view text, bytes;
};
constexpr Sample samples[] = {
    {'b', "(result i32)", "7f"},
    {'l', "0", "00"},
    {'t', "0 0 0", "02 00 00 00"},
    {'f', "1", "01"},
    {'y', "1", "01"},
    {'T', "1", "01"},
    {'e', "1", "01"},
    {'D', "1", "01"},
    {'L', "1", "01"},
    {'G', "1", "01"},
    {'g', "1", "01"},
    {'M', "1", "01"},
    {'i', "-129", "ff 7e"},
    {'I', "0x8000_0000_0000_0000", "80 80 80 80 80 80 80 80 80 7f"},
    {'s', "-0x1p-149", "01 00 00 80"},
    {'d', "nan:0x123", "23 01 00 00 00 00 f0 7f"},
    {'v', "i64x2 1 2", "01 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00"},
    {'n', "1", "01"},
    {'S', "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"},
    {'h', "func", "70"},
    {'w', "(result i64)", "01 7e"},
    {'c', "(catch 1 0) (catch_all 0)", "02 00 01 00 02 00"},
    {'F', "1", "01"},
    {'N', "300", "ac 02"},
};

/// What is written in another order or form than its letters.
struct Exception {
  std::string_view instruction, text, bytes;
};
constexpr Exception exceptions[] = {
    {"call_indirect", "1 (type 1)", "01 01"},
    {"return_call_indirect", "1 (type 1)", "01 01"},
    {"ref.test", "(ref func)", "70"},
    {"ref.cast", "(ref func)", "70"},
    {"br_on_cast", "0 anyref (ref i31)", "01 00 6e 6c"},
    {"br_on_cast_fail", "0 (ref any) i31ref", "02 00 6e 6c"},
};

struct Written {
  std::string text, bytes;
};

Written write(Opcode opcode) {
  const auto& r = row(opcode);
  Encoder code;
  encode_opcode(opcode, code);
  Written w{std::string(r.text), hex(code.bytes)};
  const auto add = [&](std::string_view text, std::string_view bytes) {
    w.text += fmt::format(" {}", text);
    w.bytes += fmt::format(" {}", bytes);
  };
  for (const auto& e : exceptions)
    if (e.instruction == r.text) return add(e.text, e.bytes), w;
  for (const char letter : r.immediates) {
    if (letter == 'm') {
      add(fmt::format("1 offset=300 align={}", 1 << natural_alignment(r.text)),
          fmt::format("{:02x} 01 ac 02", 0x40 | natural_alignment(r.text)));
      continue;
    }
    const auto* sample = std::ranges::find(samples, letter, &Sample::letter);
    if (sample == std::end(samples)) ADD_FAILURE() << "no sample of " << letter;
    add(sample->text, sample->bytes);
  }
  return w;
}

/// Two of everything that an index may name.
constexpr std::string_view surroundings =
    "(type (func)) (type (struct (field i32 i64))) (func) (table 1 funcref) (table 1 funcref) (memory 1) (memory 1) "
    "(tag) (tag) (global i32 (i32.const 0)) (global i32 (i32.const 0)) (elem func) (elem func) (data) (data) ";

bool is_block(Opcode opcode) {
  return opcode == Opcode::block || opcode == Opcode::loop || opcode == Opcode::if_ || opcode == Opcode::try_table;
}
/// Not instructions on their own, or with another row for the same text.
bool is_special(Opcode opcode) {
  return opcode == Opcode::else_ || opcode == Opcode::end || opcode == Opcode::ref_test_null ||
         opcode == Opcode::ref_cast_null;
}

TEST(OpcodeRows, EachIsAssembledFromItsImmediates) {
  unsigned tested = 0;
  for (std::size_t n = 0; n < opcode_count; n++) {
    const auto opcode = Opcode(n);
    if (is_special(opcode)) continue;
    const auto w = write(opcode);
    const auto end = is_block(opcode) ? std::pair(" end", " 0b") : std::pair("", "");
    EXPECT_EQ(body_of(w.text + end.first, surroundings), w.bytes + end.second + " 0b") << w.text;
    tested++;
  }
  EXPECT_EQ(tested, opcode_count - 4);
}

TEST(OpcodeRows, EachIsPrintedAndAssembledAgain) {
  for (std::size_t n = 0; n < opcode_count; n++) {
    const auto opcode = Opcode(n);
    if (is_special(opcode)) continue;
    const auto text = fmt::format("{} (func {}{})", surroundings, write(opcode).text, is_block(opcode) ? " end" : "");
    const auto bytes = std::make_shared<const std::vector<std::uint8_t>>(assembled(text).bytes);
    const auto module = parse_module(bytes);
    ASSERT_TRUE(std::holds_alternative<Module>(module)) << text;
    const auto printed = print(std::get<Module>(module));
    ASSERT_TRUE(std::holds_alternative<std::string>(printed)) << text << std::get<ModuleError>(printed).message;
    EXPECT_EQ(hex(assembled(std::get<std::string>(printed)).bytes), hex(*bytes)) << std::get<std::string>(printed);
  }
}

TEST(OpcodeRows, AlignmentIsThatOfTheAccess) {
  EXPECT_EQ(natural_alignment("i32.load8_s"), 0U);
  EXPECT_EQ(natural_alignment("i64.load32_u"), 2U);
  EXPECT_EQ(natural_alignment("f64.store"), 3U);
  EXPECT_EQ(natural_alignment("i64.store16"), 1U);
  EXPECT_EQ(natural_alignment("v128.load"), 4U);
  EXPECT_EQ(natural_alignment("v128.load16x4_s"), 3U);
  EXPECT_EQ(natural_alignment("v128.load16_splat"), 1U);
  EXPECT_EQ(natural_alignment("v128.store64_lane"), 3U);
}

}  // namespace
}  // namespace doppel::wasm::text
