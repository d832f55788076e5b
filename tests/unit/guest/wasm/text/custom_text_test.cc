// Names, custom sections and branch hints: what tools read from a module that was written by hand.
#include "unit/guest/wasm/text/assembled.h"

namespace doppel::wasm::text {
namespace {

std::string custom(const std::vector<std::uint8_t>& bytes, std::string_view name) {
  const auto module = parse_module(std::make_shared<const std::vector<std::uint8_t>>(bytes));
  if (!std::holds_alternative<Module>(module)) return std::get<ModuleError>(module).message;
  const auto& parsed = std::get<Module>(module);
  const auto found = std::ranges::find(parsed.custom, name, &CustomSection::name);
  return found == parsed.custom.end() ? "none" : hex(parsed.range(found->bytes));
}

TEST(CustomText, NamesAreThoseOfIdentifiers) {
  const auto module = assembled(
      "(module $m (type $t (func)) (func $f (param $p i32) (local i32) (local $l i32) block $b loop end block $c end "
      "end)"
      "(table $u 0 funcref) (memory $v 0) (global $g i32 (i32.const 0)) (elem $e func) (data $d) (tag $x))");
  EXPECT_EQ(custom(module.bytes, "name"),
            "00 02 01 6d 01 04 01 00 01 66 02 09 01 00 02 00 01 70 02 01 6c 03 09 01 00 02 00 01 62 02 01 63 "
            "04 04 01 00 01 74 05 04 01 00 01 75 06 04 01 00 01 76 07 04 01 00 01 67 08 04 01 00 01 65 "
            "09 04 01 00 01 64 0b 04 01 00 01 78");
  EXPECT_EQ(custom(assembled("(module (func))").bytes, "name"), "none");
}

TEST(CustomText, AnnotationsNameWhatHasAnIdentifierToo) {
  const auto module =
      assembled("(module $m (@name \"M\") (func $f (@name \"\\ce\\bb\")) (func (@name \"\\ce\\bb\") call $f))");
  EXPECT_EQ(custom(module.bytes, "name"), "00 02 01 4d 01 09 02 00 02 ce bb 01 02 ce bb");
  EXPECT_EQ(error_of("(module (func) (@name \"M\"))"), "1:16 misplaced @name annotation");
  EXPECT_EQ(error_of("(module (@name \"a\") (@name \"b\"))"), "1:21 @name annotation: multiple module");
  EXPECT_EQ(error_of("(func (@name 1))").substr(0, 23), "1:7 @name annotation: u");
}

TEST(CustomText, SectionsLieWhereTheTextSays) {
  EXPECT_EQ(
      bytes_of("(@custom \"a\" \"1\" \"2\") (func) (@custom \"b\" (before func)) (@custom \"c\" (after type) \"3\")"
               "(@custom \"d\" (before first)) (@custom \"e\" (after datacount))"),
      "00 02 01 64 01 04 01 60 00 00 00 03 01 63 33 00 02 01 62 03 02 01 00 "
      "00 02 01 65 0a 04 01 02 00 0b 00 04 01 61 31 32");
  EXPECT_EQ(error_of("(@custom 4)"), "1:1 @custom annotation: missing section name");
  EXPECT_EQ(error_of("(func (@custom \"x\"))"), "1:7 misplaced @custom annotation");
  EXPECT_EQ(error_of("(@custom \"x\" (after first))"), "1:1 @custom annotation: malformed section kind");
}

TEST(CustomText, BranchHintsTellOffsetsInTheBody) {
  const auto module = assembled(
      "(func) (func (local i32) (@metadata.code.branch_hint \"\\01\") (if (local.get 0) (then"
      "  (@metadata.code.branch_hint \"\\00\") (br_if 0 (local.get 0)))))");
  EXPECT_EQ(custom(module.bytes, "metadata.code.branch_hint"), "01 01 02 05 01 01 09 01 00");
  EXPECT_EQ(error_of("(@metadata.code.branch_hint \"\\01\") (func)").substr(0, 60),
            "1:1 @metadata.code.branch_hint annotation: not in a function");
  EXPECT_EQ(error_of("(func (@metadata.code.branch_hint \"\\01\") nop)").substr(0, 55),
            "1:7 @metadata.code.branch_hint annotation: invalid targ");
}

// A text with very many annotations is read in time that grows with its length.
TEST(CustomText, ManyAtOnePlace) {
  std::string text;
  for (int n = 0; n < 200'000; n++) text += "(@custom \"\")";
  EXPECT_EQ(assembled(text).bytes.size(), 8U + 3 * 200'000);
}

}  // namespace
}  // namespace doppel::wasm::text
