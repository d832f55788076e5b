#pragma once
// From encodings to instructions, and the instruction table for those who generate or check encodings.
#include <cstdint>
#include <span>
#include <string_view>

#include "guest/riscv64/instruction.h"

namespace doppel::riscv64 {

/// Decodes the instruction in `bits`. Of an encoding whose two low bits are not 11 only the low half is looked at. An
/// encoding that no row of isa.inc matches, reserved ones included, gives Opcode::illegal. Safe from any thread.
Instruction decode(std::uint32_t bits);

/// Bytes of the instruction that begins with these bits: 2 or 4. Longer encodings do not exist yet (Unprivileged
/// ISA 1.5).
constexpr unsigned instruction_length(std::uint32_t bits) { return (bits & 3) == 3 ? 4 : 2; }

/// A 32-bit instruction as isa.inc has it.
struct Row {
  std::string_view name;     ///< as in isa.inc; mnemonic() in disassemble.h makes the manual's spelling of it
  std::string_view pattern;  ///< 32 characters, bit 31 first
  std::uint32_t mask;        ///< the bits that are fixed
  std::uint32_t match;       ///< their values
  Format format;
  Extension extension;
  Opcode opcode;

  constexpr bool matches(std::uint32_t bits) const { return (bits & mask) == match; }
};

/// A 16-bit instruction as isa.inc has it.
struct CompressedRow {
  std::string_view name;
  std::string_view pattern;  ///< 16 characters, bit 15 first
  std::uint16_t mask;
  std::uint16_t match;
  std::uint16_t nonzero;  ///< a field that must not be 0, or no bits
  CFormat format;
  Extension extension;
  Opcode expands_to;

  constexpr bool matches(std::uint16_t bits) const {
    return (bits & mask) == match && (nonzero == 0 || (bits & nonzero) != 0);
  }
};

/// Where a format has its fields, as isa.inc writes it.
struct Fields {
  std::string_view layout;
  bool is_signed;             ///< whether the immediate is
  std::string_view operands;  ///< what the disassembler prints
};

/// All rows in the order of isa.inc, which is also the order of Opcode: rows()[0] is Opcode 1.
std::span<const Row> rows();
std::span<const CompressedRow> compressed_rows();

const Fields& fields(Format format);
const Fields& fields(CFormat format);

/// The row that an encoding is decoded by, or nullptr where it is illegal (or of the other length).
const Row* find_row(std::uint32_t bits);
const CompressedRow* find_compressed_row(std::uint16_t bits);

}  // namespace doppel::riscv64
