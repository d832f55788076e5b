// The decoder and the disassembler on any bits: what they say must be what the table says, and must fit together.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/disassemble.h"

namespace doppel::riscv64 {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

Opcode opcode_by_table(std::uint32_t bits) {
  if (instruction_length(bits) == 4) {
    for (const Row& row : rows()) {
      if (row.matches(bits)) return row.opcode;
    }
    return Opcode::illegal;
  }
  for (const CompressedRow& row : compressed_rows()) {
    if (row.matches(std::uint16_t(bits))) return row.expands_to;
  }
  return Opcode::illegal;
}

void check(std::uint32_t bits, std::uint64_t pc) {
  const Instruction in = decode(bits);
  const unsigned length = instruction_length(bits);
  require(in.length == length && in.bits == (length == 4 ? bits : bits & 0xffff));
  require(in.op == opcode_by_table(bits) && in.op < Opcode::count);
  require(in.rd < 32 && in.rs1 < 32 && in.rs2 < 32 && in.rs3 < 32 && in.rm < 8 && in.aqrl < 4);
  // Code that runs off an illegal instruction must not find operands in it.
  require(in.op != Opcode::illegal || (in.rd | in.rs1 | in.rs2 | in.rs3 | in.rm | in.aqrl | in.imm) == 0);
  const std::string text = disassemble(bits, pc);
  require(!text.empty() && text.size() < 80 && text.back() != '\t' && text.back() != ',');
  require((in.op == Opcode::illegal) == (text.front() == '.' || text == "c.unimp"));
}

}  // namespace
}  // namespace doppel::riscv64

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint64_t pc = 0;
  while (size >= 4) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, data, sizeof bits);
    doppel::riscv64::check(bits, pc);
    pc = pc * 0x9e3779b97f4a7c15 + bits;  // addresses from all over
    data += sizeof bits;
    size -= sizeof bits;
  }
  return 0;
}
