// What executors have disagreed about, or done wrong together, each as a program that shows it; found by
// tests/differential/engines.
#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr U64 s_handler = handler + 0x1000;

struct AgreementTest : testing::Test {
  Bench b;
  HartState& s = b.state();
  AgreementTest() { b.put(handler, {jump(0)}), b.put(s_handler, {jump(0)}); }
  /// Runs for so long that whole blocks execute; programs and handlers end in a loop.
  void run(Program program) {
    program.push_back(jump(0));
    b.put(code, program);
    s.pc = code;
    b.hart().restore();
    b.run(500);
  }
};

constexpr unsigned sstatus = 0x100, sepc = 0x141;
const auto fadd = encode({.op = Opcode::fadd_d, .rd = 1, .rs1 = 1, .rs2 = 1, .rm = 7});

// A guest must not read or write the host's memory: an address whose page and low bits are those of a TLB entry that
// holds nothing.
TEST_F(AgreementTest, NoAddressMatchesAnEmptyTlbEntry) {
  for (const U64 address : {1, 2, 3, 4, 5, 6, 7, 8}) {
    b.x(6) = address;
    EXPECT_TRUE(b.step(load(Opcode::ld, 5, 0, 6)).is(Cause::load_access_fault)) << address;
    EXPECT_TRUE(b.step(store(Opcode::sh, 5, 0, 6)).is(Cause::store_access_fault)) << address;
    const auto misaligned = address % 4 ? Cause::store_misaligned : Cause::store_access_fault;
    EXPECT_TRUE(b.step(amo(Opcode::amoadd_w, 5, 5, 6)).is(misaligned)) << address;
  }
}

// The same where the entry was filled for another page that may only be read: its host address must not be written
// relative to.
TEST_F(AgreementTest, NoAddressMatchesAnEntryThatForbidsStores) {
  Pages pages(b);
  constexpr U64 same_entry = U64{1} << 24;
  pages.map(same_entry, data, pte::v | pte::r | pte::a);
  pages.map(code, code);
  b.x(6) = same_entry, b.x(7) = 1, b.x(8) = ~0ULL;
  s.privilege = std::uint8_t(Privilege::supervisor);
  run({load(Opcode::ld, 5, 0, 6), store(Opcode::sh, 8, 0, 7)});
  EXPECT_EQ(s.mcause, U64(Cause::store_page_fault));
  EXPECT_EQ(s.mtval, 1u);
  EXPECT_EQ(s.mepc, code + 4);
}

// Privileged ISA 3.1.6: a write that enables a pending interrupt lets it come at once, however soon it is disabled
// again. An operating system waits in vain else.
TEST_F(AgreementTest, InterruptsComeBetweenEnablingAndDisabling) {
  s.privilege = std::uint8_t(Privilege::supervisor);
  s.mideleg = s.mie = s.mip = 1 << interrupt::ssi;
  s.stvec = s_handler;
  run({nop(), csr(Opcode::csrrsi, 5, sstatus, 2), csr(Opcode::csrrci, 6, sstatus, 2)});
  EXPECT_EQ(s.scause, interrupt_flag | interrupt::ssi);
  EXPECT_EQ(s.sepc, code + 8);
  EXPECT_EQ(b.x(5) & 2, 0u);
}

// The same where the interrupt was not enabled when translated code last had a look.
TEST_F(AgreementTest, InterruptsComeThatAnEarlierInstructionMadeReady) {
  constexpr unsigned sstatus = 0x100, sie = 0x104, sip = 0x144;
  for (const auto earlier : {csr(Opcode::csrrwi, 0, sie, 2), csr(Opcode::csrrwi, 0, sip, 2)}) {
    s.privilege = std::uint8_t(Privilege::supervisor);
    s.mideleg = 1 << interrupt::ssi;
    s.mie = s.mip = 1 << interrupt::ssi;
    (earlier == csr(Opcode::csrrwi, 0, sie, 2) ? s.mie : s.mip) = 0;
    s.mstatus = 0, s.scause = 0, s.stvec = s_handler;
    run({nop(), earlier, csr(Opcode::csrrsi, 5, sstatus, 2), csr(Opcode::csrrci, 6, sstatus, 2)});
    EXPECT_EQ(s.scause, interrupt_flag | interrupt::ssi);
    EXPECT_EQ(s.sepc, code + 12);
  }
}

