#include "guest/wasm/text/immediates.h"

#include <fmt/format.h>

#include <array>
#include <bit>

#include "guest/wasm/text/constant.h"
#include "guest/wasm/text/literal.h"
#include "guest/wasm/text/type_syntax.h"

namespace doppel::wasm::text {

namespace {

/// What the immediates of one instruction are parsed with.
struct Parse {
  const InstructionScope& scope;
  const OpcodeRow& row;
  Encoder& out;
  std::uint32_t type = 0;  ///< the type index parsed last, whose fields a field index means
  Cursor& cursor = scope.assembly.cursor;
};
using Parser = void (*)(Parse&);

template <auto space>
void space_index(Parse& p) {
  p.out.unsigned_leb(p.scope.assembly.index(p.scope.assembly.*space));
}
template <ExternKind kind>
void extern_index(Parse& p) {
  p.out.unsigned_leb(p.scope.assembly.index(kind));
}
/// An index that may be left out, which means the first.
template <ExternKind kind>
std::uint32_t optional_index(Parse& p) {
  return p.cursor.at_index() ? p.scope.assembly.index(kind) : 0;
}
template <ExternKind kind>
void optional_extern(Parse& p) {
  p.out.unsigned_leb(optional_index<kind>(p));
}

void data_index(Parse& p) {
  p.scope.assembly.uses_data_count = true;
  space_index<&Assembly::data>(p);
}

void type_index(Parse& p) {
  p.type = p.scope.assembly.index(p.scope.assembly.type_space);
  p.out.unsigned_leb(p.type);
}

void field_index(Parse& p) {
  const auto& types = p.scope.assembly.types;
  static const IndexSpace no_fields{"field", "field"};
  p.out.unsigned_leb(p.scope.assembly.index(p.type < types.size() ? types[p.type].fields : no_fields));
}

void local_index(Parse& p) { p.out.unsigned_leb(p.scope.assembly.index(p.scope.locals)); }

void label(Parse& p) {
  if (!p.cursor.at(TokenKind::identifier)) return p.out.unsigned_leb(p.cursor.natural(32));
  const auto token = p.cursor.peek();
  if (const auto depth = p.scope.labels.find(p.cursor.identifier()))
    p.out.unsigned_leb(*depth);
  else
    p.cursor.fail_at(token, fmt::format("unknown label {}", p.cursor.spelling(token)));
}

/// Of br_table: at least the default one.
void labels(Parse& p) {
  Encoder all;
  Parse each{p.scope, p.row, all};
  std::uint32_t count = 0;
  do {
    label(each);
    count++;
  } while (p.cursor.at_index());
  p.out.unsigned_leb(count - 1);
  p.out.raw(all.bytes);
}

void block(Parse& p) { block_type(p.scope.assembly, p.out); }
void heap(Parse& p) { p.out.signed_leb(heap_type(p.scope.assembly)); }

void value_types(Parse& p) {
  Encoder all;
  std::uint32_t count = 0;
  while (p.cursor.take_open("result")) {
    for (; at_value_type(p.cursor); count++) value_type(p.scope.assembly).encode(all);
    p.cursor.close();
  }
  p.out.unsigned_leb(count);
  p.out.raw(all.bytes);
}

/// Takes `(catch` and so on; nothing if none comes next.
std::optional<unsigned> catch_code(Cursor& cursor) {
  constexpr std::string_view words[] = {"catch", "catch_ref", "catch_all", "catch_all_ref"};
  for (unsigned code = 0; code < std::size(words); code++)
    if (cursor.take_open(words[code])) return code;
  return {};
}

/// `(catch x l)`, `(catch_all l)` and so on.
void catches(Parse& p) {
  Encoder all;
  Parse each{p.scope, p.row, all};
  std::uint32_t count = 0;
  while (const auto code = catch_code(p.cursor)) {
    all.byte(*code);
    if (*code < 2) extern_index<ExternKind::tag>(each);
    label(each);
    p.cursor.close();
    count++;
  }
  p.out.unsigned_leb(count);
  p.out.raw(all.bytes);
}

// Constants

void i32(Parse& p) { p.out.signed_leb(std::int32_t(integer_constant(p.cursor, 32))); }
void i64(Parse& p) { p.out.signed_leb(std::int64_t(integer_constant(p.cursor, 64))); }
void f32(Parse& p) { p.out.little_endian(float_constant(p.cursor, 32), 4); }
void f64(Parse& p) { p.out.little_endian(float_constant(p.cursor, 64), 8); }
void v128(Parse& p) { p.out.raw(vector_constant(p.cursor)); }
void lane(Parse& p) { p.out.byte(unsigned(p.cursor.natural(8))); }
void count(Parse& p) { p.out.unsigned_leb(p.cursor.natural(32)); }

void shuffle_lanes(Parse& p) {
  constexpr unsigned lanes = 16;
  if (!check_lane_count(p.cursor, lanes, "invalid lane length")) return;
  for (unsigned n = 0; n < lanes; n++) {
    if (!p.cursor.at(TokenKind::natural)) p.cursor.fail("i8 constant out of range");
    lane(p);
  }
}

// Memory

/// `name=` and a number, if that comes next.
std::optional<std::uint64_t> memory_operand(Parse& p, std::string_view name) {
  const auto token = p.cursor.peek();
  const auto text = p.cursor.spelling(token);
  if (token.kind != TokenKind::keyword || !text.starts_with(name)) return {};
  const auto digits = text.substr(name.size());
  if (number_kind(digits) != TokenKind::natural) {
    p.cursor.unexpected();
    return {};
  }
  p.cursor.take();
  const auto value = parse_natural(digits);
  if (!value) p.cursor.fail_at(token, "i64 constant out of range");
  return value.value_or(0);
}

void memory_argument_of(Parse& p, std::uint32_t memory) {
  constexpr unsigned other_memory = 0x40;
  const auto offset = memory_operand(p, "offset=").value_or(0);
  const auto token = p.cursor.peek();
  const auto align = memory_operand(p, "align=");
  if (align && !std::has_single_bit(*align)) p.cursor.fail_at(token, "alignment must be a power of two");
  const auto exponent = align ? unsigned(std::countr_zero(*align)) : natural_alignment(p.row.text);
  p.out.byte(exponent | (memory != 0 ? other_memory : 0));
  if (memory != 0) p.out.unsigned_leb(memory);
  p.out.unsigned_leb(offset);
}

void memory_argument(Parse& p) { memory_argument_of(p, optional_index<ExternKind::memory>(p)); }

bool is_memory_operand(const Cursor& cursor, const Token& token) {
  const auto text = cursor.spelling(token);
  return token.kind == TokenKind::keyword && (text.starts_with("offset=") || text.starts_with("align="));
}

/// A number alone is the lane.
void memory_argument_and_lane(Parse& p) {
  const auto& second = p.cursor.peek(1);
  const bool memory =
      p.cursor.at(TokenKind::identifier) ||
      (p.cursor.at(TokenKind::natural) && (second.kind == TokenKind::natural || is_memory_operand(p.cursor, second)));
  memory_argument_of(p, memory ? p.scope.assembly.index(ExternKind::memory) : 0);
  lane(p);
}

// Instructions whose text has an order of its own

/// The table stands before the type.
void indirect_call(Parse& p) {
  const auto table = optional_index<ExternKind::table>(p);
  p.out.unsigned_leb(type_use(p.scope.assembly, {}));
  p.out.unsigned_leb(table);
}

bool two_indices(const Cursor& cursor) {
  const auto second = cursor.peek(1).kind;
  return cursor.at_index() && (second == TokenKind::identifier || second == TokenKind::natural);
}

/// The table or memory stands before the segment, and may be left out.
template <ExternKind kind, Parser segment>
void initialise(Parse& p) {
  const auto target = two_indices(p.cursor) ? p.scope.assembly.index(kind) : 0;
  segment(p);
  p.out.unsigned_leb(target);
}

/// Both or neither are there.
template <ExternKind kind>
void copy(Parse& p) {
  const bool given = p.cursor.at_index();
  for (int n = 0; n < 2; n++) p.out.unsigned_leb(given ? p.scope.assembly.index(kind) : 0);
}

/// Whether the two types may be null stands in front of the label.
void cast_branch(Parse& p) {
  Encoder depth;
  Parse at_depth{p.scope, p.row, depth};
  label(at_depth);
  const auto from = reference_type(p.scope.assembly), to = reference_type(p.scope.assembly);
  p.out.byte(unsigned(from.nullable()) | unsigned(to.nullable()) << 1);
  p.out.raw(depth.bytes);
  p.out.signed_leb(from.heap);
  p.out.signed_leb(to.heap);
}

struct Row {
  std::string_view immediates;
  Parser parse;
};
/// Those that are more than their letters one after the other.
constexpr Row together[] = {
    {"yT", indirect_call},
    {"eT", initialise<ExternKind::table, space_index<&Assembly::elements>>},
    {"DM", initialise<ExternKind::memory, data_index>},
    {"TT", copy<ExternKind::table>},
    {"MM", copy<ExternKind::memory>},
    {"mn", memory_argument_and_lane},
    {"Blhh", cast_branch},
};

constexpr std::array<Parser, 128> letters = [] {
  std::array<Parser, 128> table{};
  table['b'] = block, table['l'] = label, table['t'] = labels, table['f'] = extern_index<ExternKind::function>;
  table['y'] = type_index, table['T'] = optional_extern<ExternKind::table>,
  table['e'] = space_index<&Assembly::elements>;
  table['D'] = data_index, table['L'] = local_index, table['G'] = extern_index<ExternKind::global>;
  table['g'] = extern_index<ExternKind::tag>, table['M'] = optional_extern<ExternKind::memory>;
  table['m'] = memory_argument, table['i'] = i32, table['I'] = i64, table['s'] = f32, table['d'] = f64;
  table['v'] = v128, table['n'] = lane, table['S'] = shuffle_lanes, table['h'] = heap, table['w'] = value_types;
  table['c'] = catches, table['F'] = field_index, table['N'] = count;
  return table;
}();

void assemble_immediates(Parse& p) {
  for (const auto& row : together)
    if (row.immediates == p.row.immediates) return row.parse(p);
  for (const char letter : p.row.immediates) letters[std::uint8_t(letter)](p);
}

/// `ref.test` and `ref.cast` have a reference type, in the binary format the heap type and two opcodes.
void assemble_cast(const InstructionScope& scope, Opcode opcode, Encoder& out) {
  const auto type = reference_type(scope.assembly);
  encode_opcode(Opcode(unsigned(opcode) + unsigned(type.nullable())), out);
  out.signed_leb(type.heap);
}
static_assert(unsigned(Opcode::ref_test) + 1 == unsigned(Opcode::ref_test_null) &&
              unsigned(Opcode::ref_cast) + 1 == unsigned(Opcode::ref_cast_null));

}  // namespace

void encode_opcode(Opcode opcode, Encoder& out) {
  const auto& r = row(opcode);
  if (r.prefix == 0) return out.byte(r.code);
  out.byte(r.prefix);
  out.unsigned_leb(r.code);
}

void assemble_instruction(const InstructionScope& scope, Opcode opcode, Encoder& out) {
  if (opcode == Opcode::ref_test || opcode == Opcode::ref_cast) return assemble_cast(scope, opcode, out);
  if (opcode == Opcode::select && scope.assembly.cursor.at_open("result")) opcode = Opcode::select_typed;
  encode_opcode(opcode, out);
  Parse parse{scope, row(opcode), out};
  assemble_immediates(parse);
}

unsigned natural_alignment(std::string_view name) {
  const auto number = [](std::string_view text, std::size_t& at) {
    unsigned value = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; at++) value = value * 10 + unsigned(text[at] - '0');
    return value;
  };
  const auto access = name.find(".load") != name.npos ? name.find(".load") + 5 : name.find(".store") + 6;
  std::size_t at = access;
  unsigned bits = number(name, at);
  if (bits != 0 && at < name.size() && name[at] == 'x') bits *= number(name, ++at);
  at = 1;  // without a size of its own it is that of the type
  if (bits == 0) bits = number(name, at);
  return unsigned(std::countr_zero(bits / 8));
}

}  // namespace doppel::wasm::text
