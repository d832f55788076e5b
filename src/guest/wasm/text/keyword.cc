#include "guest/wasm/text/keyword.h"

#include <algorithm>
#include <array>

#include "guest/wasm/text/literal.h"

namespace doppel::wasm::text {

namespace {

struct Name {
  std::string_view text;
  Opcode opcode = Opcode::count;
};
using Names = std::array<Name, opcode_count>;

Names sorted_names() {
  Names names;
  for (std::size_t n = 0; n < opcode_count; n++) names[n] = {row(Opcode(n)).text, Opcode(n)};
  std::ranges::sort(names, {}, [](const Name& name) { return std::pair(name.text, name.opcode); });
  return names;
}

/// What is not an instruction: of types, modules, instructions' operands, scripts.
constexpr std::string_view words[] = {
    "i8",
    "i16",
    "i32",
    "i64",
    "f32",
    "f64",
    "v128",
    "i8x16",
    "i16x8",
    "i32x4",
    "i64x2",
    "f32x4",
    "f64x2",
    "any",
    "eq",
    "i31",
    "func",
    "extern",
    "exn",
    "none",
    "nofunc",
    "noextern",
    "noexn",
    "null",
    "ref",
    "anyref",
    "eqref",
    "i31ref",
    "structref",
    "arrayref",
    "funcref",
    "externref",
    "exnref",
    "nullref",
    "nullfuncref",
    "nullexternref",
    "nullexnref",
    "mut",
    "sub",
    "final",
    "rec",
    "struct",
    "array",
    "field",
    "module",
    "type",
    "import",
    "export",
    "table",
    "memory",
    "global",
    "tag",
    "start",
    "elem",
    "data",
    "code",
    "param",
    "result",
    "local",
    "item",
    "offset",
    "declare",
    "shared",
    "pagesize",
    "then",
    "catch",
    "catch_ref",
    "catch_all",
    "catch_all_ref",
    "before",
    "after",
    "definition",
    "instance",
    "binary",
    "quote",
    "script",
    "register",
    "invoke",
    "get",
    "assert_return",
    "assert_trap",
    "assert_exhaustion",
    "assert_exception",
    "assert_malformed",
    "assert_malformed_custom",
    "assert_invalid",
    "assert_invalid_custom",
    "assert_unlinkable",
    "either",
    "input",
    "output",
    "nan:canonical",
    "nan:arithmetic",
    "ref.extern",
    "ref.host",
    "ref.any",
    "ref.struct",
    "ref.array",
    "ref.exn",
};

/// `offset=` and `align=` with a natural number behind.
bool is_memory_operand(std::string_view word) {
  for (const std::string_view name : {"offset=", "align="})
    if (word.starts_with(name)) return number_kind(word.substr(name.size())) == TokenKind::natural;
  return false;
}

}  // namespace

Opcode find_opcode(std::string_view name) {
  static const Names names = sorted_names();
  const auto found = std::ranges::lower_bound(names, name, {}, &Name::text);
  return found != names.end() && found->text == name ? found->opcode : Opcode::count;
}

bool is_keyword(std::string_view word) {
  return std::ranges::find(words, word) != std::end(words) || find_opcode(word) != Opcode::count ||
         is_memory_operand(word);
}

}  // namespace doppel::wasm::text
