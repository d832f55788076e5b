// The control and status registers: who may touch them, what they keep of a write (Privileged ISA 2, 3.1, 12.1;
// Unprivileged 7).
#include "guest/riscv64/csr.h"

#include <gtest/gtest.h>

#include <map>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr auto user = Privilege::user, supervisor = Privilege::supervisor, machine = Privilege::machine;

struct CsrTest : testing::Test {
  Bench b;
  Outcome write(unsigned number, U64 value, Privilege privilege = machine) {
    b.x(6) = value;
    return b.step(csr(Opcode::csrrw, 0, number, 6), privilege);
  }
  Outcome read_in(unsigned number, Privilege privilege) { return b.step(csr(Opcode::csrrs, 5, number, 0), privilege); }
  U64 read(unsigned number) {
    EXPECT_FALSE(read_in(number, machine).trapped) << std::hex << number;
    return b.x(5);
  }
  U64 kept(unsigned number, U64 value) {
    EXPECT_FALSE(write(number, value).trapped) << std::hex << number;
    return read(number);
  }
};

// 2.1: bits 9:8 of the number are the least privilege, bits 11:10 = 3 are read-only. A guest could otherwise escape its
// mode.
TEST_F(CsrTest, EachRegisterObeysItsNumber) {
  b.state().mstatus |= status::fs;
  b.state().mcounteren = b.state().scounteren = ~0U;
  b.state().menvcfg = envcfg::stce;
  unsigned registers = 0;
  for (unsigned number = 0; number < 4096; number++) {
    const bool exists = Csr::find(number);
    registers += exists;
    for (const auto privilege : {user, supervisor, machine}) {
      const bool allowed = exists && unsigned(privilege) >= (number >> 8 & 3);
      const auto out = read_in(number, privilege);
      EXPECT_EQ(out.trapped, !allowed) << std::hex << number;
      if (out.trapped) EXPECT_EQ(out.tval, csr(Opcode::csrrs, 5, number, 0)) << std::hex << number;
      if (number >> 10 != 3 && allowed) continue;  // a write would be taken
      EXPECT_TRUE(write(number, 0, privilege).is(Cause::illegal_instruction)) << std::hex << number;
      for (const auto op : {Opcode::csrrsi, Opcode::csrrci})  // 7.1: with immediate 0 they do not write
        EXPECT_EQ(b.step(csr(op, 5, number, 0), privilege).trapped, !allowed) << std::hex << number;
      EXPECT_TRUE(b.step(csr(Opcode::csrrsi, 5, number, 1), privilege).trapped) << std::hex << number;
      EXPECT_TRUE(b.step(csr(Opcode::csrrwi, 0, number, 0), privilege).trapped) << std::hex << number;
    }
  }
  EXPECT_GT(registers, 150u);
}

// A register that goes missing is an illegal instruction in firmware or kernel.
TEST_F(CsrTest, TheRegistersOfTheBoardExist) {
  for (const auto number : {0x001, 0x002, 0x003, 0xc00, 0xc01, 0xc02, 0xc1f, 0x100, 0x104, 0x105, 0x106, 0x10a, 0x140,
                            0x141, 0x142, 0x143, 0x144, 0x14d, 0x180, 0xf11, 0xf12, 0xf13, 0xf14, 0xf15, 0x300, 0x301,
                            0x302, 0x303, 0x304, 0x305, 0x306, 0x30a, 0x320, 0x323, 0x33f, 0x340, 0x341, 0x342, 0x343,
                            0x344, 0x3a0, 0x3a2, 0x3ae, 0x3b0, 0x3bf, 0x3ef, 0xb00, 0xb02, 0xb03, 0xb1f})
    EXPECT_TRUE(Csr::find(unsigned(number))) << std::hex << number;
  for (const auto number : {0x3a1, 0x3a3, 0xb01, 0x200, 0x310, 0xc80, 0xb80, 0x7a0 + 0x20, 0x600})
    EXPECT_FALSE(Csr::find(unsigned(number))) << std::hex << number;
}

