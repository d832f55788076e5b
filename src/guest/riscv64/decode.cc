#include "guest/riscv64/decode.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <vector>

namespace doppel::riscv64 {
namespace {

// ---- isa.inc, checked and digested at compile time. A throw in here is a compile error.

constexpr Fields format_fields[] = {
#define FORMAT(name, layout, sign, operands) {layout, std::string_view(#sign) == "Signed", operands},
#include "guest/riscv64/isa.inc"
};

constexpr Fields cformat_fields[] = {
#define CFORMAT(name, layout, sign, constant, registers, operands) \
  {layout, std::string_view(#sign) == "Signed", operands},
#include "guest/riscv64/isa.inc"
};

constexpr bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }
constexpr char lower(char c) { return is_capital(c) ? char(c - 'A' + 'a') : c; }

// The number of the immediate's bit that a layout names with `c`, or -1.
constexpr int immediate_bit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'V' ? c - 'A' + 10 : -1;
}

// The letter that a pattern must have where a layout has `c`; '.' where it must have a fixed or ignored bit.
constexpr char pattern_letter(char c) { return immediate_bit(c) >= 0 ? 'i' : c; }

struct Encoding {
  std::uint32_t mask = 0, match = 0, nonzero = 0;
};

consteval Encoding parse(std::string_view pattern, std::string_view layout, std::size_t width) {
  if (pattern.size() != width) throw "a pattern has not as many characters as its encoding has bits";
  Encoding encoding;
  char capital = 0;
  for (std::size_t i = 0; i < width; i++) {
    const char c = pattern[i];
    const std::uint32_t bit = 1u << (width - 1 - i);
    const bool fixed = c == '0' || c == '1';
    if ((fixed || c == '-' ? '.' : lower(c)) != pattern_letter(layout[i])) throw "a pattern does not fit its layout";
    if (fixed) encoding.mask |= bit;
    if (c == '1') encoding.match |= bit;
    if (!is_capital(c)) continue;
    if (capital != 0 && capital != c) throw "a pattern has more than one field that must not be zero";
    if (pattern.find(lower(c)) != std::string_view::npos) throw "a field must not be zero only as a whole";
    capital = c;
    encoding.nonzero |= bit;
  }
  const bool compressed = (encoding.match & 3) != 3;
  if ((encoding.mask & 3) != 3 || compressed != (width == 16)) throw "a pattern has the low bits of another length";
  return encoding;
}

consteval Row make_row(std::string_view name, std::string_view pattern, Format format, Extension extension,
                       Opcode opcode) {
  const Encoding e = parse(pattern, format_fields[std::size_t(format)].layout, 32);
  if (e.nonzero != 0) throw "capital letters are for 16-bit patterns";
  return {name, pattern, e.mask, e.match, format, extension, opcode};
}

consteval CompressedRow make_row(std::string_view name, std::string_view pattern, CFormat format, Extension extension,
                                 Opcode expands_to) {
  const Encoding e = parse(pattern, cformat_fields[std::size_t(format)].layout, 16);
  return {name,      pattern,   std::uint16_t(e.mask), std::uint16_t(e.match), std::uint16_t(e.nonzero), format,
          extension, expands_to};
}

constexpr Row row_table[] = {
#define INSN(name, pattern, format, extension) \
  make_row(#name, pattern, Format::format, Extension::extension, Opcode::name),
#include "guest/riscv64/isa.inc"
};

constexpr CompressedRow compressed_table[] = {
#define COMPRESSED(name, pattern, format, extension, expands_to) \
  make_row(#name, pattern, CFormat::format, Extension::extension, Opcode::expands_to),
#include "guest/riscv64/isa.inc"
};

static_assert(std::size(row_table) + 1 == std::size_t(Opcode::count));

// ---- How a format's operands are taken out of the encoding.

// A register field: ((bits >> shift) & mask) + base; a format without it has mask 0.
struct RegisterField {
  std::uint8_t shift = 0, mask = 0, base = 0;

  constexpr std::uint8_t of(std::uint32_t bits) const { return std::uint8_t(((bits >> shift) & mask) + base); }
};

consteval RegisterField find_field(std::string_view layout, char letter) {
  const std::size_t first = layout.find(letter);
  if (first == std::string_view::npos) return {};
  const std::size_t last = layout.rfind(letter), length = last - first + 1;
  if (std::count(layout.begin(), layout.end(), letter) != std::ptrdiff_t(length)) throw "a field is in pieces";
  // Three-bit register numbers of 16-bit encodings mean x8 to x15; rm has three bits too, but the wider encoding.
  const bool popular = layout.size() == 16 && length == 3;
  return {std::uint8_t(layout.size() - 1 - last), std::uint8_t((1 << length) - 1), std::uint8_t(popular ? 8 : 0)};
}

// The immediate is scattered over the encoding in at most eight runs of bits (c.j).
struct ImmediateField {
  struct Run {
    std::uint8_t from = 0, to = 0;
    std::uint32_t mask = 0;
  };
  std::array<Run, 8> runs{};
  std::uint8_t count = 0;
  std::uint8_t sign_shift = 0;  // 31 - the number of the sign bit, or 0
  std::int32_t constant = 0;

  constexpr std::int32_t of(std::uint32_t bits) const {
    std::uint32_t value = std::uint32_t(constant);
    for (unsigned i = 0; i < count; i++) value |= ((bits >> runs[i].from) & runs[i].mask) << runs[i].to;
    return std::int32_t(value << sign_shift) >> sign_shift;
  }
};

consteval ImmediateField find_immediate(const Fields& fields, std::int32_t constant) {
  ImmediateField field{.constant = constant};
  int top = 31, previous = -2;
  std::uint32_t seen = 0;
  for (std::size_t position = 0; position < fields.layout.size(); position++) {
    const int number = immediate_bit(fields.layout[fields.layout.size() - 1 - position]);
    if (number >= 0) {
      if (number != previous + 1 || previous < 0) {
        field.runs.at(field.count++) = {std::uint8_t(position), std::uint8_t(number), 0};
      }
      auto& mask = field.runs[field.count - 1].mask;
      mask = mask << 1 | 1;
      if ((seen >> number & 1) != 0) throw "an immediate has a bit twice";
      seen |= 1u << number;
    }
    previous = number;
  }
  while (top > 0 && (seen >> top & 1) == 0) top--;
  if (fields.is_signed) field.sign_shift = std::uint8_t(31 - top);
  return field;
}

struct Operands {
  RegisterField rd, rs1, rs2, rs3, rm, aqrl;
  ImmediateField immediate;
};

consteval Operands operands_of(const Fields& fields) {
  if (fields.layout.size() != 32) throw "the layout of a 32-bit format has not 32 characters";
  Operands operands{.rd = find_field(fields.layout, 'd'),
                    .rs1 = find_field(fields.layout, 's'),
                    .rs2 = find_field(fields.layout, 't'),
                    .rs3 = find_field(fields.layout, 'u'),
                    .rm = find_field(fields.layout, 'm'),
                    .aqrl = find_field(fields.layout, 'l'),
                    .immediate = find_immediate(fields, 0)};
  const RegisterField acquire = find_field(fields.layout, 'a');
  if (acquire.mask != operands.aqrl.mask) throw "acquire and release come together";
  if (acquire.mask != 0) operands.aqrl.mask = 3;
  return operands;
}

// What a COMPRESSED format's `registers` says about one register: a field's letter or a register number.
consteval RegisterField expansion_register(std::string_view layout, char source) {
  if (source >= '0' && source <= '9') return {.base = std::uint8_t(source - '0')};
  const RegisterField field = find_field(layout, source);
  if (field.mask == 0) throw "an expansion takes a register from a field that its layout does not have";
  return field;
}

consteval Operands operands_of(const Fields& fields, std::int32_t constant, std::string_view registers) {
  if (fields.layout.size() != 16) throw "the layout of a 16-bit format has not 16 characters";
  if (registers.size() != 3) throw "an expansion has three registers";
  return {.rd = expansion_register(fields.layout, registers[0]),
          .rs1 = expansion_register(fields.layout, registers[1]),
          .rs2 = expansion_register(fields.layout, registers[2]),
          .rs3 = {},
          .rm = {},
          .aqrl = {},
          .immediate = find_immediate(fields, constant)};
}

constexpr Operands format_operands[] = {
#define FORMAT(name, ...) operands_of(format_fields[std::size_t(Format::name)]),
#include "guest/riscv64/isa.inc"
};

constexpr Operands cformat_operands[] = {
#define CFORMAT(name, layout, sign, constant, registers, operands) \
  operands_of(cformat_fields[std::size_t(CFormat::name)], constant, registers),
#include "guest/riscv64/isa.inc"
};

Instruction extract(Opcode op, std::uint32_t bits, std::uint8_t length, const Operands& operands) {
  return {.op = op,
          .length = length,
          .rd = operands.rd.of(bits),
          .rs1 = operands.rs1.of(bits),
          .rs2 = operands.rs2.of(bits),
          .rs3 = operands.rs3.of(bits),
          .rm = operands.rm.of(bits),
          .aqrl = operands.aqrl.of(bits),
          .imm = operands.immediate.of(bits),
          .bits = bits};
}

// ---- Finding the row.

// Calls visit(value) for every value whose bits outside `free` are those of `base`.
template <typename Visit>
void for_each_value(std::uint32_t base, std::uint32_t free, Visit visit) {
  std::uint32_t subset = 0;
  do {
    visit(base | subset);
    subset = (subset - free) & free;
  } while (subset != 0);
}

// 32-bit rows, found by the bits that tell most of them apart: major opcode, funct3 and funct7. Each of the 32,768
// values has a chain of the rows that it leaves possible, in the table's order; chains share their tails, so there are
// few nodes.
class RowIndex {
 public:
  RowIndex() {
    nodes_.push_back({0, 0, 0, 0});  // ends every chain: matches everything, is no row
    for (std::size_t row = std::size(row_table); row-- > 0;) insert(std::uint16_t(row));
  }

  // The index of the row, plus 1; 0 where there is none.
  unsigned find(std::uint32_t bits) const {
    const Node* node = &nodes_[first_[key(bits)]];
    while ((bits & node->mask) != node->match) node = &nodes_[node->next];
    return node->row;
  }

 private:
  struct Node {
    std::uint32_t mask, match;
    std::uint16_t row, next;
  };

  static constexpr std::uint32_t key(std::uint32_t bits) {
    return (bits >> 25) << 8 | (bits >> 12 & 7) << 5 | (bits >> 2 & 31);
  }

  void insert(std::uint16_t row) {
    const std::uint32_t mask = row_table[row].mask, match = row_table[row].match;
    const std::size_t own = nodes_.size();
    for_each_value(key(match), ~key(mask) & 0x7fff, [&](std::uint32_t value) {
      const std::uint16_t next = first_[value];
      std::size_t node = own;
      while (node < nodes_.size() && nodes_[node].next != next) node++;
      if (node == nodes_.size()) nodes_.push_back({mask, match, std::uint16_t(row + 1), next});
      first_[value] = std::uint16_t(node);
    });
  }

  std::array<std::uint16_t, 1 << 15> first_{};
  std::vector<Node> nodes_;
};

// 16-bit rows: the index of the row, plus 1, for each value.
class CompressedIndex {
 public:
  CompressedIndex() {
    static_assert(std::size(compressed_table) < 256);
    for (std::size_t row = std::size(compressed_table); row-- > 0;) {
      const CompressedRow& r = compressed_table[row];
      for_each_value(r.match, std::uint16_t(~r.mask), [&](std::uint32_t value) {
        if (r.matches(std::uint16_t(value))) rows_[value] = std::uint8_t(row + 1);
      });
    }
  }

  unsigned find(std::uint16_t bits) const { return rows_[bits]; }

 private:
  std::array<std::uint8_t, 1 << 16> rows_{};
};

const RowIndex& row_index() {
  static const RowIndex index;
  return index;
}

const CompressedIndex& compressed_index() {
  static const CompressedIndex index;
  return index;
}

}  // namespace

std::span<const Row> rows() { return row_table; }
std::span<const CompressedRow> compressed_rows() { return compressed_table; }

const Fields& fields(Format format) { return format_fields[std::size_t(format)]; }
const Fields& fields(CFormat format) { return cformat_fields[std::size_t(format)]; }

const Row* find_row(std::uint32_t bits) {
  const unsigned index = instruction_length(bits) == 4 ? row_index().find(bits) : 0;
  return index == 0 ? nullptr : &row_table[index - 1];
}

const CompressedRow* find_compressed_row(std::uint16_t bits) {
  const unsigned index = compressed_index().find(bits);
  return index == 0 ? nullptr : &compressed_table[index - 1];
}

Instruction decode(std::uint32_t bits) {
  if (instruction_length(bits) == 4) {
    const Row* row = find_row(bits);
    if (row == nullptr) return {.op = Opcode::illegal, .length = 4, .bits = bits};
    return extract(row->opcode, bits, 4, format_operands[std::size_t(row->format)]);
  }
  bits &= 0xffff;
  const CompressedRow* row = find_compressed_row(std::uint16_t(bits));
  if (row == nullptr) return {.op = Opcode::illegal, .length = 2, .bits = bits};
  return extract(row->expands_to, bits, 2, cformat_operands[std::size_t(row->format)]);
}

}  // namespace doppel::riscv64
