#include "guest/wasm/translation_table.h"

namespace doppel::wasm {
namespace {

using ir::FloatCompare;
using ir::FloatRound;
using ir::FunctionOp;
using ir::IntegerCompare;
using ir::Type;
using ir::VectorOp;

constexpr Type type_of(char letter) {
  switch (letter) {
    case 'i':
      return Type::i32;
    case 'l':
      return Type::i64;
    case 'f':
      return Type::f32;
    case 'd':
      return Type::f64;
    default:
      return Type::v128;
  }
}

constexpr auto translations = [] {
  std::array<TranslationRow, opcode_count> table{};
#define ROW(opcode, operation, type, flag) \
  table[std::size_t(Opcode::opcode)] = {FunctionOp::operation, Type::type, std::uint16_t(flag)};
#include "guest/wasm/translations.inc"
#define VECTOR(name, arguments, result, immediate) \
  table[std::size_t(Opcode::name)] = {FunctionOp::vector, type_of(result[0]), std::uint16_t(VectorOp::name)};
#include "ir/vector_ops.inc"
  return table;
}();

/// Pairs of an access and the vector operation on what is in memory.
struct VectorAccess {
  Opcode opcode;
  Type memory, type;
  VectorOp then;
};
constexpr VectorAccess vector_accesses[] = {
    {Opcode::v128_load8x8_s, Type::f64, Type::v128, VectorOp::i16x8_extend_low_i8x16_s},
    {Opcode::v128_load8x8_u, Type::f64, Type::v128, VectorOp::i16x8_extend_low_i8x16_u},
    {Opcode::v128_load16x4_s, Type::f64, Type::v128, VectorOp::i32x4_extend_low_i16x8_s},
    {Opcode::v128_load16x4_u, Type::f64, Type::v128, VectorOp::i32x4_extend_low_i16x8_u},
    {Opcode::v128_load32x2_s, Type::f64, Type::v128, VectorOp::i64x2_extend_low_i32x4_s},
    {Opcode::v128_load32x2_u, Type::f64, Type::v128, VectorOp::i64x2_extend_low_i32x4_u},
    {Opcode::v128_load8_splat, Type::i8, Type::i32, VectorOp::i8x16_splat},
    {Opcode::v128_load16_splat, Type::i16, Type::i32, VectorOp::i16x8_splat},
    {Opcode::v128_load32_splat, Type::i32, Type::i32, VectorOp::i32x4_splat},
    {Opcode::v128_load64_splat, Type::i64, Type::i64, VectorOp::i64x2_splat},
    {Opcode::v128_load32_zero, Type::f32, Type::v128, VectorOp::count},
    {Opcode::v128_load64_zero, Type::f64, Type::v128, VectorOp::count},
    {Opcode::v128_load8_lane, Type::i8, Type::i32, VectorOp::i8x16_replace_lane},
    {Opcode::v128_load16_lane, Type::i16, Type::i32, VectorOp::i16x8_replace_lane},
    {Opcode::v128_load32_lane, Type::i32, Type::i32, VectorOp::i32x4_replace_lane},
    {Opcode::v128_load64_lane, Type::i64, Type::i64, VectorOp::i64x2_replace_lane},
    {Opcode::v128_store8_lane, Type::i8, Type::i32, VectorOp::i8x16_extract_lane_u},
    {Opcode::v128_store16_lane, Type::i16, Type::i32, VectorOp::i16x8_extract_lane_u},
    {Opcode::v128_store32_lane, Type::i32, Type::i32, VectorOp::i32x4_extract_lane},
    {Opcode::v128_store64_lane, Type::i64, Type::i64, VectorOp::i64x2_extract_lane},
};

/// Of a scalar access: the letter of its value, and the width that its name ends with, if any.
constexpr AccessRow scalar_access(const OpcodeRow& row) {
  const auto letters = row.signature;
  const char letter = letters.starts_with("a:") ? letters[2] : letters[1];
  AccessRow access{.memory = type_of(letter), .type = type_of(letter)};
  const auto name = row.text.substr(row.text.find('.') + 1);
  access.sign = name.ends_with("_s");
  if (name.find("16") != name.npos)
    access.memory = Type::i16;
  else if (name.find('8') != name.npos)
    access.memory = Type::i8;
  else if (name.find("32") != name.npos)
    access.memory = Type::i32;
  return access;
}

constexpr auto accesses = [] {
  std::array<AccessRow, opcode_count> table{};
  for (std::size_t n = 0; n < opcode_count; n++) {
    const auto& row = detail::opcode_rows[n];
    const bool scalar = row.text[0] != 'v';
    if (row.immediates.starts_with("m") && scalar) table[n] = scalar_access(row);
  }
  table[std::size_t(Opcode::v128_load)] = {.memory = Type::v128, .type = Type::v128};
  table[std::size_t(Opcode::v128_store)] = {.memory = Type::v128, .type = Type::v128};
  for (const auto& a : vector_accesses)
    table[std::size_t(a.opcode)] = {.memory = a.memory, .type = a.type, .then = a.then};
  return table;
}();
static_assert(accesses[std::size_t(Opcode::i64_load32_s)].memory == Type::i32 &&
              accesses[std::size_t(Opcode::i64_load32_s)].sign &&
              accesses[std::size_t(Opcode::i32_store16)].memory == Type::i16 &&
              accesses[std::size_t(Opcode::f32_load)].memory == Type::f32);

}  // namespace

const TranslationRow& translation(Opcode opcode) { return translations[std::size_t(opcode)]; }
const AccessRow& access_row(Opcode opcode) { return accesses[std::size_t(opcode)]; }

}  // namespace doppel::wasm
