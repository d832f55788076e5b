#include "guest/riscv64/disassemble.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "guest/riscv64/decode.h"
#include "unit/guest/riscv64/encoding.h"
#include "unit/guest/riscv64/objdump.h"

namespace doppel::riscv64 {
namespace {

constexpr std::uint64_t seed = 7;

// Newer than binutils 2.40; pinned below instead.
const std::set<Extension> unknown_to_objdump = {Extension::Zfa,   Extension::Zicond, Extension::Zihintntl,
                                                Extension::Zimop, Extension::Zcb,    Extension::Zcmop};

// Makes a random encoding of a row one that objdump reads as the manual does.
std::uint32_t readable(const Row& row, std::uint32_t bits, std::mt19937_64& random) {
  const bool csr = row.format == Format::Csr || row.format == Format::CsrI;
  if (csr) {
    // Numbers of other extensions have names that we do not have; cycle makes csrrw an alias.
    std::uint32_t number = 0;
    do {
      number = std::uint32_t(random() % 4096);
    } while (csr_name(number).starts_with("0x") || number == 0xc00);
    return (bits & 0xfffff) | number << 20;
  }
  if (row.format == Format::Fence) return bits & 0x0ff0707f;  // objdump knows no other fences, ours ignore the fields
  const bool exact = row.format == Format::FpWiden || row.format == Format::FpFromIntExact;
  return exact ? bits & ~0x7000u : bits;  // objdump wants rounding to nearest, where it is without effect
}

// Whoever debugs a guest compares our listings with those of the tools that built it.
TEST(Disassemble, ReadsEveryRowAsObjdump) {
  std::mt19937_64 random(seed);
  std::vector<std::uint32_t> words;
  std::set<std::string_view> read;
  for (const Row& row : rows()) {
    if (unknown_to_objdump.contains(row.extension)) continue;
    for (int i = 0; i < 100; i++) {
      const std::uint32_t bits = readable(row, random_encoding(row, random), random);
      if (find_row(bits) != nullptr && !unknown_to_objdump.contains(find_row(bits)->extension)) words.push_back(bits);
    }
    read.insert(row.name);
  }
  ASSERT_GT(read.size(), 220u);
  const auto texts = objdump(words, "no-aliases,priv-spec=1.12");
  ASSERT_TRUE(texts.ok()) << texts.message();
  for (std::size_t i = 0; i < words.size(); i++) {
    EXPECT_EQ(disassemble(words[i], 4 * i), (*texts)[i]) << fmt::format("{:#010x}, seed {}", words[i], seed);
  }
}

// Where objdump 2.40 is known to read a 16-bit instruction otherwise: what it would say of what we say.
std::string as_objdump(std::uint16_t bits, const std::string& text) {
  const CompressedRow* row = find_compressed_row(bits);
  if (row == nullptr) return bits == 0x6101 ? "c.addi16sp\tsp,0" : text;  // reserved, but objdump reads it
  if (row->extension == Extension::Zihintntl) return "c.add\tzero," + std::string(x_name(bits >> 2 & 31));
  if (unknown_to_objdump.contains(row->extension)) return fmt::format(".2byte\t{:#x}", bits);
  if (row->name == "c_nop") return "c.addi\tzero," + (text == "c.nop" ? "0" : text.substr(text.find('\t') + 1));
  const std::string_view zero = ",0x0";  // a shift by 0 is a hint, which objdump gives a name of its own
  if (mnemonic(row->name).starts_with("c.s") && text.ends_with(zero)) {
    return mnemonic(row->name) + "64" + text.substr(text.find('\t'), text.size() - text.find('\t') - zero.size());
  }
  return text;
}

TEST(Disassemble, ReadsEveryCompressedValueAsObjdump) {
  std::vector<std::uint32_t> halves;
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    if (instruction_length(bits) == 2) halves.push_back(bits);
  }
  const auto texts = objdump(halves, "no-aliases");
  ASSERT_TRUE(texts.ok()) << texts.message();
  for (std::size_t i = 0; i < halves.size(); i++) {
    const auto bits = std::uint16_t(halves[i]);
    EXPECT_EQ(as_objdump(bits, disassemble(bits, 4 * i)), (*texts)[i]) << fmt::format("{:#06x}", bits);
  }
}

// Rows that the oracle may be too old for, as binutils 2.44 writes them.
TEST(Disassemble, ReadsNewExtensions) {
  const std::pair<std::uint32_t, const char*> cases[] = {
      {0xf0100553, "fli.s\tfa0,-0x1p+0"},
      {0xf0108553, "fli.s\tfa0,min"},
      {0xf0178553, "fli.s\tfa0,0x1.cp-1"},
      {0xf21f0553, "fli.d\tfa0,inf"},
      {0xf21f8553, "fli.d\tfa0,nan"},
      {0xf21e8553, "fli.d\tfa0,0x1p+16"},
      {0x28c5a553, "fminm.s\tfa0,fa1,fa2"},
      {0x28c5b553, "fmaxm.s\tfa0,fa1,fa2"},
      {0x2ac5a553, "fminm.d\tfa0,fa1,fa2"},
      {0x2ac5b553, "fmaxm.d\tfa0,fa1,fa2"},
      {0x4045f553, "fround.s\tfa0,fa1"},
      {0x40559553, "froundnx.s\tfa0,fa1,rtz"},
      {0x4245a553, "fround.d\tfa0,fa1,rdn"},
      {0x4255f553, "froundnx.d\tfa0,fa1"},
      {0xc2859553, "fcvtmod.w.d\ta0,fa1,rtz"},
      {0xa0c5c553, "fleq.s\ta0,fa1,fa2"},
      {0xa0c5d553, "fltq.s\ta0,fa1,fa2"},
      {0xa2c5c553, "fleq.d\ta0,fa1,fa2"},
      {0xa2c5d553, "fltq.d\ta0,fa1,fa2"},
      {0x0ec5d533, "czero.eqz\ta0,a1,a2"},
      {0x0ec5f533, "czero.nez\ta0,a1,a2"},
      {0x00200033, "ntl.p1"},
      {0x00300033, "ntl.pall"},
      {0x00400033, "ntl.s1"},
      {0x00500033, "ntl.all"},
      {0x81c5c573, "mop.r.0\ta0,a1"},
      {0xcdf5c573, "mop.r.31\ta0,a1"},
      {0x82c5c573, "mop.rr.0\ta0,a1,a2"},
      {0xcec5c573, "mop.rr.7\ta0,a1,a2"},
      {0x8128, "c.lbu\ta0,2(a0)"},
      {0x8568, "c.lh\ta0,2(a0)"},
      {0x8528, "c.lhu\ta0,2(a0)"},
      {0x8928, "c.sb\ta0,2(a0)"},
      {0x8d28, "c.sh\ta0,2(a0)"},
      {0x9d61, "c.zext.b\ta0"},
      {0x9d65, "c.sext.b\ta0"},
      {0x9d69, "c.zext.h\ta0"},
      {0x9d6d, "c.sext.h\ta0"},
      {0x9d71, "c.zext.w\ta0"},
      {0x9d75, "c.not\ta0"},
      {0x9d4d, "c.mul\ta0,a1"},
      {0x6081, "c.mop.1"},
      {0x6781, "c.mop.15"},
      {0x900a, "c.ntl.p1"},
      {0x9016, "c.ntl.all"},
  };
  std::set<std::string_view> pinned;
  for (const auto& [bits, text] : cases) {
    EXPECT_EQ(disassemble(bits, 0), text) << std::hex << bits;
    const Row* row = find_row(bits);
    if (row != nullptr) pinned.insert(row->name);
  }
  for (const Row& row : rows()) {
    EXPECT_TRUE(!unknown_to_objdump.contains(row.extension) || pinned.contains(row.name)) << row.name << " has no test";
  }
}

// What objdump refuses but the manual allows must still be readable.
TEST(Disassemble, ReadsWhatObjdumpDoesNot) {
  EXPECT_EQ(disassemble(0x8ff5850f, 0), "fence\tiorw,iorw");
  EXPECT_EQ(disassemble(0x1235150f, 0), "fence.i");
  EXPECT_EQ(disassemble(0x42059553, 0), "fcvt.d.s\tfa0,fa1,rtz");
  EXPECT_EQ(disassemble(0xd2057553, 0), "fcvt.d.w\tfa0,a0,dyn");
  EXPECT_EQ(disassemble(0xc0001073, 0), "csrrw\tzero,cycle,zero");
}

TEST(Disassemble, WritesIllegalEncodingsAsData) {
  EXPECT_EQ(disassemble(0xffffffff, 0), ".4byte\t0xffffffff");
  EXPECT_EQ(disassemble(0x6101, 0), ".2byte\t0x6101");
  EXPECT_EQ(disassemble(0, 0), "c.unimp");
}

// Kernel addresses are in the upper half; a target must wrap as the program counter does.
TEST(Disassemble, WritesTargetsOfTheWholeAddressSpace) {
  EXPECT_EQ(disassemble(0x0000006f, 0xffffffff80000000), "jal\tzero,0xffffffff80000000");
  EXPECT_EQ(disassemble(0xffdff06f, 0), "jal\tzero,0xfffffffffffffffc");
  EXPECT_EQ(disassemble(0x00000463, 0xfffffffffffffffc), "beq\tzero,zero,0x4");
}

TEST(Disassemble, NamesCsrs) {
  EXPECT_EQ(csr_name(0x300), "mstatus");
  EXPECT_EQ(csr_name(0x3af), "pmpcfg15");
  EXPECT_EQ(csr_name(0x3b0), "pmpaddr0");
  EXPECT_EQ(csr_name(0x3ef), "pmpaddr63");
  EXPECT_EQ(csr_name(0x3f0), "0x3f0");
  EXPECT_EQ(csr_name(0xc1f), "hpmcounter31");
  EXPECT_EQ(csr_name(0xc20), "0xc20");
  EXPECT_EQ(csr_name(0x000), "0x0");
  EXPECT_EQ(csr_name(0xfff), "0xfff");
}

TEST(Mnemonic, IsTheManualsSpelling) {
  EXPECT_EQ(mnemonic(Opcode::illegal), "illegal");
  EXPECT_EQ(mnemonic(Opcode::count), "illegal");
  EXPECT_EQ(mnemonic(Opcode::and_), "and");
  EXPECT_EQ(mnemonic(Opcode::fcvt_lu_d), "fcvt.lu.d");
  EXPECT_EQ(mnemonic(Opcode::sfence_inval_ir), "sfence.inval.ir");
}

}  // namespace
}  // namespace doppel::riscv64