// By the instruction clock executors must look at timers at the same instructions: a write to sstatus that enables no
// interrupt is not one, which translated code does not notice.
TEST_F(AgreementTest, TimersAreNotLookedAtWhenNothingIsEnabled) {
  b.on_write = [&](U64, unsigned, U64) { return b.now = 200, true; };
  b.hart().set_mtimecmp(100);
  b.x(6) = device, b.x(7) = status::sum;
  s.privilege = std::uint8_t(Privilege::supervisor);
  s.mideleg = s.mip = 1 << interrupt::ssi;
  s.mie = 1 << interrupt::ssi | 1 << interrupt::mti;
  constexpr unsigned sstatus = 0x100;
  run({store(Opcode::sw, 0, 0, 6), csr(Opcode::csrrs, 0, sstatus, 7), csr(Opcode::csrrci, 0, sstatus, 2), nop()});
  EXPECT_EQ(s.mcause, interrupt_flag | interrupt::mti);
  EXPECT_EQ(s.mepc, code + 16);  // the loop behind the program: where the run ended
  EXPECT_EQ(s.scause, 0u);
}

// Unprivileged ISA 14.2: an SC must fail if there is another SC between it and its LR.
TEST_F(AgreementTest, AnyScEndsAReservation) {
  b.x(10) = b.x(11) = data, b.x(12) = 7;
  b.poke(data + 512, 7);
  b.x(13) = data + 512;
  const Program program = {store(Opcode::sd, 12, 8, 10), lr(Opcode::lr_d, 5, 10),      load(Opcode::ld, 6, 0, 13),
                           lr(Opcode::lr_w, 7, 13),      amo(Opcode::sc_w, 8, 12, 13), amo(Opcode::sc_d, 9, 12, 10)};
  run(program);
  EXPECT_EQ(b.x(8), 0u);
  EXPECT_EQ(b.x(9), 1u);
  EXPECT_EQ(b.peek(data), 0u);
}

// What a failed SC asks of the next LR concerns its own LR, not one whose SC is a compare-and-swap for every executor.
TEST(AgreementTestOfTwoHarts, AFailureIsNotMadeUpForByAnotherLr) {
  Bench b(2);
  b.x(10) = data, b.x(11) = data + page_size, b.x(20) = 2;
  // Watched from the second round on: an SC behind a WRS fails in the first.
  const Program loop = {lr(Opcode::lr_w, 5, 10),         amo(Opcode::sc_w, 6, 12, 10),
                        lr(Opcode::lr_w, 5, 11),         plain(Opcode::wrs_sto),
                        amo(Opcode::sc_w, 7, 12, 11),    i(Opcode::addi, 20, 20, -1),
                        branch(Opcode::bne, 20, 0, -24), jump(0)};
  b.put(code, loop);
  b.state().pc = code;
  b.hart().restore();
  for (unsigned n = 0; n < 3; n++) b.run(20);
  EXPECT_EQ(b.x(20), 0u);
  EXPECT_EQ(b.x(6), 0u);
  EXPECT_EQ(b.x(7), 0u);
}

