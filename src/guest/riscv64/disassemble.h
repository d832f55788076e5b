#pragma once
// Instructions as text, in the style of binutils.
#include <cstdint>
#include <string>
#include <string_view>

#include "guest/riscv64/instruction.h"

namespace doppel::riscv64 {

/// The instruction in `bits` (as for decode) at address `pc` as `objdump -M no-aliases` writes it: the mnemonic, a tab
/// where operands follow, ABI register names, absolute targets of branches and jumps. 16-bit instructions keep their
/// own names. What is illegal becomes ".4byte 0x..." or ".2byte 0x...", and 0, which is defined to be illegal,
/// "c.unimp".
std::string disassemble(std::uint32_t bits, std::uint64_t pc);

/// The manual's spelling of a name of isa.inc: amoadd_w becomes amoadd.w, and_ becomes and.
std::string mnemonic(std::string_view name);

/// The manual's spelling of an opcode; "illegal" for Opcode::illegal.
std::string mnemonic(Opcode op);

/// The name of x or f register `number` (0 to 31) in the calling convention.
std::string_view x_name(unsigned number);
std::string_view f_name(unsigned number);

/// The name of a CSR of the machines that there are, or its number as 0x...
std::string csr_name(unsigned number);

}  // namespace doppel::riscv64
