#include "guest/riscv64/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "guest/riscv64/disassemble.h"
#include "unit/guest/riscv64/encoding.h"
#include "unit/guest/riscv64/objdump.h"

namespace doppel::riscv64 {
namespace {

constexpr std::uint64_t seed = 20240411;

std::string describe(const Instruction& in) {
  return fmt::format("{} length {} rd {} rs1 {} rs2 {} rs3 {} rm {} aqrl {} imm {} bits {:#x}", mnemonic(in.op),
                     in.length, in.rd, in.rs1, in.rs2, in.rs3, in.rm, in.aqrl, in.imm, in.bits);
}

const Row* first_match(std::uint32_t bits) {
  const auto row = std::ranges::find_if(rows(), [&](const Row& r) { return r.matches(bits); });
  return row == rows().end() ? nullptr : &*row;
}

const CompressedRow* first_compressed_match(std::uint16_t bits) {
  const auto table = compressed_rows();
  const auto row = std::ranges::find_if(table, [&](const CompressedRow& r) { return r.matches(bits); });
  return row == table.end() ? nullptr : &*row;
}

// A machine that says it has an extension must decode all of it; the numbers are counted from the manual's lists.
TEST(InstructionTable, HasEveryInstructionOfEachExtension) {
  std::map<Extension, int> count;
  for (const Row& row : rows()) count[row.extension]++;
  const std::map<Extension, int> expected = {
      {Extension::I, 53},         {Extension::Zifencei, 1}, {Extension::Zicsr, 6},       {Extension::M, 13},
      {Extension::A, 22},         {Extension::F, 30},       {Extension::D, 32},          {Extension::Zfhmin, 8},
      {Extension::Zfa, 15},       {Extension::Zba, 8},      {Extension::Zbb, 24},        {Extension::Zbc, 3},
      {Extension::Zbs, 8},        {Extension::Zbkb, 4},     {Extension::Zbkx, 2},        {Extension::Zicond, 2},
      {Extension::Zicbom, 3},     {Extension::Zicbop, 3},   {Extension::Zicboz, 1},      {Extension::Zawrs, 2},
      {Extension::Zimop, 2},      {Extension::Svinval, 3},  {Extension::Zihintpause, 1}, {Extension::Zihintntl, 4},
      {Extension::Privileged, 4},
  };
  EXPECT_EQ(count, expected);
}

// An encoding that two rows claim runs as whichever stands first: one moved line would silently change an instruction.
TEST(InstructionTable, RowsOverlapOnlyWhereDocumented) {
  std::set<std::pair<std::string, std::string>> overlaps;
  for (const Row& a : rows()) {
    for (const Row& b : rows().subspan(std::size_t(a.opcode))) {
      if (((a.match ^ b.match) & a.mask & b.mask) == 0) overlaps.emplace(a.name, b.name);
    }
  }
  const std::set<std::pair<std::string, std::string>> documented = {
      {"prefetch_i", "ori"}, {"prefetch_r", "ori"}, {"prefetch_w", "ori"}, {"ntl_p1", "add"},      {"ntl_pall", "add"},
      {"ntl_s1", "add"},     {"ntl_all", "add"},    {"pause", "fence"},    {"fence_tso", "fence"}, {"zext_h", "packw"},
  };
  EXPECT_EQ(overlaps, documented);
}

TEST(InstructionTable, CompressedRowsOverlapOnlyWhereDocumented) {
  std::set<std::pair<std::string, std::string>> overlaps;
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    const CompressedRow* first = first_compressed_match(std::uint16_t(bits));
    for (const CompressedRow& row : compressed_rows()) {
      if (&row != first && row.matches(std::uint16_t(bits))) overlaps.emplace(first->name, row.name);
    }
  }
  const std::set<std::pair<std::string, std::string>> documented = {
      {"c_nop", "c_addi"},     {"c_addi16sp", "c_lui"}, {"c_ntl_p1", "c_add"},
      {"c_ntl_pall", "c_add"}, {"c_ntl_s1", "c_add"},   {"c_ntl_all", "c_add"},
  };
  EXPECT_EQ(overlaps, documented);
}

// The index is only a faster way to read the table from the top.
TEST(Decode, FindsTheFirstRowThatMatches) {
  std::mt19937_64 random(seed);
  const auto check = [](std::uint32_t bits) { ASSERT_EQ(find_row(bits), first_match(bits)) << std::hex << bits; };
  for (const Row& row : rows()) {
    for (int i = 0; i < 200; i++) {
      const std::uint32_t bits = random_encoding(row, random);
      check(bits);
      check(bits ^ 1u << (2 + random() % 30));  // a neighbour, often reserved
    }
  }
  for (int i = 0; i < 200'000; i++) check(std::uint32_t(random()) | 3);
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    ASSERT_EQ(find_compressed_row(std::uint16_t(bits)), first_compressed_match(std::uint16_t(bits)))
        << std::hex << bits;
  }
}

// No operand bit is lost or put in the wrong place: what was decoded can be encoded again.
TEST(Decode, KeepsEveryOperandOfEveryRow) {
  std::mt19937_64 random(seed);
  for (const Row& row : rows()) {
    for (int i = 0; i < 500; i++) {
      const std::uint32_t bits = random_encoding(row, random);
      const Instruction in = decode(bits);
      ASSERT_NE(in.op, Opcode::illegal) << row.name;
      ASSERT_EQ(in.length, 4) << row.name;
      ASSERT_EQ(in.bits, bits) << row.name;
      ASSERT_EQ(encode(in), bits) << row.name;
    }
  }
}

struct Expected {
  std::uint32_t bits;
  Instruction in;
};

void expect_decoded(const std::vector<Expected>& cases) {
  for (Expected c : cases) {
    c.in.bits = c.bits;
    EXPECT_EQ(decode(c.bits), c.in) << "decoded " << describe(decode(c.bits)) << ", expected " << describe(c.in);
  }
}

// The meaning of each field, from encodings put together by hand from the manual's figures.
TEST(Decode, GivesImmediatesTheirMeaning) {
  expect_decoded({
      {0x80058513, {.op = Opcode::addi, .length = 4, .rd = 10, .rs1 = 11, .imm = -2048}},
      {0x7ff58513, {.op = Opcode::addi, .length = 4, .rd = 10, .rs1 = 11, .imm = 2047}},
      {0x80000537, {.op = Opcode::lui, .length = 4, .rd = 10, .imm = INT32_MIN}},
      {0x7ffff517, {.op = Opcode::auipc, .length = 4, .rd = 10, .imm = 0x7ffff000}},
      {0x800000ef, {.op = Opcode::jal, .length = 4, .rd = 1, .imm = -1048576}},
      {0x7ffff0ef, {.op = Opcode::jal, .length = 4, .rd = 1, .imm = 1048574}},
      {0x80b50063, {.op = Opcode::beq, .length = 4, .rs1 = 10, .rs2 = 11, .imm = -4096}},
      {0x7eb51fe3, {.op = Opcode::bne, .length = 4, .rs1 = 10, .rs2 = 11, .imm = 4094}},
      {0x80b53023, {.op = Opcode::sd, .length = 4, .rs1 = 10, .rs2 = 11, .imm = -2048}},
      {0x7eb50fa3, {.op = Opcode::sb, .length = 4, .rs1 = 10, .rs2 = 11, .imm = 2047}},
      {0x43f5d513, {.op = Opcode::srai, .length = 4, .rd = 10, .rs1 = 11, .imm = 63}},
      {0x41f5d51b, {.op = Opcode::sraiw, .length = 4, .rd = 10, .rs1 = 11, .imm = 31}},
      {0x6bf59513, {.op = Opcode::binvi, .length = 4, .rd = 10, .rs1 = 11, .imm = 63}},
      {0xf14fd573, {.op = Opcode::csrrwi, .length = 4, .rd = 10, .rs1 = 31, .imm = 0xf14}},
      {0x8ff0000f, {.op = Opcode::fence, .length = 4, .imm = 0x8ff}},
      {0xfe356013, {.op = Opcode::prefetch_w, .length = 4, .rs1 = 10, .imm = -32}},
      {0xcdf5c573, {.op = Opcode::mop_r, .length = 4, .rd = 10, .rs1 = 11, .imm = 31}},
      {0xc6c5c573, {.op = Opcode::mop_rr, .length = 4, .rd = 10, .rs1 = 11, .rs2 = 12, .imm = 5}},
  });
}

TEST(Decode, GivesOtherFieldsTheirMeaning) {
  expect_decoded({
      {0x68c5f543, {.op = Opcode::fmadd_s, .length = 4, .rd = 10, .rs1 = 11, .rs2 = 12, .rs3 = 13, .rm = 7}},
      {0x02c5d553, {.op = Opcode::fadd_d, .length = 4, .rd = 10, .rs1 = 11, .rs2 = 12, .rm = 5}},
      {0xf21f8553, {.op = Opcode::fli_d, .length = 4, .rd = 10, .rs1 = 31}},
      {0x1405252f, {.op = Opcode::lr_w, .length = 4, .rd = 10, .rs1 = 10, .aqrl = 2}},
      {0x1ab6352f, {.op = Opcode::sc_d, .length = 4, .rd = 10, .rs1 = 12, .rs2 = 11, .aqrl = 1}},
      {0x06b6252f, {.op = Opcode::amoadd_w, .length = 4, .rd = 10, .rs1 = 12, .rs2 = 11, .aqrl = 3}},
      {0x12b50073, {.op = Opcode::sfence_vma, .length = 4, .rs1 = 10, .rs2 = 11}},
      {0x0045200f, {.op = Opcode::cbo_zero, .length = 4, .rs1 = 10}},
  });
}

// The C and Zcb chapters: scattered immediates and implied registers of 16-bit instructions.
TEST(Decode, ExpandsCompressedInstructions) {
  expect_decoded({
      {0x1ffc, {.op = Opcode::addi, .rd = 15, .rs1 = 2, .imm = 1020}},
      {0x717d, {.op = Opcode::addi, .rd = 2, .rs1 = 2, .imm = -16}},
      {0x7ffd, {.op = Opcode::lui, .rd = 31, .imm = -4096}},
      {0x6009, {.op = Opcode::lui, .rd = 0, .imm = 0x2000}},
      {0x8f82, {.op = Opcode::jalr, .rd = 0, .rs1 = 31}},
      {0x9f82, {.op = Opcode::jalr, .rd = 1, .rs1 = 31}},
      {0x852e, {.op = Opcode::add, .rd = 10, .rs1 = 0, .rs2 = 11}},
      {0xb001, {.op = Opcode::jal, .imm = -2048}},
      {0xdffd, {.op = Opcode::beq, .rs1 = 15, .imm = -2}},
      {0x8082, {.op = Opcode::jalr, .rd = 0, .rs1 = 1}},
      {0x9002, {.op = Opcode::ebreak}},
      {0x9161, {.op = Opcode::srli, .rd = 10, .rs1 = 10, .imm = 56}},
      {0x9d61, {.op = Opcode::andi, .rd = 10, .rs1 = 10, .imm = 255}},
      {0x9d75, {.op = Opcode::xori, .rd = 10, .rs1 = 10, .imm = -1}},
      {0x9d71, {.op = Opcode::add_uw, .rd = 10, .rs1 = 10}},
      {0x8128, {.op = Opcode::lbu, .rd = 10, .rs1 = 10, .imm = 2}},
      {0x8d28, {.op = Opcode::sh, .rs1 = 10, .rs2 = 10, .imm = 2}},
      {0x6781, {.op = Opcode::addi}},  // c.mop.15
      {0x9016, {.op = Opcode::ntl_all}},
  });
}

// What the upper half holds is the next instruction, it must not change this one (nor the `bits` that a trap reports).
TEST(Decode, LooksOnlyAtTheLowHalfOfACompressedInstruction) {
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    if (instruction_length(bits) == 2) {
      ASSERT_EQ(decode(bits | 0xdead0000), decode(bits)) << std::hex << bits;
    }
  }
}

