// Element and data segments, also those within tables and memories (core specification, 6.6.4, 6.6.5, 6.6.9, 6.6.10).
#include <bit>

#include "guest/wasm/text/expression.h"
#include "guest/wasm/text/fields.h"
#include "guest/wasm/text/type_syntax.h"

namespace doppel::wasm::text {

namespace {

// Bits of a segment's kind (5.5.12).
constexpr unsigned not_active = 1, other_target_or_declarative = 2, by_expression = 4;
constexpr TypeCode nullable_function{TypeCode::nullable_reference, abstract_heap(code_of_func)};

const IndexSpace& no_locals() {
  static const IndexSpace space{"local", "local"};
  return space;
}

}  // namespace

/// `(table x)` or `(memory x)`; an old form leaves out the parentheses. False if there is none, which means the first.
bool FieldAssembler::segment_target(ExternKind kind, std::uint32_t& index) {
  index = 0;
  const auto word = assembly_.externs_of(kind).word();
  if (cursor_.take_open(word)) {
    index = assembly_.index(kind);
    cursor_.close();
    return true;
  }
  if (!cursor_.at_index()) return false;
  index = assembly_.index(kind);
  return true;
}

/// `(offset …)` or one folded instruction.
void FieldAssembler::offset(Encoder& out) {
  ExpressionAssembler instructions(assembly_, no_locals(), out, nullptr);
  if (cursor_.take_open("offset")) {
    instructions.all();
    cursor_.close();
  } else {
    instructions.one_folded();
  }
}

void FieldAssembler::constant_zero(bool is64, Encoder& out) {
  encode_opcode(is64 ? Opcode::i64_const : Opcode::i32_const, out);
  out.signed_leb(0);
  encode_opcode(Opcode::end, out);
}

// Elements

void FieldAssembler::function_indices(ElementList& list) {
  list.functions = true;
  for (; cursor_.at_index(); list.count++) list.items.unsigned_leb(assembly_.index(ExternKind::function));
}

/// The same as expressions.
void FieldAssembler::function_references(ElementList& list) {
  for (; cursor_.at_index(); list.count++) {
    encode_opcode(Opcode::ref_func, list.items);
    list.items.unsigned_leb(assembly_.index(ExternKind::function));
    encode_opcode(Opcode::end, list.items);
  }
}

/// `(item …)*`, where one folded instruction may stand for an item.
void FieldAssembler::element_expressions(ElementList& list) {
  for (; cursor_.at(TokenKind::open); list.count++) {
    ExpressionAssembler instructions(assembly_, no_locals(), list.items, nullptr);
    if (cursor_.take_open("item")) {
      instructions.all();
      cursor_.close();
    } else {
      instructions.one_folded();
    }
  }
}

FieldAssembler::ElementList FieldAssembler::element_list() {
  ElementList list;
  if (cursor_.take_keyword("func") || cursor_.at_index() || cursor_.at(TokenKind::close)) {
    function_indices(list);
  } else {
    list.type = reference_type(assembly_);
    element_expressions(list);
  }
  return list;
}

void FieldAssembler::encode_elements(Encoder& out, const ElementList& list) {
  out.unsigned_leb(list.count);
  out.raw(list.items.bytes);
}

void FieldAssembler::element() {
  auto& out = assembly_.entry(SectionKind::element, cursor_.peek());
  skip_identifier();
  const bool declarative = cursor_.take_keyword("declare");
  Encoder offset_code;
  std::uint32_t table = 0;
  bool active = false;
  if (!declarative) {
    const bool target = segment_target(ExternKind::table, table);
    active = target || (cursor_.at(TokenKind::open) && !cursor_.at_open("ref"));
    if (active) offset(offset_code);
  }
  // A passive or declarative list says what it is a list of.
  if (!active && cursor_.at(TokenKind::close)) return cursor_.unexpected();
  const auto list = element_list();
  const bool short_form = active && table == 0 && (list.functions || list.type == nullable_function);
  out.byte((active ? 0 : not_active) | (declarative || (active && !short_form) ? other_target_or_declarative : 0) |
           (list.functions ? 0 : by_expression));
  if (active && !short_form) out.unsigned_leb(table);
  out.raw(offset_code.bytes);
  if (!short_form && list.functions) out.byte(0);
  if (!short_form && !list.functions) list.type.encode(out);
  encode_elements(out, list);
}

/// `(table reftype (elem …))`: as many elements as are there.
void FieldAssembler::inline_elements(std::uint32_t table, bool is64, TypeCode type, Encoder& table_out) {
  const auto token = cursor_.peek();
  if (!cursor_.expect_open("elem")) return;
  ElementList list;
  list.type = type;
  // Functions by index are elements of type (ref func), which not every table takes.
  if (cursor_.at(TokenKind::open))
    element_expressions(list);
  else if (type.heap == abstract_heap(code_of_func))
    function_indices(list);
  else
    function_references(list);
  cursor_.close();
  type.encode(table_out);
  encode_limits(table_out,
                {.minimum = list.count, .maximum = list.count, .is64 = is64, .shared = false, .page_exponent = {}});
  auto& out = assembly_.entry(SectionKind::element, token);
  const bool short_form = table == 0 && (list.functions || type == nullable_function);
  out.byte((short_form ? 0 : other_target_or_declarative) | (list.functions ? 0 : by_expression));
  if (!short_form) out.unsigned_leb(table);
  constant_zero(is64, out);
  if (!short_form && list.functions) out.byte(0);
  if (!short_form && !list.functions) type.encode(out);
  encode_elements(out, list);
}

// Data

std::string FieldAssembler::strings() {
  std::string bytes;
  while (cursor_.at(TokenKind::string)) bytes += cursor_.string();
  return bytes;
}

void FieldAssembler::data() {
  auto& out = assembly_.entry(SectionKind::data, cursor_.peek());
  skip_identifier();
  std::uint32_t memory = 0;
  const bool active = segment_target(ExternKind::memory, memory) || cursor_.at(TokenKind::open);
  if (!active) {
    out.byte(not_active);
  } else {
    out.byte(memory != 0 ? other_target_or_declarative : 0);
    if (memory != 0) out.unsigned_leb(memory);
    offset(out);
  }
  out.sized(strings());
}

/// `(memory (data …))`: as many pages as hold the bytes.
void FieldAssembler::inline_data(std::uint32_t memory, bool is64, std::optional<std::uint32_t> page_exponent) {
  constexpr unsigned default_exponent = 16;
  const auto token = cursor_.peek();
  if (!cursor_.expect_open("data")) return;
  const auto bytes = strings();
  cursor_.close();
  const auto exponent = page_exponent.value_or(default_exponent);
  const auto pages = (bytes.size() >> exponent) + ((bytes.size() & ((1ULL << exponent) - 1)) != 0);
  encode_limits(assembly_.section(SectionKind::memory).content,
                {.minimum = pages, .maximum = pages, .is64 = is64, .shared = false, .page_exponent = page_exponent});
  auto& out = assembly_.entry(SectionKind::data, token);
  out.byte(memory != 0 ? other_target_or_declarative : 0);
  if (memory != 0) out.unsigned_leb(memory);
  constant_zero(is64, out);
  out.sized(bytes);
}

}  // namespace doppel::wasm::text
