// A printed module is the module: what a reader sees is what runs.
#include "guest/wasm/text/print.h"

#include "unit/guest/wasm/text/assembled.h"

namespace doppel::wasm::text {
namespace {

std::string printed(const std::vector<std::uint8_t>& bytes) {
  const auto module = parse_module(std::make_shared<const std::vector<std::uint8_t>>(bytes));
  if (const auto* error = std::get_if<ModuleError>(&module)) return "parse: " + error->message;
  const auto text = print(std::get<Module>(module));
  if (const auto* error = std::get_if<ModuleError>(&text)) return "print: " + error->message;
  return std::get<std::string>(text);
}

TEST(Print, InstructionsOneALine) {
  EXPECT_EQ(
      printed(assembled("(module $m (func $f (export \"f\") (param $x i32) (result i32) (local i64)"
                        "  (if $l (result i32) (local.get $x) (then (br $l (i32.const 1))) (else (i32.const -1)))))")
                  .bytes),
      "(module $m\n"
      "  (type (;0;) (func (param i32) (result i32)))\n"
      "  (export \"f\" (func $f))\n"
      "  (func $f (type 0) (param $x i32) (result i32)\n"
      "    (local i64)\n"
      "    local.get $x\n"
      "    if $l (result i32)\n"
      "      i32.const 1\n"
      "      br $l\n"
      "    else\n"
      "      i32.const -1\n"
      "    end)\n"
      ")\n");
}

void expect_same(std::string_view text) {
  const auto bytes = assembled(text).bytes;
  EXPECT_EQ(hex(assembled(printed(bytes)).bytes), hex(bytes)) << printed(bytes);
}

TEST(Print, EveryKindOfFieldComesBack) {
  expect_same(
      "(rec (type $a (sub (struct (field $x (mut i8)) (field (ref null $b))))) (type $b (sub final $a (struct (field "
      "i16 i32)))))"
      "(type $c (array f32)) (type (sub (func (param anyref) (result (ref $c)))))");
  expect_same(
      "(import \"a\" \"\\00b\" (func $f (param i32))) (import \"\" \"\" (table $t i64 1 2 (ref null func)))"
      "(import \"\" \"g\" (global (mut v128))) (import \"\" \"e\" (tag $e (param i32))) (import \"\" \"\" (memory 1 "
      "(pagesize 1)))"
      "(table 3 (ref func) (ref.func $f)) (memory i64 1 2) (global $g f32 (f32.const nan:0x1)) (tag) (start $h) (func "
      "$h)"
      "(export \"x\" (memory 0)) (export \"y\" (tag $e)) (export \"z\" (global $g)) (export \"w\" (table 1))");
  expect_same(
      "(table 1 funcref) (table 1 externref) (memory 1) (memory 1) (func $f)"
      "(elem (i32.const 0) $f $f) (elem $p func $f) (elem (table 1) (i32.const 1) externref (ref.null extern)) (elem "
      "declare func $f)"
      "(elem (i32.const 0) funcref (ref.func $f) (ref.null func)) (elem (ref func) (ref.func $f)) (elem declare anyref)"
      "(data (i32.const 1) \"a\\00\\ff\\\"\") (data $d) (data (memory 1) (i32.const 0) \"b\") (func memory.init 1 $d "
      "(elem.drop $p))");
}

TEST(Print, NamesThatAreNoIdentifiersAreKept) {
  expect_same(
      "(module $\" m\" (func $f (@name \"same\")) (func (@name \"same\")) (func (@name \"\")) (func $\"a b\") (func "
      "$\"\\ce\\bb\")"
      "  (func (param (@name \"p\") i32) (param $p i32) (local (@name \"p\") i32) (local i32) local.get $p))");
  // A label that is hidden by another is meant by its number.
  expect_same("(func block $l block $l br $l br 1 br 2 end end)");
}

TEST(Print, CustomSectionsAndHintsStay) {
  expect_same(
      "(@custom \"a\" (before first) \"1\") (func $f) (@custom \"b\" (after type)) (@custom \"b\" (after type) \"2\") "
      "(@custom \"c\" \"\\00\")");
  expect_same(
      "(func (local f64) (@metadata.code.branch_hint \"\\01\") (br_if 0 (i32.const 1)) (@metadata.code.branch_hint "
      "\"\\00\") (if (i32.const 0) (then)))");
  // A section of that name that tells of no branch.
  expect_same("(@custom \"metadata.code.branch_hint\" (before code) \"\\01\\00\\01\\01\\01\\01\") (func nop)");
  expect_same("(@custom \"metadata.code.branch_hint\" (before code) \"\\ff\") (func nop)");
}

TEST(Print, MalformedBodiesAreAnError) {
  auto bytes = assembled("(func i32.const 1 drop)").bytes;
  bytes[bytes.size() - 2] = 0xff;
  EXPECT_EQ(printed(bytes), "print: illegal opcode ff");
}

// Indentation may not make a text that is the square of the module.
TEST(Print, DeepNestingStaysSmall) {
  std::string text = "(func ";
  for (int n = 0; n < 20'000; n++) text += "block ";
  for (int n = 0; n < 20'000; n++) text += "end ";
  const auto bytes = assembled(text + ")").bytes;
  EXPECT_LT(printed(bytes).size(), bytes.size() * 100);
  EXPECT_EQ(assembled(printed(bytes)).bytes, bytes);
}

}  // namespace
}  // namespace doppel::wasm::text
