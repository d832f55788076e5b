#include "guest/riscv64/disassemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>

#include "guest/riscv64/decode.h"

namespace doppel::riscv64 {
namespace {

constexpr std::string_view x_names[] = {"zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2", "s0", "s1", "a0",
                                        "a1",   "a2", "a3", "a4", "a5",  "a6",  "a7", "s2", "s3", "s4", "s5",
                                        "s6",   "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
constexpr std::string_view f_names[] = {"ft0", "ft1", "ft2", "ft3", "ft4",  "ft5",  "ft6", "ft7", "fs0",  "fs1", "fa0",
                                        "fa1", "fa2", "fa3", "fa4", "fa5",  "fa6",  "fa7", "fs2", "fs3",  "fs4", "fs5",
                                        "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};
constexpr std::string_view rounding_modes[] = {"rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"};

// What fli.s and fli.d load (the table of the Zfa chapter); 1 is the smallest normal number of the format.
constexpr float fli_constants[] = {-1.0f, 0,       0x1p-16f, 0x1p-15f, 0x1p-8f, 0x1p-7f, 0.0625f, 0.125f,
                                   0.25f, 0.3125f, 0.375f,   0.4375f,  0.5f,    0.625f,  0.75f,   0.875f,
                                   1.0f,  1.25f,   1.5f,     1.75f,    2.0f,    2.5f,    3.0f,    4.0f,
                                   8.0f,  16.0f,   128.0f,   256.0f,   0x1p15f, 0x1p16f};

// A CSR, or `count` of them that are numbered from `index` on. Privileged ISA 2.2, in the order of the numbers.
struct CsrName {
  std::uint16_t number;
  std::string_view name;
  std::uint16_t count = 0, index = 0;
};

constexpr CsrName csr_names[] = {
    {0x001, "fflags"},
    {0x002, "frm"},
    {0x003, "fcsr"},
    {0x100, "sstatus"},
    {0x104, "sie"},
    {0x105, "stvec"},
    {0x106, "scounteren"},
    {0x10a, "senvcfg"},
    {0x140, "sscratch"},
    {0x141, "sepc"},
    {0x142, "scause"},
    {0x143, "stval"},
    {0x144, "sip"},
    {0x14d, "stimecmp"},
    {0x180, "satp"},
    {0x300, "mstatus"},
    {0x301, "misa"},
    {0x302, "medeleg"},
    {0x303, "mideleg"},
    {0x304, "mie"},
    {0x305, "mtvec"},
    {0x306, "mcounteren"},
    {0x30a, "menvcfg"},
    {0x320, "mcountinhibit"},
    {0x323, "mhpmevent", 29, 3},
    {0x340, "mscratch"},
    {0x341, "mepc"},
    {0x342, "mcause"},
    {0x343, "mtval"},
    {0x344, "mip"},
    {0x3a0, "pmpcfg", 16, 0},
    {0x3b0, "pmpaddr", 64, 0},
    {0x747, "mseccfg"},
    {0x7a0, "tselect"},
    {0x7a1, "tdata1"},
    {0x7a2, "tdata2"},
    {0x7a3, "tdata3"},
    {0xb00, "mcycle"},
    {0xb02, "minstret"},
    {0xb03, "mhpmcounter", 29, 3},
    {0xc00, "cycle"},
    {0xc01, "time"},
    {0xc02, "instret"},
    {0xc03, "hpmcounter", 29, 3},
    {0xf11, "mvendorid"},
    {0xf12, "marchid"},
    {0xf13, "mimpid"},
    {0xf14, "mhartid"},
    {0xf15, "mconfigptr"},
};
static_assert(std::ranges::is_sorted(csr_names, {}, &CsrName::number));

std::string fli_constant(unsigned number) {
  if (number == 1) return "min";
  if (number >= std::size(fli_constants)) return number == 30 ? "inf" : "nan";
  return fmt::format("{:a}", fli_constants[number]);
}

// One of the two sets of a fence: bit 3 is i, 2 o, 1 r, 0 w. The empty set has no spelling.
std::string fence_set(unsigned set) {
  std::string text;
  for (int bit = 3; bit >= 0; bit--) {
    if ((set >> bit & 1) != 0) text += "wroi"[bit];
  }
  return text.empty() ? "unknown" : text;
}

std::string branch_target(const Instruction& in, std::uint64_t pc) {
  return fmt::format("{:#x}", pc + std::uint64_t(std::int64_t(in.imm)));
}

// What one letter of a format's `operands` stands for. Characters that are not here are themselves.
struct OperandLetter {
  char letter;
  std::string (*text)(const Instruction& in, std::uint64_t pc);
};

constexpr OperandLetter operand_letters[] = {
    {'d', [](const Instruction& in, std::uint64_t) { return std::string(x_name(in.rd)); }},
    {'s', [](const Instruction& in, std::uint64_t) { return std::string(x_name(in.rs1)); }},
    {'t', [](const Instruction& in, std::uint64_t) { return std::string(x_name(in.rs2)); }},
    {'D', [](const Instruction& in, std::uint64_t) { return std::string(f_name(in.rd)); }},
    {'S', [](const Instruction& in, std::uint64_t) { return std::string(f_name(in.rs1)); }},
    {'T', [](const Instruction& in, std::uint64_t) { return std::string(f_name(in.rs2)); }},
    {'U', [](const Instruction& in, std::uint64_t) { return std::string(f_name(in.rs3)); }},
    {'2', [](const Instruction&, std::uint64_t) { return std::string("sp"); }},
    // Immediates: decimal, hexadecimal, upper 20 bits, branch target, CSR, the immediate of csrrwi and its like.
    {'i', [](const Instruction& in, std::uint64_t) { return fmt::format("{}", in.imm); }},
    {'x', [](const Instruction& in, std::uint64_t) { return fmt::format("{:#x}", in.imm); }},
    {'h', [](const Instruction& in, std::uint64_t) { return fmt::format("{:#x}", std::uint32_t(in.imm) >> 12); }},
    {'p', branch_target},
    {'c', [](const Instruction& in, std::uint64_t) { return csr_name(unsigned(in.imm)); }},
    {'z', [](const Instruction& in, std::uint64_t) { return fmt::format("{}", in.rs1); }},
    // The number of a hint that c.nop may carry, and of a fli constant.
    {'n', [](const Instruction& in, std::uint64_t) { return in.imm == 0 ? "" : fmt::format("{}", in.imm); }},
    {'v', [](const Instruction& in, std::uint64_t) { return fli_constant(in.rs1); }},
    {'f', [](const Instruction& in,
             std::uint64_t) { return fence_set(unsigned(in.imm) >> 4 & 15) + "," + fence_set(unsigned(in.imm) & 15); }},
    // Rounding modes: unless dynamic, unless to nearest, always rtz.
    {'m',
     [](const Instruction& in, std::uint64_t) { return in.rm == 7 ? "" : fmt::format(",{}", rounding_modes[in.rm]); }},
    {'w',
     [](const Instruction& in, std::uint64_t) { return in.rm == 0 ? "" : fmt::format(",{}", rounding_modes[in.rm]); }},
    {'r', [](const Instruction&, std::uint64_t) { return std::string("rtz"); }},
};

std::string operands_text(std::string_view operands, const Instruction& in, std::uint64_t pc) {
  std::string text;
  for (const char c : operands) {
    const auto* known = std::ranges::find(operand_letters, c, &OperandLetter::letter);
    if (known == std::end(operand_letters)) {
      text += c;
    } else {
      text += known->text(in, pc);
    }
  }
  return text;
}

// '#' before the operands: the immediate is a part of the mnemonic, as in mop.r.7.
std::string instruction_text(std::string_view name, std::string_view operands, const Instruction& in,
                             std::uint64_t pc) {
  static constexpr std::string_view ordering[] = {"", ".rl", ".aq", ".aqrl"};
  std::string text = mnemonic(name);
  text += ordering[in.aqrl];
  if (operands.starts_with('#')) {
    text += fmt::format(".{}", in.imm);
    operands.remove_prefix(1);
  }
  const std::string rest = operands_text(operands, in, pc);
  return rest.empty() ? text : text + '\t' + rest;
}

}  // namespace

std::string_view x_name(unsigned number) { return x_names[number % 32]; }
std::string_view f_name(unsigned number) { return f_names[number % 32]; }

std::string csr_name(unsigned number) {
  const auto* after = std::ranges::upper_bound(csr_names, number, {}, &CsrName::number);
  if (after != std::begin(csr_names)) {
    const CsrName& csr = *std::prev(after);
    const unsigned offset = number - csr.number;
    if (csr.count == 0 && offset == 0) return std::string(csr.name);
    if (offset < csr.count) return fmt::format("{}{}", csr.name, csr.index + offset);
  }
  return fmt::format("{:#x}", number);
}

std::string mnemonic(std::string_view name) {
  if (name.ends_with('_')) name.remove_suffix(1);
  std::string text(name);
  std::ranges::replace(text, '_', '.');
  return text;
}

std::string mnemonic(Opcode op) {
  const std::size_t number = std::size_t(op);
  return number == 0 || number > rows().size() ? "illegal" : mnemonic(rows()[number - 1].name);
}

std::string disassemble(std::uint32_t bits, std::uint64_t pc) {
  const Instruction in = decode(bits);
  if (in.op == Opcode::illegal) {
    if (in.bits == 0) return "c.unimp";
    return fmt::format(".{}byte\t{:#x}", in.length, in.bits);
  }
  if (in.length == 4) {
    const Row& row = rows()[std::size_t(in.op) - 1];
    return instruction_text(row.name, fields(row.format).operands, in, pc);
  }
  const CompressedRow& row = *find_compressed_row(std::uint16_t(in.bits));
  return instruction_text(row.name, fields(row.format).operands, in, pc);
}

}  // namespace doppel::riscv64