// Programs probe for extensions, and kernels emulate instructions, by the illegal-instruction trap.
TEST(Decode, RefusesReservedEncodings) {
  const std::pair<std::uint32_t, const char*> reserved[] = {
      {0x0000, "the defined illegal instruction"},
      {0x0008, "c.addi4spn with immediate 0"},
      {0x2001, "c.addiw with rd x0"},
      {0x6101, "c.addi16sp with immediate 0"},
      {0x6001, "c.lui with immediate 0 and rd x0"},
      {0x6501, "c.lui with immediate 0 and an even rd is no c.mop"},
      {0x6881, "c.lui with immediate 0 and rd x17 is no c.mop"},
      {0x4002, "c.lwsp with rd x0"},
      {0x6002, "c.ldsp with rd x0"},
      {0x8002, "c.jr with rs1 x0"},
      {0x9d79, "reserved in Zcb's unary group"},
      {0x9d7d, "reserved in Zcb's unary group"},
      {0x9c40, "reserved in quadrant 0"},
      {0xffffffff, "all ones"},
      {0x0000001f, "an encoding of more than 32 bits"},
      {0x0205951b, "slliw by 32"},
      {0x4205d51b, "sraiw by 32"},
      {0x80b57033, "funct7 of no extension"},
      {0x1015252f, "lr.w with rs2"},
      {0x00b5052f, "amoadd.b (Zabha)"},
      {0x28b5252f, "amocas.w (Zacas)"},
      {0x04c58553, "fadd.h (Zfh)"},
      {0xf4150553, "fli.h (Zfh)"},
      {0xe2150553, "fmvh.x.d is RV32's"},
      {0xc2850553, "fcvtmod.w.d without rtz"},
      {0x00004073, "funct3 4 of SYSTEM outside the mop space"},
      {0x001000f3, "ebreak with rd"},
      {0x10208073, "sret with rs1"},
      {0x00052057, "vsetvli and the rest of V"},
      {0x62050073, "hfence.gvma (H)"},
      {0x00057083, "load with funct3 7"},
      {0x00b54023, "store with funct3 4"},
      {0x00b52063, "branch with funct3 2"},
      {0x00051067, "jalr with funct3 1"},
      {0x0035200f, "cbo of number 3"},
  };
  for (const auto& [bits, what] : reserved) {
    EXPECT_EQ(decode(bits).op, Opcode::illegal) << std::hex << bits << " (" << what << ") is " << disassemble(bits, 0);
  }
  EXPECT_EQ(decode(0xffffffff).length, 4);
  EXPECT_EQ(decode(0).length, 2);
}

