#pragma once
// A decoded RISC-V instruction, and the names that isa.inc gives to instructions, formats and extensions.
#include <cstdint>

namespace doppel::riscv64 {

/// Every 32-bit instruction of isa.inc in its order; 16-bit ones have none, they decode to what they expand to.
enum class Opcode : std::uint16_t {
  illegal,
#define INSN(name, pattern, format, extension) name,
#include "guest/riscv64/isa.inc"
  count
};

/// The extension that a row belongs to. More will come (V, H, Zacas, Zabha, ...): compare by name, not by number.
enum class Extension : std::uint8_t {
#define EXTENSION(name) name,
#include "guest/riscv64/isa.inc"
};

/// Which fields a 32-bit encoding has.
enum class Format : std::uint8_t {
#define FORMAT(name, ...) name,
#include "guest/riscv64/isa.inc"
};

/// Which fields a 16-bit encoding has.
enum class CFormat : std::uint8_t {
#define CFORMAT(name, ...) name,
#include "guest/riscv64/isa.inc"
};

/// One instruction with its operands taken apart. Fields that the instruction does not have are 0.
struct Instruction {
  Opcode op = Opcode::illegal;
  std::uint8_t length = 2;  ///< bytes: 2 or 4, also where op is illegal
  std::uint8_t rd = 0;      ///< x or f register number
  std::uint8_t rs1 =
      0;  ///< register number; CSR instructions with an immediate: that immediate; fli: the constant's number
  std::uint8_t rs2 = 0;
  std::uint8_t rs3 = 0;
  std::uint8_t rm = 0;    ///< rounding mode as encoded: 7 is dynamic, 5 and 6 are reserved (not checked here)
  std::uint8_t aqrl = 0;  ///< bit 1 acquire, bit 0 release
  /// The immediate, sign-extended where the manual says so: the shifted value of lui and auipc, the byte offset of
  /// branches, jumps, loads and stores, the amount of shifts and single-bit instructions, the number of the CSR
  /// (unsigned), fm, pred and succ of fence, the N of mop.r.N and mop.rr.N.
  std::int32_t imm = 0;
  std::uint32_t bits = 0;  ///< the encoding; the upper half is 0 where length is 2

  bool operator==(const Instruction&) const = default;
};

}  // namespace doppel::riscv64
