#pragma once
// Encodings made from the instruction table: random ones of a row, and the way back from a decoded instruction.
#include <cstdint>
#include <random>
#include <string_view>

#include "guest/riscv64/decode.h"

namespace doppel::riscv64 {

/// A random encoding of a row: its fixed bits, random fields, zeros where bits are ignored.
template <typename AnyRow>
std::uint32_t random_encoding(const AnyRow& row, std::mt19937_64& random) {
  std::uint32_t bits = row.match;
  for (std::size_t i = 0; i < row.pattern.size(); i++) {
    const char c = row.pattern[row.pattern.size() - 1 - i];
    if (c != '0' && c != '1' && c != '-') bits |= std::uint32_t(random() & 1) << i;
  }
  return bits;
}

inline std::uint32_t field_value(const Instruction& in, char letter) {
  switch (letter) {
    case 'd':
      return in.rd;
    case 's':
      return in.rs1;
    case 't':
      return in.rs2;
    case 'u':
      return in.rs3;
    case 'm':
      return in.rm;
    case 'a':
      return in.aqrl >> 1;
    case 'l':
      return in.aqrl & 1;
    default:
      return 0;
  }
}

/// The 32-bit encoding with an instruction's operation and operands, written independently of decode: bit by bit from
/// the layout's text. Ignored bits are 0.
inline std::uint32_t encode(const Instruction& in) {
  const Row& row = rows()[std::size_t(in.op) - 1];
  const std::string_view layout = fields(row.format).layout;
  std::uint32_t bits = row.match;
  for (std::size_t i = 0; i < 32; i++) {
    const char c = layout[31 - i];
    const std::size_t lowest = 31 - layout.rfind(c);
    if (c >= '0' && c <= '9') {
      bits |= (std::uint32_t(in.imm) >> (c - '0') & 1) << i;
    } else if (c >= 'A' && c <= 'V') {
      bits |= (std::uint32_t(in.imm) >> (c - 'A' + 10) & 1) << i;
    } else if (c != '.') {
      bits |= (field_value(in, c) >> (i - lowest) & 1) << i;
    }
  }
  return bits;
}

}  // namespace doppel::riscv64