// Code for newer processors relies on hints being no-ops on older ones (Unprivileged ISA 2.9).
TEST(Decode, AcceptsHints) {
  const std::pair<std::uint32_t, Opcode> hints[] = {
      {0x00000037, Opcode::lui}, {0x00706013, Opcode::ori}, {0x00c5f033, Opcode::and_}, {0x0005, Opcode::addi},
      {0x4005, Opcode::addi},    {0x6005, Opcode::lui},     {0x0002, Opcode::slli},     {0x000a, Opcode::slli},
      {0x8001, Opcode::srli},    {0x8401, Opcode::srai},    {0x802e, Opcode::add},      {0x902e, Opcode::add},
      {0x0501, Opcode::addi},    {0x0502, Opcode::slli},
  };
  for (const auto& [bits, op] : hints) EXPECT_EQ(decode(bits).op, op) << std::hex << bits;
}

// Fields of FENCE that mean nothing yet "shall be ignored" (Unprivileged ISA 2.7): new code must run as a stronger
// fence.
TEST(Decode, TakesUnknownFencesAsFences) {
  for (const std::uint32_t bits : {0x0ff0000fu, 0x7ff5850fu, 0x8330050fu, 0x0100008fu, 0x0000000fu}) {
    EXPECT_EQ(decode(bits).op, Opcode::fence) << std::hex << bits;
  }
  EXPECT_EQ(decode(0x8330000f).op, Opcode::fence_tso);
  EXPECT_EQ(decode(0x0100000f).op, Opcode::pause);
  EXPECT_EQ(decode(0x1235150f).op, Opcode::fence_i);
}

