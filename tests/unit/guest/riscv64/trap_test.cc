// Traps: where they go, what they tell, what returning from them restores (Privileged ISA 3.1.6
// to 3.1.16, 3.3, 12.1, 12.2).
#include <gtest/gtest.h>

#include "unit/guest/riscv64/bench_hart.h"

namespace doppel::riscv64::bench {
namespace {

constexpr auto user = Privilege::user, supervisor = Privilege::supervisor, machine = Privilege::machine;
constexpr U64 s_handler = handler + 0x1000;

struct TrapTest : testing::Test {
  Bench b;
  HartState& s = b.state();
  TrapTest() {
    s.stvec = s_handler;
    b.put(handler, {nop(), nop()});
  }
  /// Makes an interrupt pending from its source.
  void raise(unsigned code) {
    if (code == interrupt::ssi || code == interrupt::sti)
      s.mip |= 1ULL << code;
    else if (code == interrupt::mti)
      b.hart().set_mtimecmp(0);
    else
      b.hart().set_interrupt(code, true);
  }
};

// 3.1.15, 3.1.16: each cause with its mtval; handlers decide on these.
TEST_F(TrapTest, EachExceptionTellsItsCauseAddressAndValue) {
  b.x(5) = data + 1;
  b.x(6) = 0x1234'5000;  // nothing is there
  b.x(7) = ram + ram_bytes;
  struct Case {
    std::uint32_t instruction;
    Cause cause;
    U64 tval;
  };
  for (const auto& c : std::initializer_list<Case>{
           {plain(Opcode::ebreak), Cause::breakpoint, code},
           {plain(Opcode::ecall), Cause::ecall_from_machine, 0},
           {0xffff'ffff, Cause::illegal_instruction, 0xffff'ffff},
           {0xabcd'0000, Cause::illegal_instruction, 0},  // 16 bits: only they are told
           {load(Opcode::ld, 1, 0, 6), Cause::load_access_fault, 0x1234'5000},
           {load(Opcode::lb, 0, 0, 7), Cause::load_access_fault, ram + ram_bytes},  // rd = x0 loads all the same
           {store(Opcode::sd, 1, 8, 6), Cause::store_access_fault, 0x1234'5008},
           {load(Opcode::ld, 1, -4, 7), Cause::load_access_fault, ram + ram_bytes},  // the part that faulted
           {lr(Opcode::lr_w, 1, 5), Cause::load_misaligned, data + 1},
           {amo(Opcode::sc_w, 1, 2, 5), Cause::store_misaligned, data + 1},
           {amo(Opcode::amoadd_d, 1, 2, 5), Cause::store_misaligned, data + 1},
           {lr(Opcode::lr_w, 1, 6), Cause::load_access_fault, 0x1234'5000},
           {amo(Opcode::amoadd_w, 1, 2, 6), Cause::store_access_fault, 0x1234'5000},
       }) {
    b.x(1) = 77;
    const auto out = b.step(c.instruction);
    EXPECT_TRUE(out.is(c.cause)) << std::hex << c.instruction << " gave " << out.cause;
    EXPECT_EQ(out.tval, c.tval) << std::hex << c.instruction;
    EXPECT_EQ(out.epc, code);
    EXPECT_EQ(s.pc, handler);
    EXPECT_EQ(b.x(1), 77u) << "a faulting instruction must not write its register";
  }
  EXPECT_TRUE(b.step(plain(Opcode::ecall), supervisor).is(Cause::ecall_from_supervisor));
  EXPECT_TRUE(b.step(plain(Opcode::ecall), user).is(Cause::ecall_from_user));
}

// The jump succeeds, the fetch at its target faults: epc and tval are the target (3.1.14).
TEST_F(TrapTest, AJumpIntoNothingFaultsAtItsTarget) {
  b.x(6) = 0x4000;
  b.execute({i(Opcode::jalr, 1, 6, 1), nop()});
  EXPECT_EQ(s.mcause, U64(Cause::instruction_access_fault));
  EXPECT_EQ(s.mepc, 0x4000u) << "bit 0 is cleared by JALR";
  EXPECT_EQ(s.mtval, 0x4000u);
  EXPECT_EQ(b.x(1), code + 4);
}

// 3.1.8: what is delegated goes to S from S and U, never from M.
TEST_F(TrapTest, ExceptionsAreDelegatedOneByOne) {
  const auto missing = load(Opcode::ld, 1, 0, 6);
  b.x(6) = 0x4000;
  struct Case {
    std::uint32_t instruction;
    Cause cause;
  };
  for (const auto& c : std::initializer_list<Case>{{plain(Opcode::ebreak), Cause::breakpoint},
                                                   {0, Cause::illegal_instruction},
                                                   {missing, Cause::load_access_fault},
                                                   {plain(Opcode::ecall), Cause::ecall_from_user}})
    for (const bool delegated : {false, true})
      for (const auto from : {user, supervisor, machine}) {
        if (c.cause == Cause::ecall_from_user && from != user) continue;
        s.medeleg = delegated ? 1ULL << U64(c.cause) : ~(1ULL << U64(c.cause));
        const auto out = b.step(c.instruction, from);
        EXPECT_TRUE(out.is(c.cause));
        EXPECT_EQ(out.to, delegated && from != machine ? supervisor : machine);
        EXPECT_EQ(s.pc, delegated && from != machine ? s_handler : handler);
      }
}

// 3.1.6.1: traps stack the enable and the mode; xRET takes them back.
TEST_F(TrapTest, MachineTrapsStackAndMretUnstacks) {
  for (const auto from : {user, supervisor, machine})
    for (const bool enabled : {false, true}) {
      s.mstatus = enabled ? status::mie : status::mpie;
      b.step(plain(Opcode::ebreak), from);
      EXPECT_EQ(s.mstatus, (enabled ? status::mpie : 0) | U64(from) << status::mpp_shift);
      EXPECT_EQ(s.privilege, unsigned(machine));
      s.mepc = code + 64;
      b.step(plain(Opcode::mret), machine, code + 32);
      EXPECT_EQ(s.mstatus, status::mpie | (enabled ? status::mie : 0)) << "MPP becomes U";
      EXPECT_EQ(s.privilege, unsigned(from));
      EXPECT_EQ(s.pc, code + 64);
    }
}

TEST_F(TrapTest, SupervisorTrapsStackAndSretUnstacks) {
  s.medeleg = 1 << 3;
  for (const auto from : {user, supervisor})
    for (const bool enabled : {false, true}) {
      s.mstatus = (enabled ? status::sie : status::spie) | status::mpp;
      b.step(plain(Opcode::ebreak), from);
      EXPECT_EQ(s.mstatus, (enabled ? status::spie : 0) | (from == supervisor ? status::spp : 0) | status::mpp);
      s.sepc = code + 64;
      b.step(plain(Opcode::sret), supervisor, code + 32);
      EXPECT_EQ(s.mstatus, status::spie | (enabled ? status::sie : 0) | status::mpp);
      EXPECT_EQ(s.privilege, unsigned(from));
      EXPECT_EQ(s.pc, code + 64);
    }
}

// 3.1.6.3: leaving M ends MPRV, or the next mode would read with another's eyes.
TEST_F(TrapTest, ReturningBelowMachineEndsMprv) {
  for (const auto to : {user, supervisor, machine}) {
    s.mstatus = status::mprv | U64(to) << status::mpp_shift;
    b.step(plain(Opcode::mret));
    EXPECT_EQ(bool(s.mstatus & status::mprv), to == machine);
  }
  s.mstatus = status::mprv | status::mpp | status::spp;
  b.step(plain(Opcode::sret));
  EXPECT_FALSE(s.mstatus & status::mprv);
}

// 3.1.6.5: who may use xRET and WFI.
TEST_F(TrapTest, ReturnsAndWaitingObeyPrivilegeTsrAndTw) {
  const auto traps = [&](Opcode op, Privilege p, U64 status) {
    s.mstatus = status;
    s.waiting = 0;
    const auto out = b.step(plain(op), p);
    s.waiting = 0;
    if (out.trapped) EXPECT_TRUE(out.is(Cause::illegal_instruction));
    return out.trapped;
  };
  EXPECT_TRUE(traps(Opcode::mret, supervisor, 0));
  EXPECT_TRUE(traps(Opcode::mret, user, 0));
  EXPECT_TRUE(traps(Opcode::sret, user, 0));
  EXPECT_FALSE(traps(Opcode::sret, supervisor, 0));
  EXPECT_TRUE(traps(Opcode::sret, supervisor, status::tsr));
  EXPECT_FALSE(traps(Opcode::sret, machine, status::tsr));
  EXPECT_FALSE(traps(Opcode::wfi, supervisor, 0));
  EXPECT_TRUE(traps(Opcode::wfi, supervisor, status::tw));
  EXPECT_FALSE(traps(Opcode::wfi, machine, status::tw));
  EXPECT_TRUE(traps(Opcode::wfi, user, 0));
}

// 3.1.7: in vectored mode interrupts enter at 4 times their code, exceptions at the base.
TEST_F(TrapTest, VectoredModeIsForInterrupts) {
  s.mtvec = handler + 1;
  EXPECT_TRUE(b.step(plain(Opcode::ebreak)).trapped);
  EXPECT_EQ(s.pc, handler);
  s.mie = interrupt::all_bits;
  s.mstatus = status::mie;
  raise(interrupt::mei);
  b.hart().restore();
  b.run(0);
  EXPECT_EQ(s.pc, handler + 4 * interrupt::mei);
  EXPECT_EQ(s.mcause, interrupt_flag | interrupt::mei);
  EXPECT_EQ(s.mtval, 0u);
  EXPECT_EQ(s.mepc, handler) << "the interrupted instruction is the one to go on with";
}

// 3.1.9: an interrupt is taken when its mode is lower than the target's, or equal and enabled.
TEST_F(TrapTest, InterruptsAreTakenWhereTheManualSays) {
  for (const unsigned line :
       {interrupt::ssi, interrupt::sti, interrupt::sei, interrupt::msi, interrupt::mti, interrupt::mei})
    for (const bool delegated : {false, true})
      for (const auto in : {user, supervisor, machine})
        for (const bool mie : {false, true})
          for (const bool sie : {false, true}) {
            Bench fresh;
            auto& t = fresh.state();
            t.stvec = s_handler;
            t.mideleg = delegated ? interrupt::supervisor_bits : 0;
            t.mie = 1ULL << line;
            t.mstatus |= (mie ? status::mie : 0) | (sie ? status::sie : 0);
            t.privilege = std::uint8_t(in);
            if (line == interrupt::ssi || line == interrupt::sti) t.mip = 1ULL << line;
            if (line == interrupt::mti) t.mtimecmp = 0;
            if (line == interrupt::sei || line == interrupt::msi || line == interrupt::mei)
              fresh.hart().set_interrupt(line, true);
            fresh.hart().restore();
            const bool to_supervisor = (t.mideleg >> line) & 1;
            const bool expected = to_supervisor ? in == user || (in == supervisor && sie) : in != machine || mie;
            fresh.run(0);
            const bool taken = t.pc != code;
            EXPECT_EQ(taken, expected) << line << delegated << int(in) << mie << sie;
            if (!taken) continue;
            EXPECT_EQ(t.privilege, unsigned(to_supervisor ? supervisor : machine));
            EXPECT_EQ(to_supervisor ? t.scause : t.mcause, interrupt_flag | line);
          }
}

// 3.1.9: MEI, MSI, MTI, SEI, SSI, STI; and all for M before any for S.
TEST_F(TrapTest, InterruptPriorities) {
  const unsigned order[] = {interrupt::mei, interrupt::msi, interrupt::mti,
                            interrupt::sei, interrupt::ssi, interrupt::sti};
  for (unsigned first = 0; first < 6; first++) {
    Bench fresh;
    auto& t = fresh.state();
    t.mie = interrupt::all_bits;
    t.mstatus |= status::mie;
    for (unsigned k = first; k < 6; k++) {
      const auto line = order[k];
      if (line == interrupt::mti) t.mtimecmp = 0;
      if (line == interrupt::ssi || line == interrupt::sti) t.mip |= 1ULL << line;
      if (line == interrupt::mei || line == interrupt::msi || line == interrupt::sei)
        fresh.hart().set_interrupt(line, true);
    }
    fresh.hart().restore();
    fresh.run(0);
    EXPECT_EQ(t.mcause, interrupt_flag | order[first]);
  }
  s.mideleg = 1 << interrupt::sei;  // the higher number, but for S
  s.mie = interrupt::all_bits;
  s.mip = 1 << interrupt::ssi;
  s.privilege = std::uint8_t(user);
  b.hart().set_interrupt(interrupt::sei, true);
  b.hart().restore();
  b.run(0);
  EXPECT_EQ(s.mcause, interrupt_flag | interrupt::ssi);
}

// A write that enables a pending interrupt is followed by it, before the next instruction: kernels close windows with
// that.
TEST_F(TrapTest, EnablingTakesEffectBeforeTheNextInstruction) {
  s.mip = 1 << interrupt::ssi;
  b.x(6) = 2;
  b.x(7) = status::mie;
  for (const auto& enable :
       std::initializer_list<Program>{{csr(Opcode::csrrs, 0, 0x304, 6), csr(Opcode::csrrs, 0, 0x300, 7)},
                                      {csr(Opcode::csrrs, 0, 0x300, 7), csr(Opcode::csrrs, 0, 0x304, 6)}}) {
    s.mie = 0, s.mstatus &= ~status::mie;
    auto program = enable;
    program.push_back(i(Opcode::addi, 9, 9, 1));
    b.x(9) = 0;
    b.execute(program);
    EXPECT_EQ(s.mepc, code + 8);
    EXPECT_EQ(b.x(9), 0u);
  }
  // And by return to a mode where it is enabled.
  s.mie = 2, s.mstatus = status::mpie | status::mpp;
  s.mepc = code + 0x100;
  b.execute({plain(Opcode::mret)});
  b.run(0);
  EXPECT_EQ(s.mepc, code + 0x100);
  EXPECT_EQ(s.mcause, interrupt_flag | interrupt::ssi);
}

// 3.3.3: WFI stops until something enabled in mie is pending, whatever the global enables say; then goes on behind
// itself.
TEST_F(TrapTest, WaitingEndsWithAnyEnabledInterrupt) {
  s.mie = 1 << interrupt::msi;
  b.put(code, {plain(Opcode::wfi), i(Opcode::addi, 9, 9, 1), jump(-4)});
  b.hart().restore();
  EXPECT_EQ(b.run(100), Hart::Stop::waiting);
  EXPECT_EQ(b.run(100), Hart::Stop::waiting);
  b.hart().set_interrupt(interrupt::mei, true);  // not enabled in mie
  EXPECT_EQ(b.run(100), Hart::Stop::waiting);
  EXPECT_FALSE(b.hart().wakeable());
  const auto wakes = b.wakes.load();
  b.hart().set_interrupt(interrupt::msi, true);
  EXPECT_GT(b.wakes, wakes) << "the scheduler must hear of it";
  EXPECT_TRUE(b.hart().wakeable());
  EXPECT_EQ(b.run(5), Hart::Stop::budget);
  EXPECT_EQ(b.x(9), 3u) << "not taken, as MIE is 0: execution goes on";
  s.mstatus |= status::mie;
  s.pc = code;
  b.hart().restore();
  b.run(1);
  EXPECT_EQ(s.mcause, interrupt_flag | interrupt::msi);
}

TEST_F(TrapTest, WaitingIsNotEnteredWhenSomethingIsPending) {
  s.mie = s.mip = 1 << interrupt::ssi;
  b.execute({plain(Opcode::wfi), i(Opcode::addi, 9, 9, 1)});
  EXPECT_EQ(b.x(9), 1u);
  EXPECT_EQ(s.waiting, 0);
}

// 3.1.9, ACLINT: the timer interrupt follows mtimecmp and time, in both directions.
TEST_F(TrapTest, TimerInterruptFollowsTheComparators) {
  s.mie = 1 << interrupt::mti | 1 << interrupt::sti;
  s.menvcfg = envcfg::stce;
  s.mideleg = 1 << interrupt::sti;
  s.stimecmp = 500;
  b.now = 10;
  b.hart().set_mtimecmp(700);
  b.put(code, {plain(Opcode::wfi), jump(-4)});
  b.hart().restore();
  EXPECT_EQ(b.run(10), Hart::Stop::waiting);
  EXPECT_EQ(b.hart().next_timer(), 500u);
  b.now = 499;
  EXPECT_EQ(b.run(10), Hart::Stop::waiting);
  b.now = 500;
  EXPECT_NE(b.run(10), Hart::Stop::waiting);
  s.mie = 1 << interrupt::mti;
  b.hart().restore();
  EXPECT_EQ(b.hart().next_timer(), 700u);
  EXPECT_EQ(b.run(10), Hart::Stop::waiting);
  b.now = 700;
  EXPECT_TRUE(b.hart().wakeable());
  b.hart().set_mtimecmp(701);
  EXPECT_FALSE(b.hart().wakeable());
}

// The machine without firmware: ECALL from S is the host's, and goes on behind itself; from U it is still a trap.
TEST_F(TrapTest, HostCallsAreServedWithoutATrap) {
  Bench h(1, true);
  U64 seen = 0;
  h.on_call = [&](Hart& hart) { seen = hart.state().x[17], hart.state().x[10] = 42; };
  h.x(17) = 9;
  EXPECT_FALSE(h.step(plain(Opcode::ecall), supervisor).trapped);
  EXPECT_EQ(seen, 9u);
  EXPECT_EQ(h.x(10), 42u);
  EXPECT_EQ(h.state().pc, code + 4);
  EXPECT_TRUE(h.step(plain(Opcode::ecall), user).is(Cause::ecall_from_user));
  EXPECT_TRUE(h.step(plain(Opcode::ecall), machine).is(Cause::ecall_from_machine));
}

// stop() from any thread ends a guest's endless loop; a running machine could otherwise not be stopped.
TEST_F(TrapTest, StopEndsAnEndlessLoop) {
  b.put(code, {jump(0)});
  b.hart().restore();
  std::thread stopper([&] { b.hart().stop(); });
  EXPECT_EQ(b.run(~0ULL >> 1), Hart::Stop::asked);
  stopper.join();
  EXPECT_EQ(b.run(100), Hart::Stop::budget);
}

}  // namespace
}  // namespace doppel::riscv64::bench
