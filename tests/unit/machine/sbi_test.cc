// The SBI that a machine without firmware gives its kernel: what each call does, and what it answers to nonsense.
#include "machine/sbi.h"

#include <gtest/gtest.h>

#include "unit/machine/hart_rig.h"

namespace doppel {
namespace {

using namespace test;
using riscv64::Privilege;

constexpr std::uint64_t base_extension = 0x10, time_extension = 0x54494d45, ipi_extension = 0x735049,
                        fence_extension = 0x52464e43, hsm = 0x48534d, reset_extension = 0x53525354,
                        console = 0x4442434e;
constexpr std::int64_t success = 0, not_supported = -2, invalid_param = -3, invalid_address = -5,
                       already_available = -6;
constexpr std::uint64_t started = 0, stopped = 1, suspended = 4;
constexpr std::uint64_t entry = dram_base + 0x1000;

struct Answer {
  std::int64_t error;
  std::uint64_t value;
};

/// Calls by hart 0 of a machine with four, whose harts do not run.
class SbiCalls : public testing::Test {
 protected:
  void SetUp() override {
    rig_.sbi().reset(0);
    for (unsigned id = 0; id < 4; id++) Sbi::enter_supervisor(rig_.hart(id), entry, 0);
  }
  Answer call(std::uint64_t extension, std::uint64_t function, std::vector<std::uint64_t> arguments = {}) {
    auto& x = rig_.hart(0).state().x;
    arguments.resize(6);
    std::copy(arguments.begin(), arguments.end(), x.begin() + a0);
    x[a6] = function, x[a7] = extension;
    rig_.sbi().call(rig_.hart(0));
    return {std::int64_t(x[a0]), x[a1]};
  }
  std::int64_t failure(std::uint64_t extension, std::uint64_t function, std::vector<std::uint64_t> arguments = {}) {
    return call(extension, function, std::move(arguments)).error;
  }
  /// Which harts have SSIP pending.
  std::uint64_t interrupted() {
    std::uint64_t mask = 0;
    for (unsigned id = 0; id < 4; id++) {
      rig_.hart(id).state().mie = 1 << riscv64::interrupt::ssi;
      if (rig_.hart(id).wakeable()) mask |= 1 << id;
    }
    return mask;
  }
  HartRig rig_{{.harts = 4}};
};

TEST_F(SbiCalls, TellWhatTheyAre) {
  EXPECT_EQ(call(base_extension, 0).value, 0x02000000u);  // 2.0
  EXPECT_NE(call(base_extension, 1).value, 0u);           // the first implementation is somebody else
  for (std::uint64_t function = 0; function <= 6; function++) EXPECT_EQ(failure(base_extension, function), success);
  for (const auto id : {base_extension, time_extension, ipi_extension, fence_extension, hsm, reset_extension, console})
    EXPECT_EQ(call(base_extension, 3, {id}).value, 1u) << std::hex << id;
  for (const std::uint64_t id : {0ULL, 1ULL, 8ULL, 0x53555350ULL, 0x504d55ULL, ~0ULL})  // legacy, suspend, counters
    EXPECT_EQ(call(base_extension, 3, {id}).value, 0u) << std::hex << id;
}

// A kernel tries what it knows and goes on without what is not there.
TEST_F(SbiCalls, AnswerWhatDoesNotExist) {
  for (const auto id : {base_extension, time_extension, ipi_extension, fence_extension, hsm, reset_extension, console})
    for (const std::uint64_t function : {7ULL, 99ULL, ~0ULL}) EXPECT_EQ(failure(id, function), not_supported) << id;
  for (const std::uint64_t id : {0ULL, 0x53555350ULL, ~0ULL}) EXPECT_EQ(failure(id, 0), not_supported) << id;
  for (std::uint64_t function = 3; function <= 6; function++)  // fences of the hypervisor extension
    EXPECT_EQ(failure(fence_extension, function, {1, 0, 0, 0}), not_supported);
}

TEST_F(SbiCalls, LeaveTheOtherRegistersAlone) {
  auto& x = rig_.hart(0).state().x;
  for (unsigned r = 1; r < 32; r++) x[r] = 1000 + r;
  x[a6] = 0, x[a7] = base_extension;
  rig_.sbi().call(rig_.hart(0));
  for (unsigned r = 1; r < 32; r++)
    if (r != a0 && r != a1 && r != a6 && r != a7) {
      EXPECT_EQ(x[r], 1000 + r);
    }
}

TEST_F(SbiCalls, SetTheTimer) {
  auto& s = rig_.hart(0).state();
  s.mie = 1 << riscv64::interrupt::sti;
  EXPECT_EQ(failure(time_extension, 0, {0}), success);  // in the past: pending at once
  EXPECT_TRUE(rig_.hart(0).wakeable());
  EXPECT_EQ(failure(time_extension, 0, {~0ULL}), success);  // never: no longer pending
  EXPECT_FALSE(rig_.hart(0).wakeable());
  EXPECT_EQ(failure(time_extension, 0, {1ULL << 40}), success);
  EXPECT_EQ(rig_.hart(0).next_timer(), 1ULL << 40);
}

TEST_F(SbiCalls, InterruptTheHartsOfAMask) {
  EXPECT_EQ(failure(ipi_extension, 0, {0b1010, 0}), success);
  EXPECT_EQ(interrupted(), 0b1010u);
}

TEST_F(SbiCalls, InterruptCountsTheMaskFromItsFirstHart) {
  EXPECT_EQ(failure(ipi_extension, 0, {0b11, 2}), success);
  EXPECT_EQ(interrupted(), 0b1100u);
}

TEST_F(SbiCalls, InterruptAllHartsWhenThereIsNoMask) {
  EXPECT_EQ(failure(ipi_extension, 0, {0, ~0ULL}), success);
  EXPECT_EQ(interrupted(), 0b1111u);
}

TEST_F(SbiCalls, InterruptNobodyWhenTheMaskNamesAHartThatIsNotThere) {
  struct Bad {
    std::uint64_t mask, first;
  };
  for (const auto [mask, first] : {Bad{0b10001, 0}, {1, 4}, {2, 3}, {1, ~0ULL - 1}, {1ULL << 63, 1}, {1, 1ULL << 63}}) {
    EXPECT_EQ(failure(ipi_extension, 0, {mask, first}), invalid_param) << std::hex << mask << " " << first;
    EXPECT_EQ(failure(fence_extension, 0, {mask, first}), invalid_param) << std::hex << mask << " " << first;
    EXPECT_EQ(failure(fence_extension, 1, {mask, first, 0, 4096}), invalid_param) << std::hex << mask << " " << first;
  }
  EXPECT_EQ(interrupted(), 0u);
  EXPECT_EQ(failure(ipi_extension, 0, {0, 0}), success);  // an empty mask is nobody
  EXPECT_EQ(interrupted(), 0u);
}

TEST_F(SbiCalls, FlushWhatARemoteFenceNames) {
  const auto flushes = [&](unsigned id) { return rig_.hart(id).counters().tlb_flushes; };
  const auto before0 = flushes(0), before1 = flushes(1);
  for (const std::uint64_t function : {1, 2})
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{4096}, std::uint64_t{1} << 40, ~std::uint64_t{0}})
      EXPECT_EQ(failure(fence_extension, function, {0b10, 0, 0xffff'ffff'ffff'f000, length, 7}), success);
  EXPECT_EQ(flushes(0), before0);
  EXPECT_EQ(flushes(1), before1 + 8);
}

TEST_F(SbiCalls, KnowWhichHartsRun) {
  EXPECT_EQ(call(hsm, 2, {0}).value, started);
  for (std::uint64_t id = 1; id < 4; id++) EXPECT_EQ(call(hsm, 2, {id}).value, stopped);
  for (const std::uint64_t id : {4ULL, 64ULL, ~0ULL}) EXPECT_EQ(failure(hsm, 2, {id}), invalid_param);
}

TEST_F(SbiCalls, StartAHartAsTheSpecificationSays) {
  rig_.hart(2).state().mie = ~0ULL;
  EXPECT_EQ(failure(hsm, 0, {2, entry + 0x40, 0x1234}), success);
  EXPECT_EQ(call(hsm, 2, {2}).value, started);
  const auto& s = rig_.hart(2).state();
  EXPECT_EQ(s.pc, entry + 0x40);
  EXPECT_EQ(s.x[a0], 2u);
  EXPECT_EQ(s.x[a1], 0x1234u);
  EXPECT_EQ(s.satp, 0u);
  EXPECT_EQ(s.mstatus & riscv64::status::sie, 0u);
  EXPECT_EQ(s.privilege, std::uint8_t(Privilege::supervisor));
  EXPECT_FALSE(rig_.scheduler().idle(rig_.hart(2)));
}

TEST_F(SbiCalls, RefuseToStartWhatCannotBe) {
  EXPECT_EQ(failure(hsm, 0, {4, entry, 0}), invalid_param);
  EXPECT_EQ(failure(hsm, 0, {~0ULL, entry, 0}), invalid_param);
  for (const std::uint64_t bad : {std::uint64_t{0}, dram_base - 4, dram_base + HartRig::memory_size, ~std::uint64_t{0}})
    EXPECT_EQ(failure(hsm, 0, {1, bad, 0}), invalid_address) << std::hex << bad;
  EXPECT_EQ(call(hsm, 2, {1}).value, stopped);
  EXPECT_EQ(failure(hsm, 0, {0, entry, 0}), already_available);  // itself
  EXPECT_EQ(failure(hsm, 0, {1, entry, 0}), success);
  EXPECT_EQ(failure(hsm, 0, {1, entry, 0}), already_available);  // twice
}

TEST_F(SbiCalls, SuspendUntilAnInterrupt) {
  auto& s = rig_.hart(0).state();
  s.mie = 1 << riscv64::interrupt::ssi;
  EXPECT_EQ(failure(hsm, 3, {0, 0, 0}), success);
  EXPECT_EQ(rig_.hart(0).run(100), riscv64::Hart::Stop::waiting);
  EXPECT_EQ(s.pc, entry);  // it goes on behind the call
  EXPECT_EQ(call(hsm, 2, {0}).value, suspended);
  rig_.hart(0).raise_software_interrupt();
  rig_.hart(0).run(0);
  EXPECT_EQ(call(hsm, 2, {0}).value, started);
  s.mip = 0;

  s.satp = 8ULL << 60, s.mstatus |= riscv64::status::sie;
  const auto answer = call(hsm, 3, {0x80000000, entry + 0x80, 0x77});
  EXPECT_EQ(answer.error, 0);  // a0 is its number, a1 the opaque value
  EXPECT_EQ(answer.value, 0x77u);
  EXPECT_EQ(s.pc, entry + 0x80);
  EXPECT_EQ(s.satp, 0u);
  EXPECT_EQ(s.mstatus & riscv64::status::sie, 0u);
  EXPECT_EQ(rig_.hart(0).run(100), riscv64::Hart::Stop::waiting);
}

TEST_F(SbiCalls, RefuseToSuspendInUnknownWays) {
  for (const std::uint64_t type : {1ULL, 0x7fffffffULL, 0x80000001ULL, 0xffffffffULL})
    EXPECT_EQ(failure(hsm, 3, {type, entry, 0}), invalid_param) << std::hex << type;
  EXPECT_EQ(failure(hsm, 3, {0x80000000, 0, 0}), invalid_address);
  EXPECT_EQ(failure(hsm, 3, {0x80000000, ~0ULL, 0}), invalid_address);
  EXPECT_EQ(rig_.hart(0).state().waiting, 0);
}

TEST_F(SbiCalls, ResetTheSystem) {
  EXPECT_EQ(failure(reset_extension, 0, {0, 0}), success);
  EXPECT_EQ(failure(reset_extension, 0, {0, 1}), success);  // "system failure": a panic is no success
  EXPECT_EQ(failure(reset_extension, 0, {1, 0}), success);
  EXPECT_EQ(failure(reset_extension, 0, {2, 0}), success);
  EXPECT_EQ(rig_.resets,
            (std::vector{Sbi::Reset::shutdown, Sbi::Reset::failure, Sbi::Reset::reboot, Sbi::Reset::reboot}));
  for (const std::uint64_t type : {3ULL, 0xefffffffULL})
    EXPECT_EQ(failure(reset_extension, 0, {type, 0}), invalid_param);
  EXPECT_EQ(rig_.resets.size(), 4u);
}

TEST_F(SbiCalls, WriteToTheConsole) {
  const std::string text = "Linux version 6.12";
  ASSERT_TRUE(rig_.memory().write(HartRig::at(0), text.data(), text.size()));
  const auto answer = call(console, 0, {text.size(), HartRig::at(0), 0});
  EXPECT_EQ(answer.error, success);
  EXPECT_EQ(answer.value, text.size());
  EXPECT_EQ(failure(console, 2, {'!'}), success);
  EXPECT_EQ(rig_.written, text + "!");
}

// A caller goes on with what was not written; it must learn how much that is.
TEST_F(SbiCalls, WriteAPartOfMuch) {
  std::string text(10'000, 'x');
  ASSERT_TRUE(rig_.memory().write(HartRig::at(0), text.data(), text.size()));
  const auto answer = call(console, 0, {text.size(), HartRig::at(0), 0});
  EXPECT_EQ(answer.error, success);
  EXPECT_GT(answer.value, 0u);
  EXPECT_LE(answer.value, text.size());
  EXPECT_EQ(rig_.written.size(), answer.value);
}

TEST_F(SbiCalls, ReadWhatIsTyped) {
  rig_.typed = "poweroff\n";
  auto answer = call(console, 1, {5, HartRig::at(0), 0});
  EXPECT_EQ(answer.error, success);
  EXPECT_EQ(answer.value, 5u);
  answer = call(console, 1, {100, HartRig::at(1), 0});
  EXPECT_EQ(answer.value, 4u);
  EXPECT_EQ(call(console, 1, {100, HartRig::at(1), 0}).value, 0u);  // nothing is typed: it does not wait
  char got[12];
  ASSERT_TRUE(rig_.memory().read(HartRig::at(0), got, sizeof got));
  EXPECT_EQ(std::string(got, 5), "power");
  EXPECT_EQ(std::string(got + 8, 4), "off\n");
}

TEST_F(SbiCalls, RefuseConsoleBuffersOutsideMemory) {
  rig_.typed = "keys";
  struct Bad {
    std::uint64_t length, low, high;
  };
  const auto end = dram_base + HartRig::memory_size;
  for (const auto [length, low, high] : {Bad{1, 0, 0},
                                         {2, end - 1, 0},
                                         {1, end, 0},
                                         {~0ULL, dram_base, 0},
                                         {16, ~0ULL - 3, 0},
                                         {1, entry, 1},
                                         {HartRig::memory_size + 1, dram_base, 0},
                                         {1, 0x10000000, 0}})
    for (const std::uint64_t function : {0, 1})
      EXPECT_EQ(failure(console, function, {length, low, high}), invalid_param) << std::hex << length << " " << low;
  EXPECT_EQ(rig_.written, "");
  EXPECT_EQ(rig_.typed, "keys");  // no key is lost
  EXPECT_EQ(failure(console, 0, {0, entry, 0}), success);
}

void sbi_call(Program& p, std::uint64_t extension, std::uint64_t function) {
  p.li(a6, function);
  p.li(a7, extension);
  p.ecall();
}

// A kernel that patches its own code on one CPU (static keys, modules) would run the old code on another.
TEST(SbiFences, ARemoteInstructionFenceReachesAHartThatRuns) {
  HartRig rig({.harts = 2});
  constexpr auto routine = dram_base + 0x8000;
  Program first(routine), second(routine);
  first.li(a0, 1);
  first.ret();
  second.li(a0, 2);
  second.ret();
  Program patient(dram_base + 0x2000);
  patient.li(s0, HartRig::at(0));
  const auto again = patient.here();
  patient.call(routine);
  patient.sd(a0, s0);
  patient.jump(again);
  Program writer(dram_base + 0x1000);
  writer.wait_for(HartRig::at(0), 1);
  writer.li(t0, routine);
  const auto bytes = second.bytes();
  std::uint32_t patch;
  std::memcpy(&patch, bytes.data(), sizeof patch);
  writer.li(t1, patch);
  writer.sw(t1, t0);
  writer.li(a0, 0b10);
  writer.li(a1, 0);
  sbi_call(writer, fence_extension, 0);
  writer.store(HartRig::at(1), a0);
  writer.store(HartRig::at(2), 1);
  writer.loop_forever();
  rig.load(first);
  rig.start(1, patient, Privilege::supervisor);
  rig.start(0, writer, Privilege::supervisor);
  rig.run();
  EXPECT_TRUE(eventually([&] { return rig.word(2) == 1; }));
  EXPECT_TRUE(eventually([&] { return rig.word(0) == 2; }));
  EXPECT_EQ(rig.word(1), 0u);
}

// A page that one CPU takes away would stay usable on another: the guest's memory would be corrupted.
TEST(SbiFences, ARemoteAddressFenceReachesAHartThatRuns) {
  HartRig rig({.harts = 2});
  constexpr std::uint64_t tables = dram_base + 0x20'0000, window = 0x4000'0000, old_page = dram_base + 0x40'0000,
                          new_page = dram_base + 0x40'1000;
  const auto leaf = [](std::uint64_t physical) { return physical >> 12 << 10 | 0xcf; };  // D A X W R V
  const auto table = [](std::uint64_t physical) { return physical >> 12 << 10 | 1; };
  const auto put = [&](std::uint64_t where, std::uint64_t value) { ASSERT_TRUE(rig.memory().write(where, &value, 8)); };
  put(tables + 8 * 1, table(tables + 0x1000));  // Sv39, 1 GiB each: the window,
  put(tables + 8 * 2, leaf(dram_base));         // and memory as it is
  put(tables + 0x1000, table(tables + 0x2000));
  put(tables + 0x2000, leaf(old_page));
  put(old_page, 1), put(new_page, 2);

  Program patient(dram_base + 0x2000);
  patient.li(t0, 8ULL << 60 | tables >> 12);
  patient.csrw(csr::satp, t0);
  patient.sfence_vma();
  patient.li(s0, HartRig::at(0));
  patient.li(s1, window);
  const auto again = patient.here();
  patient.ld(t0, s1);
  patient.sd(t0, s0);
  patient.jump(again);
  Program writer(dram_base + 0x1000);
  writer.wait_for(HartRig::at(0), 1);
  writer.store(tables + 0x2000, leaf(new_page));
  writer.li(a0, 0b10);
  writer.li(a1, 0);
  writer.li(a2, window);
  writer.li(a3, 4096);
  sbi_call(writer, fence_extension, 1);
  writer.store(HartRig::at(2), 1);
  writer.loop_forever();
  rig.start(1, patient, Privilege::supervisor);
  rig.start(0, writer, Privilege::supervisor);
  rig.run();
  EXPECT_TRUE(eventually([&] { return rig.word(2) == 1; }));
  EXPECT_TRUE(eventually([&] { return rig.word(0) == 2; }));
}

// CPUs going off and on while the others send fences: each waits for another, and none may wait for ever.
TEST(SbiHarts, StopAndStartWhileOthersFence) {
  constexpr std::uint64_t rounds = 25;
  HartRig rig({.harts = 4, .quantum = 2'000});
  Program sleeper(dram_base + 0x4000);  // counts its starts in word 1, with what it was given
  sleeper.li(t0, HartRig::at(1));
  sleeper.sd(a1, t0);
  sbi_call(sleeper, hsm, 1);
  sleeper.store(HartRig::at(9), 1);  // a stopped hart does not go on
  sleeper.loop_forever();

  Program starter(dram_base + 0x1000);
  starter.li(s0, 0);
  const auto next = starter.here();
  starter.addi(s0, s0, 1);
  const auto retry = starter.here();
  starter.li(a0, 1);
  starter.li(a1, sleeper.base());
  starter.addi(a2, s0, 0);
  sbi_call(starter, hsm, 0);
  starter.bne(a0, zero, retry);  // it has not stopped yet
  starter.store(HartRig::at(0), s0);
  starter.li(t0, rounds);
  starter.bne(s0, t0, next);
  starter.store(HartRig::at(2), 1);
  starter.loop_forever();
  rig.load(sleeper);
  rig.start(0, starter, Privilege::supervisor);
  for (unsigned id = 2; id < 4; id++) {
    Program fencer(dram_base + 0x1000 * (id + 4));
    const auto again = fencer.here();
    fencer.li(a0, 0b1111);
    fencer.li(a1, 0);
    fencer.li(a2, 0);
    fencer.li(a3, 0);
    sbi_call(fencer, fence_extension, 1);
    fencer.jump(again);
    rig.start(id, fencer, Privilege::supervisor);
  }
  rig.sbi().reset(0);
  rig.run();
  EXPECT_TRUE(eventually([&] { return rig.word(2) == 1 && rig.word(1) == rounds; })) << rig.word(0);
  rig.halt();
  EXPECT_EQ(rig.word(9), 0u);
}

// The way in which an idle CPU of a large guest sleeps and is woken.
TEST(SbiHarts, ASuspendedHartResumesWhereItAskedTo) {
  HartRig rig({.harts = 2});
  Program resumed(dram_base + 0x4000);
  resumed.store(HartRig::at(1), a0);
  resumed.store(HartRig::at(2), a1);
  resumed.store(HartRig::at(3), 1);
  resumed.loop_forever();
  Program p(dram_base + 0x1000);
  p.li(t0, 1 << riscv64::interrupt::ssi);
  p.csrw(csr::sie, t0);
  p.li(a0, 0x80000000);
  p.li(a1, resumed.base());
  p.li(a2, 0x4711);
  sbi_call(p, hsm, 3);
  p.store(HartRig::at(9), 1);  // it does not return
  p.loop_forever();
  rig.load(resumed);
  rig.start(1, p, Privilege::supervisor);
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.scheduler().seconds_waiting() > 0; }));
  EXPECT_EQ(rig.word(3), 0u);
  Program sender(dram_base + 0x2000);
  sender.li(a0, 0b10);
  sender.li(a1, 0);
  sbi_call(sender, ipi_extension, 0);
  sender.loop_forever();
  rig.start(0, sender, Privilege::supervisor);
  ASSERT_TRUE(eventually([&] { return rig.word(3) == 1; }));
  EXPECT_EQ(rig.word(1), 1u);
  EXPECT_EQ(rig.word(2), 0x4711u);
  EXPECT_EQ(rig.word(9), 0u);
}

}  // namespace
}  // namespace doppel
