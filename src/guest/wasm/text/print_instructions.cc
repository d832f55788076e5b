#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "guest/wasm/instruction_skip.h"
#include "guest/wasm/text/immediates.h"
#include "guest/wasm/text/printed_module.h"
#include "guest/wasm/text/type_code.h"

namespace doppel::wasm::text {

namespace {

/// What one instruction's immediates are printed with; each appends to `text`.
struct Print {
  const PrintedModule& module;
  ByteReader& in;
  const BodyNames& names;
  const LabelScope& labels;
  std::string_view instruction;
  std::string& text;
  std::uint32_t type = 0;  ///< the type index printed last

  void word(std::string_view w) {
    text += ' ';
    text += w;
  }
};
using Printer = void (*)(Print&);

template <NameKind kind>
void index(Print& p) {
  p.word(p.module.reference(kind, p.in.u32()));
}
/// The first of all need not be written.
template <NameKind kind>
void optional_index(Print& p) {
  const auto n = p.in.u32();
  if (n != 0) p.word(p.module.reference(kind, n));
}

void type_index(Print& p) {
  p.type = p.in.u32();
  p.word(p.module.reference(NameKind::types, p.type));
}

void field_index(Print& p) {
  const auto n = p.in.u32();
  const auto fields = p.module.fields.find(p.type);
  p.word(fields == p.module.fields.end() ? std::to_string(n) : fields->second.reference(n));
}

void local_index(Print& p) { p.word(p.names.locals.reference(p.in.u32())); }

/// By name where that means the same.
void label(Print& p) {
  const auto inside = p.in.u32();
  if (inside < p.labels.depth()) {
    const auto& name = p.labels.at(inside);
    if (!name.empty() && p.labels.find(name) == inside) return p.word(dollar_name(name));
  }
  p.word(std::to_string(inside));
}

void labels(Print& p) {
  for (auto count = p.in.u32(); count > 0 && !p.in.failed(); count--) label(p);
  label(p);
}

void block_type(Print& p) {
  constexpr std::uint8_t empty = 0x40;
  const auto first = p.in.peek();
  if (first == empty) {
    p.in.byte();
  } else if (first >= empty && first < 0x80) {
    p.word(fmt::format("(result {})", print_value_type(p.module, p.in)));
  } else {
    const auto type = std::uint32_t(p.in.s33());
    p.word(fmt::format("(type {})", p.module.reference(NameKind::types, type)));
    if (type < p.module.types.size()) p.text += print_signature(p.module.types[type], nullptr);
  }
}

void catches(Print& p) {
  constexpr std::string_view words[] = {"catch", "catch_ref", "catch_all", "catch_all_ref"};
  for (auto count = p.in.u32(); count > 0 && !p.in.failed(); count--) {
    const auto code = p.in.byte();
    if (code >= std::size(words)) return p.in.fail("malformed catch clause");
    p.text += fmt::format(" ({}", words[code]);
    if (code < 2) index<NameKind::tags>(p);
    label(p);
    p.text += ')';
  }
}

void heap(Print& p) { p.word(print_heap_type(p.module, p.in)); }

void value_types(Print& p) {
  p.word("(result");
  for (auto count = p.in.u32(); count > 0 && !p.in.failed(); count--) p.word(print_value_type(p.module, p.in));
  p.text += ')';
}

void i32(Print& p) { p.word(std::to_string(p.in.s32())); }
void i64(Print& p) { p.word(std::to_string(p.in.s64())); }
void f32(Print& p) { p.word(spell_f32(p.in.fixed32())); }
void f64(Print& p) { p.word(spell_f64(p.in.fixed64())); }
void lane(Print& p) { p.word(std::to_string(p.in.byte())); }
void count(Print& p) { p.word(std::to_string(p.in.u32())); }

void v128(Print& p) {
  p.word("i32x4");
  for (unsigned n = 0; n < 4; n++) p.word(fmt::format("{:#010x}", p.in.fixed32()));
}

void shuffle_lanes(Print& p) {
  for (unsigned n = 0; n < 16; n++) lane(p);
}

void memory_argument(Print& p) {
  constexpr std::uint32_t names_memory = 0x40, most_exponent = 63;
  const auto flags = p.in.u32();
  const auto exponent = flags & (names_memory - 1);
  if (flags >= 2 * names_memory) return p.in.fail("malformed memop flags");
  if (flags & names_memory) optional_index<NameKind::memories>(p);
  if (const auto offset = p.in.u64(); offset != 0) p.word(fmt::format("offset={}", offset));
  if (exponent != natural_alignment(p.instruction))
    p.word(fmt::format("align={}", 1ULL << std::min(exponent, most_exponent)));
}

/// The table stands before the type.
void indirect_call(Print& p) {
  const auto type = p.in.u32();
  optional_index<NameKind::tables>(p);
  p.word(fmt::format("(type {})", p.module.reference(NameKind::types, type)));
}

/// The table or memory stands before the segment.
template <NameKind target, NameKind segment>
void initialise(Print& p) {
  const auto from = p.in.u32();
  optional_index<target>(p);
  p.word(p.module.reference(segment, from));
}

template <NameKind kind>
void copy(Print& p) {
  const auto to = p.in.u32(), from = p.in.u32();
  if (to == 0 && from == 0) return;
  p.word(p.module.reference(kind, to));
  p.word(p.module.reference(kind, from));
}

void cast_branch(Print& p) {
  const auto flags = p.in.byte();
  label(p);
  p.word(print_reference(p.module, p.in, flags & 1));
  p.word(print_reference(p.module, p.in, flags & 2));
}

struct Row {
  std::string_view immediates;
  Printer print;
};
constexpr Row together[] = {
    {"yT", indirect_call},
    {"eT", initialise<NameKind::tables, NameKind::elements>},
    {"DM", initialise<NameKind::memories, NameKind::data>},
    {"TT", copy<NameKind::tables>},
    {"MM", copy<NameKind::memories>},
    {"Blhh", cast_branch},
};

constexpr std::array<Printer, 128> letters = [] {
  std::array<Printer, 128> table{};
  table['b'] = block_type, table['l'] = label, table['t'] = labels, table['f'] = index<NameKind::functions>;
  table['y'] = type_index, table['T'] = optional_index<NameKind::tables>, table['e'] = index<NameKind::elements>;
  table['D'] = index<NameKind::data>, table['L'] = local_index, table['G'] = index<NameKind::globals>;
  table['g'] = index<NameKind::tags>, table['M'] = optional_index<NameKind::memories>, table['m'] = memory_argument;
  table['i'] = i32, table['I'] = i64, table['s'] = f32, table['d'] = f64, table['v'] = v128, table['n'] = lane;
  table['S'] = shuffle_lanes, table['h'] = heap, table['w'] = value_types, table['c'] = catches;
  table['F'] = field_index, table['N'] = count;
  return table;
}();

void print_immediates(Print& p, Opcode opcode) {
  if (opcode == Opcode::ref_test || opcode == Opcode::ref_cast) return p.word(print_reference(p.module, p.in, false));
  if (opcode == Opcode::ref_test_null || opcode == Opcode::ref_cast_null)
    return p.word(print_reference(p.module, p.in, true));
  const auto immediates = row(opcode).immediates;
  for (const auto& r : together)
    if (r.immediates == immediates) return r.print(p);
  for (const char letter : immediates) letters[std::uint8_t(letter)](p);
}

bool is_block(Opcode opcode) {
  return opcode == Opcode::block || opcode == Opcode::loop || opcode == Opcode::if_ || opcode == Opcode::try_table;
}

/// Prints the instructions of one body.
class BodyPrinter {
 public:
  BodyPrinter(PrintedModule& printed, ByteReader& in, const BodyNames& names, bool lines)
      : printed_(printed), in_(in), names_(names), lines_(lines), begin_(in.offset()) {}

