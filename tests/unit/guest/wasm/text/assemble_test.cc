// Texts become the bytes that the specification says, which are written here by hand.
#include "guest/wasm/text/assemble.h"

#include "unit/guest/wasm/text/assembled.h"

namespace doppel::wasm::text {
namespace {

TEST(Assemble, AnEmptyModuleIsItsHeader) {
  EXPECT_EQ(hex(assembled("(module)").bytes), "00 61 73 6d 01 00 00 00");
  EXPECT_EQ(hex(assembled("").bytes), "00 61 73 6d 01 00 00 00") << "fields may stand alone";
}

TEST(Assemble, SectionsHaveTheirOrderWhateverThatOfTheFields) {
  EXPECT_EQ(bytes_of("(func (export \"f\") (param i32) (result i32) (local i64 i64 f32) local.get 0)"
                     "(start 0) (global (mut i32) (i32.const -1)) (memory i64 1 2) (table 1 funcref)"),
            "01 06 01 60 01 7f 01 7f "  // type
            "03 02 01 00 "              // function
            "04 04 01 70 00 01 "        // table
            "05 04 01 05 01 02 "        // memory
            "06 06 01 7f 01 41 7f 0b "  // global
            "07 05 01 01 66 00 00 "     // export
            "08 01 00 "                 // start
            "0a 0a 01 08 02 02 7e 01 7d 20 00 0b");
}

TEST(Assemble, TypesAreFoundOrMade) {
  // The second function's type is there, the third's comes behind the explicit ones; so does that of the block.
  EXPECT_EQ(bytes_of("(func (type 0)) (func (param i32)) (func (result i64) unreachable)"
                     "(func block (param i32 i32) end) (type (func)) (type (func (param i32)))"),
            "01 11 04 60 00 00 60 01 7f 00 60 00 01 7e 60 02 7f 7f 00 "
            "03 05 04 00 01 02 00 "
            "0a 11 04 02 00 0b 02 00 0b 03 00 00 0b 05 00 02 03 0b 0b");
  EXPECT_EQ(error_of("(type $t (func)) (func (type $t) (param i32))").substr(0, 30), "1:24 inline function type");
  EXPECT_EQ(error_of("(func (type 3) (param i32))").substr(0, 17), "1:7 unknown type");
}

TEST(Assemble, RecursiveTypesAndSubtypes) {
  EXPECT_EQ(bytes_of("(rec (type $a (sub (struct (field $x (mut i8)) (field (ref null $b)))))"
                     "     (type $b (sub final $a (struct (field i16 i32)))))"
                     "(type (array (ref func)))  (type (func (result (ref null struct) nullref)))"),
            "01 1e 03 4e 02 50 00 5f 02 78 01 63 01 00 4f 01 00 5f 02 77 00 7f 00 "
            "5e 64 70 00 60 00 02 6b 71 "
            // names: types and fields
            "00 16 04 6e 61 6d 65 04 07 02 00 01 61 01 01 62 0a 06 01 00 01 00 01 78");
}

TEST(Assemble, ImportsComeFirst) {
  EXPECT_EQ(bytes_of("(func (import \"m\" \"f\") (param i32)) (import \"m\" \"g\" (global (mut i64)))"
                     "(table (import \"m\" \"t\") 1 2 externref) (memory (import \"m\" \"\") i64 1)"
                     "(tag (export \"e\") (import \"m\" \"e\") (param i32))"),
            "01 05 01 60 01 7f 00 "
            "02 24 05 01 6d 01 66 00 00 01 6d 01 67 03 7e 01 01 6d 01 74 01 6f 01 01 02 01 6d 00 02 04 01 "
            "01 6d 01 65 04 00 00 "
            "07 05 01 01 65 04 00");
  EXPECT_EQ(error_of("(func)\n(import \"\" \"\" (memory 0))"), "2:9 import after function definition");
  EXPECT_EQ(error_of("(memory 0) (global (import \"\" \"\") i32)"), "1:20 import after memory definition");
}

TEST(Assemble, SegmentsOfAllKinds) {
  EXPECT_EQ(bytes_of("(table $t 1 funcref) (table $u 1 externref) (func $f)"
                     "(elem (i32.const 0) $f) (elem func 0) (elem (table $u) (offset i32.const 1) externref)"
                     "(elem declare func $f) (elem (i32.const 0) funcref (ref.func $f) (item ref.null func))"
                     "(elem (ref func) (ref.func $f))"),
            "01 04 01 60 00 00 03 02 01 00 04 07 02 70 00 01 6f 00 01 "
            "09 28 06 00 41 00 0b 01 00 01 00 01 00 06 01 41 01 0b 6f 00 03 00 01 00 "
            "04 41 00 0b 02 d2 00 0b d0 70 0b 05 64 70 01 d2 00 0b "
            "0a 04 01 02 00 0b "
            "00 14 04 6e 61 6d 65 01 04 01 00 01 66 05 07 02 00 01 74 01 01 75");
  EXPECT_EQ(bytes_of("(memory 1) (memory 1) (data \"a\" \"\\00\") (data (i32.const 5) \"\") "
                     "(data (memory 1) (offset i64.const 0) \"b\")"),
            "05 05 02 00 01 00 01 0b 11 03 01 02 61 00 00 41 05 0b 00 02 01 42 00 0b 01 62");
}

TEST(Assemble, SegmentsWithinTablesAndMemories) {
  EXPECT_EQ(bytes_of("(func $f) (table funcref (elem 0 0)) (table i64 (ref null 0) (elem $f))"),
            "01 04 01 60 00 00 03 02 01 00 04 0a 02 70 01 02 02 63 00 05 01 01 "
            "09 13 02 00 41 00 0b 02 00 00 06 01 42 00 0b 63 00 01 d2 00 0b 0a 04 01 02 00 0b "
            "00 0b 04 6e 61 6d 65 01 04 01 00 01 66");
  EXPECT_EQ(bytes_of("(memory (data \"abc\")) (memory (pagesize 1) (data \"abc\")) (memory i64 (data))"),
            "05 0b 03 01 01 01 09 03 03 00 05 00 00 "
            "0b 18 03 00 41 00 0b 03 61 62 63 02 01 41 00 0b 03 61 62 63 02 02 42 00 0b 00");
}

TEST(Assemble, LimitsOfAllKinds) {
  EXPECT_EQ(bytes_of("(memory 1 2 shared) (memory 0 (pagesize 65536)) (memory i64 0xffff_ffff_ffff_ffff (pagesize 1))"),
            "05 13 03 03 01 02 08 00 10 0c ff ff ff ff ff ff ff ff ff 01 00");
  EXPECT_EQ(bytes_of("(table i64 1 0x1_0000_0000 externref)"), "04 09 01 6f 05 01 80 80 80 80 10");
  EXPECT_EQ(bytes_of("(table 1 funcref (ref.null func))"), "04 09 01 40 00 70 00 01 d0 70 0b");
  EXPECT_EQ(error_of("(memory 0 (pagesize 3))"), "1:21 invalid custom page size");
  EXPECT_EQ(error_of("(memory 0x1_0000_0000_0000_0000)"), "1:9 i64 constant out of range");
}

TEST(Assemble, FoldedInstructionsComeAfterTheirOperands) {
  EXPECT_EQ(body_of("(drop (i32.add (i32.const 1) (block (result i32) i32.const 2)))"),
            "41 01 02 7f 41 02 0b 6a 1a 0b");
  EXPECT_EQ(body_of("(if $l (i32.const 1) (then (br $l)) (else nop))"), "41 01 04 40 0c 00 05 01 0b 0b");
  EXPECT_EQ(body_of("(i32.const 0) if $a else $a end $a (block $a (loop $a (br $a) (br 1) br 2))"),
            "41 00 04 40 05 0b 02 40 03 40 0c 00 0c 01 0c 02 0b 0b 0b");
  EXPECT_EQ(body_of("(if (param) (result) (i32.const 1) (i32.eqz) (then))"), "41 01 45 04 40 0b 0b");
}

TEST(Assemble, OperandsInTheirOwnOrder) {
  constexpr auto two = "(table $t 1 funcref) (table $u 1 funcref) (memory $m 1) (memory $n 1) (elem $e func) (data $d)";
  EXPECT_EQ(body_of("(call_indirect $u (param i32)) (call_indirect) unreachable", two), "11 01 01 11 00 00 00 0b");
  EXPECT_EQ(body_of("table.init $u $e table.init $e table.copy $t $u table.copy elem.drop 0", two),
            "fc 0c 00 01 fc 0c 00 00 fc 0e 00 01 fc 0e 00 00 fc 0d 00 0b");
  EXPECT_EQ(body_of("memory.init $n $d memory.init $d memory.copy $n $m memory.fill data.drop $d", two),
            "fc 08 00 01 fc 08 00 00 fc 0a 01 00 fc 0b 00 fc 09 00 0b");
  EXPECT_EQ(body_of("i32.load i32.load8_u offset=1 align=1 i64.load $n offset=0x80 align=4", two),
            "28 02 00 2d 00 01 29 42 01 80 01 0b");
  EXPECT_EQ(
      body_of("v128.load8_lane 3 v128.load8_lane 1 3 v128.store64_lane $n offset=1 1 v128.load32_lane align=1 2", two),
      "fd 54 00 00 03 fd 54 40 01 00 03 fd 5b 43 01 01 01 fd 56 00 00 02 0b");
  EXPECT_EQ(
      body_of("select (result i32) select (ref.test (ref null func)) (ref.cast (ref 0)) br_on_cast 0 anyref (ref eq)"),
      "1c 01 7f 1b fb 15 70 fb 16 00 fb 18 01 00 6e 6d 0b");
  EXPECT_EQ(body_of("(block $l (try_table $l (catch $t $l) (catch_all_ref 0)) br_table 0 $l 1)", "(tag $t)"),
            "02 40 1f 40 02 00 00 00 03 00 0b 0e 02 00 00 01 0b 0b");
}

TEST(Assemble, VectorsOfAllShapes) {
  EXPECT_EQ(body_of("v128.const i32x4 1 -1 0x7fff_ffff 4294967295"),
            "fd 0c 01 00 00 00 ff ff ff ff ff ff ff 7f ff ff ff ff 0b");
  EXPECT_EQ(body_of("v128.const f64x2 1 -inf"), "fd 0c 00 00 00 00 00 00 f0 3f 00 00 00 00 00 00 f0 ff 0b");
  EXPECT_EQ(body_of("i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 0x1f"),
            "fd 0d 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 1f 0b");
  EXPECT_EQ(error_of("(func v128.const i16x8 1 2 3 4 5 6 7)").substr(0, 37), "1:24 wrong number of lane literals");
  EXPECT_EQ(error_of("(func i8x16.shuffle 0 1 2)").substr(0, 24), "1:21 invalid lane length");
  EXPECT_EQ(error_of("(func v128.const i8x16 256 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0)"), "1:24 constant out of range");
  EXPECT_EQ(error_of("(func i8x16.extract_lane_s 256)"), "1:28 i8 constant out of range");
}

TEST(Assemble, ErrorsSayWhatAndWhere) {
  EXPECT_EQ(error_of("(module\n  (func\n    i32.cost 1))"), "3:5 unknown operator i32.cost");
  EXPECT_EQ(error_of("(func) (func (call $g))"), "1:20 unknown function $g");
  EXPECT_EQ(error_of("(func $f) (func $\"f\")"), "1:17 duplicate func $\"f\"");
  EXPECT_EQ(error_of("(func (param $a i32) (local $a i32))"), "1:29 duplicate local $a");
  EXPECT_EQ(error_of("(func block $a end $b)"), "1:20 mismatching label");
  EXPECT_EQ(error_of("(func (br $x))"), "1:11 unknown label $x");
  EXPECT_EQ(error_of("(func i32.const 0x1_0000_0000)"), "1:17 constant out of range");
  EXPECT_EQ(error_of("(func i32.load align=3)"), "1:16 alignment must be a power of two");
  EXPECT_EQ(error_of("(func (nop) (local i32))"), "1:14 unexpected token local");
  EXPECT_EQ(error_of("(func (drop nop))"), "1:13 unexpected token nop");
  EXPECT_EQ(error_of("(func (if (then) (else) (else)))"), "1:25 unexpected token (");
  EXPECT_EQ(error_of("(func) (start 0) (start 0)"), "1:25 multiple start sections");
  EXPECT_EQ(error_of("(export \"\\ff\" (func 0))"), "1:9 malformed UTF-8 encoding");
  EXPECT_EQ(error_of("(module) (module)"), "1:10 unexpected token (");
  EXPECT_EQ(error_of("(func end)"), "1:7 unexpected token end");
  EXPECT_EQ(error_of("(func block)"), "1:12 unexpected token )");
  EXPECT_NE(error_of("(func").find("unexpected token"), std::string::npos);
  EXPECT_EQ(error_of("(func $f) (func $f) \x01"), "1:21 illegal character") << "what is no text is told first";
}

TEST(Assemble, PlacesTellWhereInstructionsCameFrom) {
  const auto module = assembled("(func\n  (drop\n    (i32.const 1)))");
  EXPECT_TRUE(std::ranges::is_sorted(module.places, {}, &SourcePlace::offset));
  const auto line_of = [&](std::uint8_t opcode) {
    for (const auto& place : module.places)
      if (place.offset > 20 && module.bytes[place.offset] == opcode) return std::pair(place.line, place.column);
    return std::pair(0U, 0U);
  };
  EXPECT_EQ(line_of(0x41), std::pair(3U, 6U));
  EXPECT_EQ(line_of(0x1a), std::pair(2U, 4U));
  EXPECT_EQ(line_of(0x0b), std::pair(3U, 19U));
}

TEST(Assemble, SegmentsAreCountedWhereBodiesNameThem) {
  EXPECT_NE(bytes_of("(data \"\") (func data.drop 0)").find("0c 01 01 0a"), std::string::npos);
  EXPECT_EQ(bytes_of("(data \"\")"), "0b 03 01 01 00");
}

std::string repeated(std::string_view what, unsigned count) {
  std::string text;
  for (unsigned n = 0; n < count; n++) text += what;
  return text;
}

// The host's stack must not be what bounds a program.
TEST(Assemble, NestingIsNotBoundByTheStack) {
  constexpr unsigned depth = 300'000;
  const auto folded = "(func " + repeated("(drop ", depth) + repeated(")", depth) + ")";
  EXPECT_EQ(assembled(folded).bytes.back(), 0x0b);
  const auto blocks = "(func " + repeated("block $l ", depth) + "br $l " + repeated("end ", depth) + ")";
  EXPECT_GT(assembled(blocks).bytes.size(), depth * 3U);
  const auto ifs = "(func " + repeated("(if $l (nop) (then ", depth) + repeated("))", depth) + ")";
  EXPECT_GT(assembled(ifs).bytes.size(), depth * 3U);
  EXPECT_NE(error_of("(func " + repeated("(if ", depth)), "no error");
  EXPECT_NE(error_of(repeated("(@a ", depth)), "no error");
  EXPECT_NE(error_of(repeated("(; ", depth)), "no error");
  EXPECT_NE(error_of(repeated("(", depth)), "no error");
}

// However a text is cut off, that is an error and no fault; so is any byte that is another one.
TEST(Assemble, SurvivesTextsThatAreDamaged) {
  const std::string text =
      "(module $m (type $t (sub final (func (param $x i32) (result f64)))) (import \"a\" \"b\" (table 1 2 funcref))"
      "(memory $k (export \"m\") i64 1 2 (pagesize 1)) (global $g (mut (ref null $t)) (ref.null $t)) (@custom \"c\" "
      "(before code) \"x\")"
      "(elem $e (table 0) (offset (i32.const 1)) funcref (item ref.func $f)) (data (i64.const 0) \"\\00\\u{41}\")"
      "(func $f (type $t) (param $x i32) (result f64) (local $y v128) (@metadata.code.branch_hint \"\\01\") (if $l "
      "(result f64) (local.get $x) "
      "(then (br $l (f64.const nan:0x1)))"
      "  (else (i32.load8_u offset=4 align=1 (i64.const 1)) (br_table 0 $l 0) (v128.const f32x4 1 2 3 0x1p3)))))";
  ASSERT_EQ(error_of(text), "no error");
  for (std::size_t n = 0; n + 1 < text.size(); n++) EXPECT_NE(error_of(text.substr(0, n + (n == 0))), "no error") << n;
  for (std::size_t n = 0; n < text.size(); n++) {
    for (const char c : {'(', ')', '"', ' ', '$', '0', '\xff', '@'}) {
      auto damaged = text;
      damaged[n] = c;
      (void)assemble(damaged);
    }
  }
}

}  // namespace
}  // namespace doppel::wasm::text
