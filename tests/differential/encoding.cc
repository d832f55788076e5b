#include "encoding.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <unordered_map>
#include <utility>

namespace doppel::differential {

namespace {

using riscv64::CFormat;
using riscv64::Extension;
using riscv64::Format;

struct Shape {
  std::string_view layout;
  bool is_signed;
};

constexpr bool Signed = true, Unsigned = false;
constexpr Shape shapes[] = {
#define FORMAT(name, layout, sign, ...) {layout, sign},
#include "guest/riscv64/isa.inc"
};
constexpr Shape compressed_shapes[] = {
#define CFORMAT(name, layout, sign, ...) {layout, sign},
#include "guest/riscv64/isa.inc"
};

Kind kind_of(Format format) {
  switch (format) {
    case Format::Load:
    case Format::Store:
    case Format::FpLoad:
    case Format::FpStore:
    case Format::Prefetch:
      return Kind::memory;
    case Format::Cbo:
      return Kind::cache_block;
    case Format::Amo:
      return Kind::atomic;
    case Format::Lr:
      return Kind::reserve;
    case Format::B:
      return Kind::branch;
    case Format::J:
      return Kind::jump;
    case Format::Jalr:
      return Kind::jump_register;
    case Format::Csr:
    case Format::CsrI:
      return Kind::csr;
    case Format::FpR:
    case Format::FpRm:
    case Format::FpR4:
    case Format::FpUnary:
    case Format::FpWiden:
    case Format::FpCompare:
    case Format::FpToX:
    case Format::FpToInt:
    case Format::FpToIntRtz:
      return Kind::floating;
    default:
      return Kind::plain;
  }
}

Kind kind_of(CFormat format) {
  switch (format) {
    case CFormat::CB:
      return Kind::branch;
    case CFormat::CJ:
      return Kind::jump;
    case CFormat::CJr:
    case CFormat::CJalr:
      return Kind::jump_register;
    default:
      return format >= CFormat::CLwsp && format <= CFormat::CSh ? Kind::memory : Kind::plain;
  }
}

bool left_out(const Row& row) {
  return row.extension == Extension::Privileged || row.extension == Extension::Svinval || row.name == "ecall" ||
         row.name == "ebreak" || row.name == "c_ebreak";
}

/// The bit of an encoding that the pattern's character at `place` stands for.
std::uint32_t bit_at(const Row& row, std::size_t place) { return 1U << (row.pattern.size() - 1 - place); }

/// Which bit of the immediate a layout's character stands for.
unsigned immediate_number(char c) { return unsigned(c <= '9' ? c - '0' : c - 'A' + 10); }

Row finish(Row row) {
  for (std::size_t place = 0; place < row.pattern.size(); place++) {
    const char c = row.pattern[place];
    const std::uint32_t bit = bit_at(row, place);
    if (c == '0' || c == '1') row.mask |= bit;
    if (c == '1') row.match |= bit;
    if (std::isalpha(c)) row.fields[std::size_t(std::tolower(c) - 'a')] |= bit;
    if (c == 'i' || c == 'I') row.immediate.push_back({immediate_number(row.layout[place]), bit});
    if (c == '-') row.ignored |= bit;
  }
  for (char letter = 'A'; letter <= 'Z'; letter++)
    if (row.pattern.find(letter) != row.pattern.npos) row.not_zero.push_back(row.field(char(std::tolower(letter))));
  if (row.name.starts_with("sc_")) row.kind = Kind::conditional;
  if (left_out(row)) row.kind = Kind::left_out;
  return row;
}

std::vector<Row> make_rows() {
  std::vector<Row> list;
  auto add = [&](std::string_view name, std::string_view pattern, Shape shape, Extension extension, Kind kind) {
    Row row{};
    row.name = name, row.pattern = pattern, row.layout = shape.layout, row.is_signed = shape.is_signed;
    row.extension = extension, row.kind = kind;
    list.push_back(finish(std::move(row)));
  };
#define INSN(name, pattern, format, extension) \
  add(#name, pattern, shapes[std::size_t(Format::format)], Extension::extension, kind_of(Format::format));
#define COMPRESSED(name, pattern, format, extension, ...) \
  add(#name, pattern, compressed_shapes[std::size_t(CFormat::format)], Extension::extension, kind_of(CFormat::format));
#include "guest/riscv64/isa.inc"
  return list;
}

std::uint32_t place_register(const Row& row, char letter, unsigned number) {
  const std::uint32_t field = row.field(letter);
  return field == 0 ? 0 : ((row.short_field(letter) ? number - 8 : number) << std::countr_zero(field)) & field;
}

bool matches(const Row& row, std::uint32_t bits) {
  if ((bits & row.mask) != row.match) return false;
  for (auto field : row.not_zero)
    if ((bits & field) == 0) return false;
  return true;
}

/// Bits that every row fixes: the opcode, or quadrant and funct3 of 16-bit instructions.
std::size_t key_of(std::uint32_t bits) { return (bits & 3) == 3 ? bits & 127 : (bits & 3) | (bits >> 13 & 7) << 2; }

}  // namespace

bool Row::short_field(char letter) const { return letter != 'm' && std::popcount(field(letter)) == 3; }

std::span<const Row> rows() {
  static const std::vector<Row> list = make_rows();
  return list;
}

const Row& row_named(std::string_view name) {
  static const auto by_name = [] {
    std::unordered_map<std::string_view, const Row*> map;
    for (const auto& row : rows()) map[row.name] = &row;
    return map;
  }();
  return *by_name.at(name);
}

std::optional<std::uint32_t> encode(const Row& row, const Fields& fields) {
  if (!row.immediate.empty() && immediate_from(row, std::uint64_t(fields.i)) != fields.i) return std::nullopt;
  std::uint32_t bits = row.match | (fields.ignored & row.ignored);
  for (auto [letter, value] : {std::pair('d', fields.d),
                               {'s', fields.s},
                               {'t', fields.t},
                               {'u', fields.u},
                               {'m', fields.m},
                               {'a', fields.a},
                               {'l', fields.l}})
    bits |= place_register(row, letter, value);
  for (auto [number, bit] : row.immediate)
    if (fields.i >> number & 1) bits |= bit;
  return row_of(bits) == &row ? std::optional(bits) : std::nullopt;
}

const Row* row_of(std::uint32_t bits) {
  static const auto by_key = [] {
    std::array<std::vector<const Row*>, 128> map;
    for (const auto& row : rows()) map[key_of(row.match)].push_back(&row);
    return map;
  }();
  for (const auto* row : by_key[key_of(bits)])
    if (matches(*row, row->compressed() ? bits & 0xffff : bits)) return row;
  return nullptr;
}

std::int64_t immediate_from(const Row& row, std::uint64_t random) {
  std::uint64_t value = 0;
  unsigned top = 0;
  for (auto [number, bit] : row.immediate) {
    value |= random & 1ULL << number;
    top = std::max(top, number);
  }
  if (row.is_signed && !row.immediate.empty() && (value >> top & 1)) value |= ~0ULL << top;
  return std::int64_t(value);
}

}  // namespace doppel::differential