  void run() {
    while (!in_.failed()) {
      const auto at = in_.offset();
      const auto opcode = read_opcode(in_);
      if (in_.failed() || (opcode == Opcode::end && labels_.depth() == 0)) return;
      instruction(opcode, at);
    }
  }
  /// Hints' offsets count from there.
  void begin_at(std::uint32_t offset) { begin_ = offset; }

 private:
  void instruction(Opcode opcode, std::uint32_t at);
  void separate(std::uint32_t depth);
  void hint(Opcode opcode, std::uint32_t at);
  void enter(std::string_view name) { labels_.push(std::string(name)); }
  std::string_view label_of_block() const {
    if (names_.labels == nullptr) return {};
    const auto found = names_.labels->find(blocks_);
    return found == names_.labels->end() ? std::string_view() : found->second;
  }

  PrintedModule& printed_;
  ByteReader& in_;
  const BodyNames& names_;
  bool lines_;
  std::uint32_t begin_;
  LabelScope labels_;
  std::uint32_t blocks_ = 0;
};

/// What is very deep is not indented further, or the text would grow with the square of the depth.
void BodyPrinter::separate(std::uint32_t depth) {
  constexpr std::uint32_t most = 32;
  if (lines_)
    printed_.text += "\n" + std::string(4 + 2 * std::min(depth, most), ' ');
  else
    printed_.text += ' ';
}

void BodyPrinter::hint(Opcode opcode, std::uint32_t at) {
  if (names_.hints == nullptr || (opcode != Opcode::if_ && opcode != Opcode::br_if)) return;
  const auto found = names_.hints->find(at - begin_);
  if (found == names_.hints->end() || found->second > 1) return;
  printed_.text += fmt::format("(@metadata.code.branch_hint \"\\{:02x}\") ", found->second);
  names_.hints->erase(found);
}

void BodyPrinter::instruction(Opcode opcode, std::uint32_t at) {
  const bool closes = opcode == Opcode::end || opcode == Opcode::else_;
  if (opcode == Opcode::end) labels_.pop();
  separate(labels_.depth() - (opcode == Opcode::else_ && labels_.depth() > 0 ? 1 : 0));
  hint(opcode, at);
  printed_.text += row(opcode).text;
  if (closes) return;
  Print print{printed_, in_, names_, labels_, row(opcode).text, printed_.text};
  if (!is_block(opcode)) return print_immediates(print, opcode);
  const auto name = label_of_block();
  if (!name.empty()) print.word(dollar_name(name));
  print_immediates(print, opcode);
  blocks_++;
  enter(name);
}

}  // namespace

void print_instructions(PrintedModule& printed, ByteReader& in, const BodyNames& names, bool lines) {
  BodyPrinter body(printed, in, names, lines);
  if (names.hints != nullptr) body.begin_at(names.body_begin);
  body.run();
}

}  // namespace doppel::wasm::text