// 3.1, 12.1: WARL fields keep only legal values.
TEST_F(CsrTest, WhatAWriteOfAllOnesKeeps) {
  const std::map<unsigned, U64> expected = {
      {0x302, 0xb3ff},  // medeleg: not ECALL from M, nothing reserved
      {0x303, 0x222},   // mideleg: supervisor interrupts only
      {0x304, 0xaaa},   // mie
      {0x305, ~0ULL - 2},
      {0x105, ~0ULL - 2},  // mtvec, stvec: mode 3 is reserved
      {0x306, 0xffff'ffff},
      {0x106, 0xffff'ffff},  // counter enables have 32 bits
      {0x340, ~0ULL},
      {0x140, ~0ULL},  // scratch
      {0x341, ~1ULL},
      {0x141, ~1ULL},  // epc: bit 0 is always 0 (3.1.14)
      {0x343, ~0ULL},
      {0x143, ~0ULL},                        //
      {0x14d, ~0ULL},                        // stimecmp
      {0x10a, envcfg::supervisor_writable},  //
      {0x30a, envcfg::machine_writable},     //
      {0x3b0, (1ULL << 54) - 1},             // pmpaddr: address bits 55:2
      {0x320, 0},
      {0x323, 0},
      {0xb03, 0},  // no event counters
      {0x3b0 + 16, 0},
      {0x3ae, 0},  // the other 48 PMP entries
      {0x003, 0xff},
      {0x001, 31},
      {0x002, 7},  //
  };
  b.state().mstatus |= status::fs;
  for (const auto& [number, value] : expected) {
    EXPECT_EQ(kept(number, ~0ULL), value) << std::hex << number;
    EXPECT_EQ(kept(number, 0) & ~U64{number == 0x301}, 0u) << std::hex << number;
  }
}

TEST_F(CsrTest, MisaSaysWhatTheHartHasAndStays) {
  const auto misa = read(0x301);
  EXPECT_EQ(misa >> 62, 2u);
  for (const char c : std::string_view("IMAFDCBSU")) EXPECT_TRUE(misa >> (c - 'A') & 1) << c;
  for (const char c : std::string_view("HVEQNX")) EXPECT_FALSE(misa >> (c - 'A') & 1) << c;
  EXPECT_EQ(kept(0x301, 0), misa);
}

// 3.1.6: there is no mode 2, XLEN is fixed, SD follows FS; what is not implemented reads as zero.
TEST_F(CsrTest, StatusIsLegalWhateverIsWritten) {
  const U64 always = status::uxl64 | status::sxl64;
  EXPECT_EQ(kept(0x300, ~0ULL & ~status::mprv), always | (status::machine_writable & ~status::mprv) | status::sd);
  EXPECT_EQ(kept(0x300, 0), always);
  EXPECT_EQ(kept(0x300, status::fs), always | status::fs | status::sd);
  EXPECT_EQ(kept(0x300, 1ULL << status::fs_shift), always | 1ULL << status::fs_shift);
  for (const U64 mode : {0, 1, 3})
    EXPECT_EQ(kept(0x300, mode << status::mpp_shift) & status::mpp, mode << status::mpp_shift);
  EXPECT_EQ(kept(0x300, 2ULL << status::mpp_shift) & status::mpp, status::mpp) << "the reserved mode must not be kept";
}

// 12.1.1: sstatus is a window on mstatus.
TEST_F(CsrTest, SupervisorStatusShowsAndChangesItsPartOnly) {
  kept(0x300, status::mpp | status::tvm | status::tsr | status::mpie);
  EXPECT_FALSE(write(0x100, ~0ULL, supervisor).trapped);
  EXPECT_EQ(b.state().mstatus, status::sxl64 | status::uxl64 | status::mpp | status::tvm | status::tsr | status::mpie |
                                   status::sd | status::sie | status::spie | status::spp | status::fs | status::sum |
                                   status::mxr);
  EXPECT_FALSE(read_in(0x100, supervisor).trapped);
  EXPECT_EQ(b.x(5), status::uxl64 | status::sd | status::sie | status::spie | status::spp | status::fs | status::sum |
                        status::mxr);
}

// 3.1.6.6: with FS off every floating-point instruction and register is illegal; a kernel relies on that to switch
// lazily.
TEST_F(CsrTest, FloatingPointOffIsIllegalAndUseMakesItDirty) {
  for (const unsigned number : {1, 2, 3}) EXPECT_TRUE(read_in(number, machine).is(Cause::illegal_instruction));
  const auto fadd = encode({.op = Opcode::fadd_s, .rd = 1, .rs1 = 2, .rs2 = 3});
  const auto fld = encode({.op = Opcode::fld, .rd = 1, .rs1 = 2});
  b.x(2) = data;
  EXPECT_TRUE(b.step(fadd).is(Cause::illegal_instruction));
  EXPECT_TRUE(b.step(fld).is(Cause::illegal_instruction));
  for (const auto instruction : {fadd, fld, csr(Opcode::csrrw, 0, 3, 0)}) {
    b.state().mstatus = (b.state().mstatus & ~(status::fs | status::sd)) | 1ULL << status::fs_shift;
    EXPECT_FALSE(b.step(instruction).trapped);
    EXPECT_EQ(b.state().mstatus & (status::fs | status::sd), status::fs | status::sd);
  }
}

// 3.1.11, 12.1.5: mcounteren for S, both for U. A kernel hides clocks from programs with it.
TEST_F(CsrTest, CountersAreReadOnlyWhereEnabled) {
  for (unsigned index = 0; index < 32; index++) {
    const U64 bit = 1ULL << index;
    for (const bool m : {false, true})
      for (const bool s : {false, true}) {
        b.state().mcounteren = m ? bit : ~bit & 0xffff'ffff;
        b.state().scounteren = s ? bit : ~bit & 0xffff'ffff;
        EXPECT_EQ(read_in(0xc00 + index, supervisor).trapped, !m) << index;
        EXPECT_EQ(read_in(0xc00 + index, user).trapped, !(m && s)) << index;
        EXPECT_FALSE(read_in(0xc00 + index, machine).trapped);
      }
  }
}

// 3.1.10: a write to a counter shows to the next instruction; minstret does not count what trapped.
TEST_F(CsrTest, CountersCountAndCanBeWritten) {
  b.x(6) = 1000;
  b.execute({csr(Opcode::csrrw, 0, 0xb00, 6), csr(Opcode::csrrs, 7, 0xb00, 0), nop(), csr(Opcode::csrrs, 8, 0xc00, 0),
             csr(Opcode::csrrw, 0, 0xb02, 6), csr(Opcode::csrrs, 9, 0xb02, 0), nop(),
             csr(Opcode::csrrs, 10, 0xc02, 0)});
  EXPECT_EQ(b.x(7), 1000u);
  EXPECT_EQ(b.x(8), 1002u);
  EXPECT_EQ(b.x(9), 1000u);
  EXPECT_EQ(b.x(10), 1002u);
}

// 3.3.1: ECALL and EBREAK do not retire, nor does any instruction that traps.
TEST_F(CsrTest, WhatTrapsDoesNotRetire) {
  b.put(handler, {csr(Opcode::csrrs, 8, 0xb02, 0)});
  for (const auto instruction :
       {plain(Opcode::ecall), plain(Opcode::ebreak), std::uint32_t{0}, load(Opcode::ld, 5, 0, 0)}) {
    b.put(code, {csr(Opcode::csrrs, 7, 0xb02, 0), nop(), instruction, nop()});
    b.state().pc = code;
    b.hart().restore();
    b.run(4);
    EXPECT_EQ(b.x(8) - b.x(7), 2u) << std::hex << instruction;
  }
}

// 12.1.11: a mode that the board does not have leaves satp as it was, which is how kernels probe.
TEST_F(CsrTest, SatpTakesOnlyTheModesOfTheBoard) {
  for (const auto most : {Paging::sv39, Paging::sv48, Paging::sv57}) {
    Bench limited(1, false, most);
    for (U64 mode = 0; mode < 16; mode++) {
      limited.state().satp = 0;
      limited.x(6) = mode << 60 | 0x1234ULL << 44 | 0x80001;
      limited.step(csr(Opcode::csrrw, 0, 0x180, 6));
      const bool there = mode == 0 || (mode >= 8 && mode <= U64(most));
      EXPECT_EQ(limited.state().satp, there ? limited.x(6) : 0) << mode;
    }
  }
}

// 3.1.6.5: TVM makes a hypervisor-like monitor see every change of address space.
TEST_F(CsrTest, TvmTrapsSatpAndFencesOfSupervisor) {
  const auto sfence = plain(Opcode::sfence_vma), sinval = plain(Opcode::sinval_vma);
  for (const bool tvm : {false, true}) {
    b.state().mstatus = tvm ? status::tvm : 0;
    EXPECT_EQ(read_in(0x180, supervisor).trapped, tvm);
    EXPECT_EQ(write(0x180, 0, supervisor).trapped, tvm);
    EXPECT_EQ(b.step(sfence, supervisor).trapped, tvm);
    EXPECT_EQ(b.step(sinval, supervisor).trapped, tvm);
    EXPECT_FALSE(b.step(plain(Opcode::sfence_w_inval), supervisor).trapped);  // 15: not these
    EXPECT_FALSE(b.step(plain(Opcode::sfence_inval_ir), supervisor).trapped);
    EXPECT_FALSE(b.step(sfence, machine).trapped);
    EXPECT_FALSE(read_in(0x180, machine).trapped);
    for (const auto op : {Opcode::sfence_vma, Opcode::sinval_vma, Opcode::sfence_w_inval, Opcode::sfence_inval_ir})
      EXPECT_TRUE(b.step(plain(op), user).is(Cause::illegal_instruction));
  }
}

// 16: stimecmp is the supervisor's only with menvcfg.STCE and mcounteren.TM.
TEST_F(CsrTest, StimecmpNeedsBothEnables) {
  for (const bool stce : {false, true})
    for (const bool tm : {false, true}) {
      b.state().menvcfg = stce ? envcfg::stce : 0;
      b.state().mcounteren = tm ? 2 : 0;
      EXPECT_EQ(read_in(0x14d, supervisor).trapped, !(stce && tm));
      EXPECT_EQ(write(0x14d, 5, supervisor).trapped, !(stce && tm));
      EXPECT_FALSE(read_in(0x14d, machine).trapped);
    }
}

// 3.1.9: SEIP reads as software's bit or the wire's, but read-modify-write touches software's bit only; else an
// external interrupt seen during CSRRS would stay for ever.
TEST_F(CsrTest, SeipOfSoftwareIsNotTheWire) {
  const U64 sei = 1 << interrupt::sei;
  b.hart().set_interrupt(interrupt::sei, true);
  EXPECT_EQ(read(0x344) & sei, sei);
  b.x(6) = 1 << interrupt::ssi;
  b.step(csr(Opcode::csrrs, 5, 0x344, 6));
  EXPECT_EQ(b.x(5) & sei, sei) << "rd gets the wire too";
  b.hart().set_interrupt(interrupt::sei, false);
  EXPECT_EQ(read(0x344), 1u << interrupt::ssi);
  write(0x344, sei);
  EXPECT_EQ(read(0x344), sei);
  b.hart().set_interrupt(interrupt::sei, true);
  b.hart().set_interrupt(interrupt::sei, false);
  EXPECT_EQ(read(0x344), sei) << "the wire's end leaves software's bit";
}

// 3.1.9, 12.1.3: S-mode can set and clear only SSIP, and sees only what is delegated.
TEST_F(CsrTest, SupervisorPendingIsAWindow) {
  write(0x344, 0x222);
  EXPECT_EQ(read(0x144), 0u) << "nothing is delegated";
  write(0x303, 0x222);
  EXPECT_EQ(read(0x144), 0x222u);
  write(0x144, 0, supervisor);
  EXPECT_EQ(read(0x344), 0x220u);
  write(0x304, 0xaaa);
  EXPECT_EQ(read(0x104), 0x222u);
  write(0x104, 0, supervisor);
  EXPECT_EQ(read(0x304), 0x888u);
  EXPECT_EQ(kept(0x344, 0xfff), 0x222u) << "MSIP, MTIP and MEIP are driven, not written";
}

// 16: with STCE, STIP is the comparison with stimecmp and nothing else: not written, and not left over from before.
TEST_F(CsrTest, StipIsTheComparatorsWithStce) {
  const U64 sti = 1 << interrupt::sti;
  b.now = 100;
  write(0x344, sti);
  write(0x14d, 200);
  write(0x30a, envcfg::stce);
  EXPECT_EQ(read(0x344) & sti, 0u) << "software's STIP from before STCE";
  write(0x14d, 100);
  EXPECT_EQ(read(0x344) & sti, sti);
  write(0x344, 0);
  EXPECT_EQ(read(0x344) & sti, sti);
  write(0x14d, 101);
  EXPECT_EQ(read(0x344) & sti, 0u);
  write(0x344, sti);
  EXPECT_EQ(read(0x344) & sti, 0u);
}

// 3.1.18: the reserved CBIE encoding is not kept, in either register.
TEST_F(CsrTest, ReservedCbieIsNotKept) {
  for (const unsigned number : {0x10a, 0x30a}) {
    for (const U64 legal : {0, 1, 3}) EXPECT_EQ(kept(number, legal << 4), legal << 4);
    EXPECT_NE(kept(number, 2 << 4) & envcfg::cbie, 2u << 4) << std::hex << number;
  }
}

// 7.1: set, clear and swap with register and immediate.
TEST_F(CsrTest, TheSixInstructionsComputeAsTheManualSays) {
  b.x(6) = 0b0110;
  b.state().mscratch = 0b1100;
  b.execute({csr(Opcode::csrrs, 7, 0x340, 6), csr(Opcode::csrrc, 8, 0x340, 6), csr(Opcode::csrrwi, 9, 0x340, 21),
             csr(Opcode::csrrsi, 10, 0x340, 2), csr(Opcode::csrrci, 11, 0x340, 1), csr(Opcode::csrrw, 12, 0x340, 6)});
  EXPECT_EQ(b.x(7), 0b1100u);
  EXPECT_EQ(b.x(8), 0b1110u);
  EXPECT_EQ(b.x(9), 0b1000u);
  EXPECT_EQ(b.x(10), 21u);
  EXPECT_EQ(b.x(11), 23u);
  EXPECT_EQ(b.x(12), 22u);
  EXPECT_EQ(b.state().mscratch, 0b0110u);
}

}  // namespace
}  // namespace doppel::riscv64::bench
