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
  constexpr unsigned sstatus = 0x100;
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

}  // namespace
}  // namespace doppel::riscv64::bench