// Which 16-bit values are hints that objdump prints otherwise than what they expand to, though it does nothing either.
bool is_hint(const Instruction& in) {
  const bool no_destination =
      in.rd == 0 && (in.op == Opcode::addi || in.op == Opcode::lui || in.op == Opcode::slli || in.op == Opcode::add);
  const bool shift_by_0 = in.imm == 0 && (in.op == Opcode::slli || in.op == Opcode::srli || in.op == Opcode::srai);
  return no_destination || shift_by_0 || (in.op == Opcode::addi && in.rd == in.rs1 && in.imm == 0);
}

// With aliases, objdump writes a 16-bit instruction as the 32-bit one that it stands for: so it must write our
// expansion, encoded in 32 bits, the same way.
TEST(Decode, ExpandsAsObjdumpDoes) {
  std::vector<std::uint32_t> halves, words;
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    const Instruction in = decode(bits);
    if (instruction_length(bits) != 2 || in.op == Opcode::illegal || is_hint(in)) continue;
    const Extension extension = find_compressed_row(std::uint16_t(bits))->extension;
    if (extension == Extension::Zcb || extension == Extension::Zihintntl) continue;  // unknown to binutils 2.40
    halves.push_back(bits);
    // c.mv is printed as the alias mv, which in 32 bits is addi.
    const bool move = in.op == Opcode::add && in.rs1 == 0;
    words.push_back(encode(move ? Instruction{.op = Opcode::addi, .rd = in.rd, .rs1 = in.rs2} : in));
  }
  ASSERT_GT(halves.size(), 40'000u);
  const auto from_halves = objdump(halves, "numeric"), from_words = objdump(words, "numeric");
  ASSERT_TRUE(from_halves.ok()) << from_halves.message();
  ASSERT_TRUE(from_words.ok()) << from_words.message();
  for (std::size_t i = 0; i < halves.size(); i++) {
    ASSERT_EQ((*from_halves)[i], (*from_words)[i]) << std::hex << halves[i] << " expanded to " << words[i];
  }
}

}  // namespace
}  // namespace doppel::riscv64