// A device gets the bytes that were stored, and not what else was in the register.
TEST_F(AgreementTest, DevicesSeeOnlyWhatIsStored) {
  std::vector<U64> written;
  b.on_write = [&](U64, unsigned, U64 value) { return written.push_back(value), true; };
  b.x(6) = device, b.x(7) = ~0ULL;
  run({store(Opcode::sb, 7, 0, 6), store(Opcode::sh, 7, 0, 6), store(Opcode::sw, 7, 0, 6), store(Opcode::sd, 7, 0, 6)});
  EXPECT_EQ(written, (std::vector<U64>{0xff, 0xffff, 0xffff'ffff, ~0ULL}));
}

// With time as a count of instructions a run must not depend on the executor: what a store makes a device ask for comes
// behind that store, not where a block happens to end.
TEST_F(AgreementTest, AnInterruptThatAStoreRaisesComesBehindIt) {
  b.on_write = [&](U64, unsigned, U64) { return b.hart().set_interrupt(interrupt::msi, true), true; };
  b.x(6) = device;
  s.mie = 1 << interrupt::msi;
  constexpr std::uint32_t c_sw = 0xc31c, c_nop = 0x0001;  // c.sw x15, 0(x14)
  for (const auto instruction : {store(Opcode::sw, 7, 0, 6), c_nop << 16 | c_sw, store(Opcode::fsh, 7, 0, 6)}) {
    s.mstatus |= status::mie | status::fs | status::sd;
    b.x(14) = device;
    b.hart().set_interrupt(interrupt::msi, false);
    run({nop(), instruction, nop(), nop()});
    EXPECT_EQ(s.mcause, interrupt_flag | interrupt::msi);
    EXPECT_EQ(s.mepc, code + 4 + instruction_length(instruction));
  }
}

// A reserved rounding mode is illegal also where nothing is rounded.
TEST_F(AgreementTest, ReservedRoundingModesAreIllegalInExactConversions) {
  s.mstatus |= status::fs | status::sd;
  for (const auto op : {Opcode::fcvt_d_w, Opcode::fcvt_d_wu, Opcode::fcvt_d_s})
    for (const std::uint8_t mode : {5, 6}) {
      s.privilege = std::uint8_t(Privilege::machine);
      s.mcause = 0;
      run({nop(), encode({.op = op, .rd = 1, .rs1 = 2, .rm = mode})});
      EXPECT_EQ(s.mcause, U64(Cause::illegal_instruction)) << unsigned(op);
      EXPECT_EQ(s.mepc, code + 4);
    }
}

// What a register held stays with its copies when an instruction that writes it is the interpreter's, though nothing
// sees what that writes.
TEST_F(AgreementTest, CopiesOutliveWhatTheInterpreterWrites) {
  s.mstatus |= status::fs | status::sd;
  s.f[10] = ~0ULL >> 1;  // not a number
  for (const auto written : {amo(Opcode::amomax_w, 14, 14, 12), amo(Opcode::amoadd_d, 14, 14, 12),
                             encode({.op = Opcode::fcvt_w_d, .rd = 14, .rs1 = 10, .rm = 1})}) {
    b.x(12) = data, b.x(14) = 0x2209;
    run({nop(), i(Opcode::addi, 11, 14, 0), written, i(Opcode::andi, 13, 11, 12), i(Opcode::addi, 14, 0, 1)});
    EXPECT_EQ(b.x(11), 0x2209u);
    EXPECT_EQ(b.x(13), 8u);
    EXPECT_EQ(b.x(14), 1u);
  }
}

// A system call and the way back, as Linux does it: what the next trap or the signal handler looks at must be right.
TEST_F(AgreementTest, SystemCallsEnterAndLeaveTheSupervisor) {
  s.medeleg = 1 << int(Cause::ecall_from_user);
  s.stvec = s_handler;
  s.privilege = std::uint8_t(Privilege::user);
  s.mstatus |= status::fs | status::sd | status::sie;
  s.stval = 1;
  b.x(6) = status::sum | status::fs;
  b.put(s_handler,
        {csr(Opcode::csrrw, 7, sstatus, 0), csr(Opcode::csrrw, 0, sstatus, 7), csr(Opcode::csrrc, 8, sstatus, 6),
         csr(Opcode::csrrs, 9, sepc, 0), i(Opcode::addi, 9, 9, 4), csr(Opcode::csrrs, 10, sstatus, 0),
         csr(Opcode::csrrw, 0, sstatus, 8), csr(Opcode::csrrw, 0, sepc, 9), plain(Opcode::sret)});
  run({nop(), plain(Opcode::ecall), fadd, i(Opcode::addi, 5, 5, 1)});
  EXPECT_EQ(b.x(5), 1u);
  EXPECT_EQ(b.x(8), status::uxl64 | status::spie | status::fs | status::sd);
  EXPECT_EQ(b.x(10), status::uxl64 | status::spie);
  EXPECT_EQ(s.scause, U64(Cause::ecall_from_user));
  EXPECT_EQ(s.stval, 0u);
  EXPECT_EQ(s.pc, code + 16);
  EXPECT_EQ(s.privilege, unsigned(Privilege::user));
  EXPECT_EQ(s.mstatus, status::uxl64 | status::sxl64 | status::spie | status::sie | status::fs | status::sd);
  EXPECT_EQ(s.unretired, 1u);
  EXPECT_EQ(b.hart().counters().exceptions, 1u);
  EXPECT_EQ(b.hart().steps(), 500u);
  for (const auto op : {Opcode::ecall, Opcode::sret, Opcode::csrrw, Opcode::csrrs, Opcode::fadd_d}) {
    EXPECT_EQ(b.hart().counters().interpreted[std::size_t(op)], 0u) << unsigned(op);
  }
}

// What is not delegated goes to M-mode, and a kernel may have SRET trap.
TEST_F(AgreementTest, SystemCallsAndReturnsThatTheMachineWants) {
  s.privilege = std::uint8_t(Privilege::user);
  run({nop(), plain(Opcode::ecall)});
  EXPECT_EQ(s.mcause, U64(Cause::ecall_from_user));
  EXPECT_EQ(s.mepc, code + 4);
  EXPECT_EQ(s.privilege, unsigned(Privilege::machine));
  s.privilege = std::uint8_t(Privilege::supervisor);
  s.mstatus |= status::tsr;
  run({nop(), nop(), plain(Opcode::sret), nop()});
  EXPECT_EQ(s.mcause, U64(Cause::illegal_instruction));
  EXPECT_EQ(s.mepc, code + 8);
  EXPECT_EQ(b.hart().steps(), 1000u);
}

// Going back to user code enables the supervisor's interrupts: one that waited comes before the first instruction.
TEST_F(AgreementTest, AReturnIsFollowedByTheInterruptThatWaited) {
  s.privilege = std::uint8_t(Privilege::supervisor);
  s.mideleg = s.mie = s.mip = 1 << interrupt::ssi;
  s.stvec = s_handler;
  s.sepc = code + 0x100;
  b.put(code + 0x100, {jump(0)});
  run({nop(), plain(Opcode::sret)});
  EXPECT_EQ(s.scause, interrupt_flag | interrupt::ssi);
  EXPECT_EQ(s.sepc, code + 0x100);
  EXPECT_EQ(s.mstatus & status::spp, 0u);
}

// A kernel that turns floating point off must get the trap of the next instruction, in whatever way it did.
TEST_F(AgreementTest, FloatingPointThatIsOffTraps) {
  constexpr std::uint32_t lui_fs = 0x000063b7;  // lui x7, 6
  for (const auto& off :
       {Program{lui_fs, csr(Opcode::csrrc, 5, sstatus, 7)}, Program{nop(), csr(Opcode::csrrc, 5, sstatus, 8)},
        Program{nop(), csr(Opcode::csrrw, 5, sstatus, 0)}}) {
    s.privilege = std::uint8_t(Privilege::supervisor);
    s.mstatus |= status::fs | status::sd;
    s.mcause = 0, b.x(8) = status::fs;
    run({fadd, off[0], off[1], fadd, nop()});
    EXPECT_EQ(s.mcause, U64(Cause::illegal_instruction));
    EXPECT_EQ(s.mepc, code + 12);
    EXPECT_EQ(s.mstatus & (status::fs | status::sd), 0u);
    EXPECT_NE(b.x(5) & status::sd, 0u);
  }
}

// SUM by a register: a kernel must reach the user's page between the two, and not behind.
TEST_F(AgreementTest, AccessToTheUserEndsWhereTheKernelSays) {
  Pages pages(b);
  constexpr U64 user_page = 0x4000'0000;
  pages.map(user_page, data, pte::v | pte::r | pte::w | pte::u | pte::a | pte::d);
  pages.map(code, code);
  b.poke(data, 99);
  b.x(6) = user_page, b.x(7) = status::sum;
  s.privilege = std::uint8_t(Privilege::supervisor);
  run({csr(Opcode::csrrs, 0, sstatus, 7), load(Opcode::ld, 8, 0, 6), csr(Opcode::csrrc, 9, sstatus, 7),
       load(Opcode::ld, 10, 0, 6)});
  EXPECT_EQ(b.x(8), 99u);
  EXPECT_NE(b.x(9) & status::sum, 0u);
  EXPECT_EQ(s.mcause, U64(Cause::load_page_fault));
  EXPECT_EQ(s.mepc, code + 12);
}

// An SC with no LR before it, by which kernels end a reservation: it must fail, and still be an access.
TEST_F(AgreementTest, AnScAloneFailsAndMayFault) {
  Pages pages(b);
  constexpr U64 read_only = 0x4000'0000;
  pages.map(data, data), pages.map(code, code), pages.map(read_only, data, pte::v | pte::r | pte::a);
  const auto sc = [](Reg base) { return amo(Opcode::sc_d, 5, 6, base); };
  b.poke(data, 99);
  b.x(6) = 7, b.x(7) = data, b.x(8) = data + 4, b.x(9) = read_only;
  for (const Reg base : {7, 8, 9}) {
    s.privilege = std::uint8_t(Privilege::supervisor);
    b.x(5) = 5, s.mcause = 0;
    run({store(Opcode::sd, 6, 8, 7), nop(), sc(base), i(Opcode::addi, 10, 5, 0)});
    EXPECT_EQ(s.mcause, U64(base == 7   ? Cause::instruction_misaligned  // 0: there was none
                            : base == 8 ? Cause::store_misaligned
                                        : Cause::store_page_fault));
    EXPECT_EQ(b.x(5), base == 7 ? 1u : 5u);
    EXPECT_EQ(b.peek(data), 99u);
    if (base == 7) EXPECT_EQ(b.hart().counters().interpreted[std::size_t(Opcode::sc_d)], 0u);
  }
}

// Products without carries: checksums and AES-GCM are made of them.
TEST_F(AgreementTest, CarrylessProducts) {
  b.x(6) = 0x8000'0000'0000'0003, b.x(7) = 0xc000'0000'0000'0001;
  run({nop(), r(Opcode::clmul, 8, 6, 7), r(Opcode::clmulh, 9, 6, 7), r(Opcode::clmulr, 6, 6, 7)});
  EXPECT_EQ(b.x(8), 0xc000'0000'0000'0003u);
  EXPECT_EQ(b.x(9), 0x6000'0000'0000'0001u);
  EXPECT_EQ(b.x(6), 0xc000'0000'0000'0003u);
  for (const auto op : {Opcode::clmul, Opcode::clmulh, Opcode::clmulr})
    EXPECT_EQ(b.hart().counters().interpreted[std::size_t(op)], 0u);
}

// Programs ask for the time all the time: it must go on, and a kernel may still forbid it.
TEST_F(AgreementTest, TimeIsReadByWhoMayAndGoesOn) {
  constexpr unsigned time = 0xc01;
  const Program program = {csr(Opcode::csrrs, 5, time, 0), i(Opcode::addi, 7, 0, 1), csr(Opcode::csrrs, 6, time, 0),
                           jump(-4)};
  b.now = 1000;
  b.time = {.enabled = ir::TimeFormula::on, .origin = 0, .rate = ~0ULL, .base = 0, .offset = 2000};
  for (const auto privilege : {Privilege::machine, Privilege::supervisor, Privilege::user})
    for (unsigned enabled = 0; enabled < 4; enabled++) {
      s.privilege = std::uint8_t(privilege);
      s.mcounteren = enabled & 1 ? 2 : ~2ULL, s.scounteren = enabled & 2 ? 2 : ~2ULL;
      s.mcause = 0, b.x(5) = b.x(6) = 0;
      run(program);
      const bool allowed =
          privilege == Privilege::machine || enabled == 3 || (privilege == Privilege::supervisor && (enabled & 1));
      EXPECT_EQ(s.mcause, allowed ? 0 : U64(Cause::illegal_instruction));
      if (!allowed) continue;
      EXPECT_GE(b.x(5), 1000u);
      EXPECT_GE(b.x(6), b.x(5));
#ifdef DOPPEL_BENCH_ENGINE
      EXPECT_GT(b.x(5), 2000u);
      EXPECT_GT(b.x(6), b.x(5));
#endif
    }
  b.time = {};
  s.privilege = std::uint8_t(Privilege::machine);
  run(program);
  EXPECT_EQ(b.x(5), 1000u);
}

// On several harts an SC that fails for nothing makes an LR to come watch its page, which no hart then stores to
// without asking: the first LR and SC of a page must not need a second try.
TEST_F(AgreementTest, TheFirstReservationInAPageIsPlain) {
  Bench two(2);
  Pages pages(two);
  pages.map(data, data, pte::v | pte::r | pte::w | pte::a);  // not stored to yet, so that the SC is the first to ask
  pages.map(code, code);
  two.state().menvcfg = envcfg::adue;
  two.state().privilege = std::uint8_t(Privilege::supervisor);
  two.x(10) = data;
  two.put(code, {i(Opcode::addi, 11, 11, 1), lr(Opcode::lr_d, 5, 10), branch(Opcode::bne, 5, 0, 16),
                 i(Opcode::addi, 6, 5, 1), amo(Opcode::sc_d, 7, 6, 10), branch(Opcode::bne, 7, 0, -20), jump(0)});
  two.hart().restore();
  two.run(500);
  EXPECT_EQ(two.peek(data), 1u);
  EXPECT_EQ(two.x(11), 1u);
  EXPECT_EQ(two.hart().counters().watched_reservations, 0u);
}

}  // namespace
}  // namespace doppel::riscv64::bench
