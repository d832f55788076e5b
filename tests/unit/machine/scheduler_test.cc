// Harts run by worker threads: in parallel, asleep for nothing, alone when they ask to be, and in a fixed order when
// the clock counts instructions.
#include "machine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <future>

#include "unit/machine/hart_rig.h"

namespace doppel {
namespace {

using namespace test;
using riscv64::Privilege;

constexpr std::uint64_t forever = 1ULL << 60;  // instructions

/// Counts in a word of its own, for ever.
Program counter(unsigned index) {
  Program p(dram_base + 0x1000 * (index + 1));
  p.li(t0, HartRig::at(index));
  p.li(t1, 0);
  const auto again = p.here();
  p.addi(t1, t1, 1);
  p.sd(t1, t0);
  p.jump(again);
  return p;
}

/// Enables one interrupt, waits for it without taking it, and says so in word 0.
Program waiter(unsigned interrupt) {
  Program p;
  p.li(t0, 1 << interrupt);
  p.csrw(csr::mie, t0);
  p.wfi();
  p.store(HartRig::at(0), 1);
  p.loop_forever();
  return p;
}

// Two CPUs are of no use if they take turns: here no turn ever ends, so the harts meet only if both run at once.
TEST(Scheduler, RunsBusyHartsInParallel) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two processors";
  HartRig rig({.harts = 2, .quantum = forever});
  for (unsigned id = 0; id < 2; id++) {
    Program p(dram_base + 0x1000 * (id + 1));
    p.store(HartRig::at(id), 1);
    p.wait_for(HartRig::at(1 - id), 1);
    p.store(HartRig::at(2 + id), 1);
    p.loop_forever();
    rig.start(id, p);
  }
  rig.run();
  EXPECT_TRUE(eventually([&] { return rig.word(2) && rig.word(3); }));
}

// A device that replaces a page of the machine's memory has all harts stand still, while it holds the lock that some of
// them wait for.
TEST(Scheduler, HartsThatWaitForALockStandStill) {
  std::recursive_mutex devices;
  Scheduler* scheduler = nullptr;
  std::atomic<unsigned> calls = 0;
  HartRig rig({.harts = 3, .supervisor_call = [&](riscv64::Hart&) {
                 scheduler->lock(devices);
                 calls++;
                 devices.unlock();
               }});
  scheduler = &rig.scheduler();
  for (unsigned id = 0; id < 3; id++) {
    Program p(dram_base + 0x1000 * (id + 1));
    p.li(s0, HartRig::at(id));
    p.li(s1, 0);
    const auto again = p.here();
    for (int n = 0; n < 20; n++) p.addi(s1, s1, 1), p.sd(s1, s0);
    p.ecall();
    p.jump(again);
    rig.start(id, p, Privilege::supervisor);
  }
  rig.run();
  for (unsigned round = 0; round < 300; round++) {
    const auto seen = calls.load();
    ASSERT_TRUE(eventually([&] { return calls > seen; }));
    std::lock_guard guard(devices);
    rig.scheduler().exclusive([&] {
      std::array<std::uint64_t, 3> before;
      for (unsigned id = 0; id < 3; id++) before[id] = rig.word(id);
      for (unsigned look = 0; look < 100; look++)
        for (unsigned id = 0; id < 3; id++) ASSERT_EQ(rig.word(id), before[id]);
    });
  }
}

// A machine is put away when it is idle: not while one of its harts waits for a device that another thread has.
TEST(Scheduler, IsNotIdleWhileAHartWaitsForALock) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two processors";
  std::recursive_mutex devices;
  Scheduler* scheduler = nullptr;
  std::atomic<bool> asks = false, got = false;
  std::atomic<unsigned> told = 0, early = 0;
  HartRig rig({.harts = 2,
               .supervisor_call =
                   [&](riscv64::Hart&) {
                     asks = true;
                     scheduler->lock(devices);
                     got = true;
                     devices.unlock();
                   },
               .idle =
                   [&] {
                     early += !got;
                     told++;
                   }});
  scheduler = &rig.scheduler();
  Program caller(dram_base + 0x2000);
  caller.ecall();
  caller.wfi();
  caller.loop_forever();
  Program sleeper(dram_base + 0x1000);
  sleeper.wait_for(HartRig::at(0), 1);
  sleeper.wfi();
  sleeper.loop_forever();
  rig.start(0, sleeper), rig.start(1, caller, Privilege::supervisor);
  {
    std::lock_guard guard(devices);
    rig.run();
    ASSERT_TRUE(eventually([&] { return asks.load(); }));
    rig.set_word(0, 1);
    ASSERT_TRUE(eventually([&] { return rig.scheduler().seconds_waiting() > 0; }));
  }
  EXPECT_TRUE(eventually([&] { return told > 0; }));
  EXPECT_EQ(early, 0u);
}

// What an image says of when harts wake is hostile: sums with it must not overflow, nor a worker look all the time.
TEST(Scheduler, TakesNoDeadlineThatIsNone) {
  const auto restored = [](std::int64_t quantum, std::uint64_t state, std::int64_t deadline) {
    HartRig rig;
    Writer out;
    out.put(quantum), out.put<std::uint64_t>(0), out.put<std::uint64_t>(0);
    out.put(state), out.put<std::uint64_t>(0), out.put(deadline);
    Reader in(out.data());
    return rig.scheduler().restore(in).ok();
  };
  constexpr std::uint64_t waiting = 3, running = 2;
  EXPECT_TRUE(restored(0, waiting, INT64_MAX));
  EXPECT_TRUE(restored(Scheduler::latest_ns, waiting, Scheduler::latest_ns));
  EXPECT_FALSE(restored(Scheduler::latest_ns + 1, waiting, 0));
  EXPECT_FALSE(restored(-1, waiting, 0));
  EXPECT_FALSE(restored(0, waiting, -1));
  EXPECT_FALSE(restored(0, waiting, INT64_MIN));
  EXPECT_FALSE(restored(0, waiting, INT64_MAX - 1));
  EXPECT_FALSE(restored(0, running, 0));
  EXPECT_FALSE(restored(0, 4, 0));
}

// 32 CPUs on a laptop: none may starve.
TEST(Scheduler, GivesMoreHartsThanProcessorsTheirTurns) {
  HartRig rig({.harts = 32});
  for (unsigned id = 0; id < 32; id++) rig.start(id, counter(id));
  rig.run();
  EXPECT_TRUE(eventually([&] {
    for (unsigned id = 0; id < 32; id++)
      if (rig.word(id) < 20'000) return false;
    return true;
  }));
}

// An idle guest must not heat the host: a waiting hart is not even looked at while another computes.
TEST(Scheduler, DoesNotRunAHartThatWaits) {
  HartRig rig({.harts = 2});
  Program p;
  p.store(HartRig::at(1), 1);
  p.wfi();
  p.loop_forever();
  rig.start(0, p);
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.scheduler().seconds_waiting() > 0; }));
  rig.start(1, counter(2));
  ASSERT_TRUE(eventually([&] { return rig.word(2) > 3'000'000; }));
  rig.halt();
  EXPECT_EQ(rig.hart(0).counters().waits, 1u);
  EXPECT_LT(rig.hart(0).steps(), 100u);
}

// A guest that sleeps until a timer would otherwise sleep for ever, or wake early and drift.
TEST(Scheduler, WakesAHartWhenItsTimerIsDue) {
  HartRig rig;
  Program p;
  p.li(t0, 1ULL << 63);
  p.csrw(csr::menvcfg, t0);  // STCE
  p.li(t0, 1 << riscv64::interrupt::sti);
  p.csrw(csr::mie, t0);
  p.csrr(t1, csr::time);
  p.li(t2, 30'000);  // 3 ms
  p.add(t1, t1, t2);
  p.csrw(csr::stimecmp, t1);
  p.wfi();
  p.csrr(t2, csr::time);
  p.store(HartRig::at(1), t1);
  p.store(HartRig::at(2), t2);
  p.store(HartRig::at(0), 1);
  p.loop_forever();
  rig.start(0, p);
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.word(0) == 1; }));
  EXPECT_GE(rig.word(2), rig.word(1));
  EXPECT_GT(rig.scheduler().seconds_waiting(), 0);
}

// A key press, a packet, an IPI: what wakes an idle guest.
TEST(Scheduler, WakesAHartForAnInterrupt) {
  HartRig rig;
  rig.start(0, waiter(riscv64::interrupt::mei));
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.scheduler().seconds_waiting() > 0; }));
  EXPECT_EQ(rig.word(0), 0u);
  rig.hart(0).set_interrupt(riscv64::interrupt::mei, true);
  EXPECT_TRUE(eventually([&] { return rig.word(0) == 1; }));
}

// What becomes pending just as the hart goes to sleep must not be missed: the guest would hang now and then.
TEST(Scheduler, LosesNoWakeUp) {
  HartRig rig;
  Program p;
  p.li(t0, 1 << riscv64::interrupt::msi);
  p.csrw(csr::mie, t0);
  p.li(t1, HartRig::at(0));
  p.li(t2, 0);
  const auto again = p.here();
  p.wfi();
  p.addi(t2, t2, 1);
  p.sd(t2, t1);
  const auto until_low = p.here();
  p.csrr(t3, csr::mip);
  p.andi(t3, t3, 1 << riscv64::interrupt::msi);
  p.bne(t3, zero, until_low);
  p.sd(t2, t1, 8);  // now it goes to sleep again, as the next interrupt comes
  p.jump(again);
  rig.start(0, p);
  rig.run();
  for (std::uint64_t round = 1; round <= 3000; round++) {
    rig.hart(0).set_interrupt(riscv64::interrupt::msi, true);
    ASSERT_TRUE(eventually([&] { return rig.word(0) == round; })) << round;
    rig.hart(0).set_interrupt(riscv64::interrupt::msi, false);
    ASSERT_TRUE(eventually([&] { return rig.word(1) == round; })) << round;
  }
}

// Remote fences and watched reservations rest on it: while one hart acts, the memory of the others stands still, even
// when all of them want to act.
TEST(Scheduler, ExclusiveReallyExcludes) {
  std::atomic<int> inside = 0, broken = 0, calls = 0;
  HartRig* all = nullptr;
  RigOptions options{.harts = 4, .quantum = 50'000};
  options.supervisor_call = [&](riscv64::Hart& hart) {
    all->scheduler().exclusive(hart, [&] {
      if (inside++ != 0) broken++;
      std::uint64_t before[4];
      for (unsigned id = 0; id < 4; id++) before[id] = all->word(id);
      for (int i = 0; i < 50; i++) std::this_thread::yield();
      for (unsigned id = 0; id < 4; id++)
        if (all->word(id) != before[id]) broken++;
      inside--;
      calls++;
    });
  };
  HartRig rig(options);
  all = &rig;
  for (unsigned id = 0; id < 4; id++) {
    Program p(dram_base + 0x1000 * (id + 1));
    p.li(t0, HartRig::at(id));
    p.li(t1, 0);
    const auto outer = p.here();
    p.li(t2, 500);
    const auto again = p.here();
    p.addi(t1, t1, 1);
    p.sd(t1, t0);
    p.addi(t2, t2, -1);
    p.bne(t2, zero, again);
    p.ecall();
    p.jump(outer);
    rig.start(id, p, Privilege::supervisor);
  }
  rig.run();
  EXPECT_TRUE(eventually([&] { return calls >= 2000; }));
  rig.halt();
  EXPECT_EQ(broken, 0);
}

// Who looks at the harts from outside, by the instruction clock too.
TEST(Scheduler, ExclusiveStopsTheOneWorkerWhenTheClockCountsInstructions) {
  HartRig rig({.clock = ClockKind::instructions});
  rig.start(0, counter(0));
  rig.run();
  for (int round = 0; round < 50; round++)
    rig.scheduler().exclusive([&] {
      const auto before = rig.word(0);
      for (int n = 0; n < 200; n++) std::this_thread::yield();
      EXPECT_EQ(rig.word(0), before) << round;
    });
  const auto now = rig.word(0);
  EXPECT_TRUE(eventually([&] { return rig.word(0) != now; })) << "it goes on";
  rig.halt();
}

// A hart that lets another one's exclusive action go first is still on its way: halted is when it has left too.
TEST(Scheduler, HaltWaitsForHartsThatLetAnotherGoFirst) {
  std::atomic<int> inside = 0;
  HartRig* all = nullptr;
  RigOptions options{.harts = 4};
  options.supervisor_call = [&](riscv64::Hart& hart) {
    inside++;
    all->scheduler().exclusive(hart, [] { std::this_thread::yield(); });
    inside--;
  };
  HartRig rig(options);
  all = &rig;
  for (unsigned id = 0; id < 4; id++) {
    Program p(dram_base + 0x1000 * (id + 1));
    const auto again = p.here();
    p.ecall();
    p.jump(again);
    rig.start(id, p, riscv64::Privilege::supervisor);
  }
  rig.run();
  for (int round = 0; round < 500; round++) {
    ASSERT_TRUE(eventually([&] { return inside > 1; }));
    rig.halt();
    ASSERT_EQ(inside, 0) << "in round " << round;
    rig.scheduler().resume();
  }
  rig.halt();
}

// What a reboot and the end of a run rest on.
TEST(Scheduler, RunsNothingBetweenHaltAndResume) {
  HartRig rig({.harts = 2});
  for (unsigned id = 0; id < 2; id++) rig.start(id, counter(id));
  rig.run();
  for (int round = 0; round < 50; round++) {
    const auto before = rig.word(0);
    ASSERT_TRUE(eventually([&] { return rig.word(0) > before && rig.word(1) > 0; }));
    rig.halt();
    const std::uint64_t held[2] = {rig.word(0), rig.word(1)};
    for (int i = 0; i < 100; i++) std::this_thread::yield();
    ASSERT_EQ(rig.word(0), held[0]);
    ASSERT_EQ(rig.word(1), held[1]);
    rig.scheduler().resume();
  }
}

TEST(Scheduler, AHartMayHaltTheMachineThatItRunsIn) {
  HartRig* all = nullptr;
  RigOptions options;
  std::atomic<bool> called = false;
  options.supervisor_call = [&](riscv64::Hart&) { all->scheduler().halt(), called = true; };
  HartRig rig(options);
  all = &rig;
  Program p;
  const auto again = p.here();
  p.ecall();
  p.jump(again);
  rig.start(0, p, Privilege::supervisor);
  rig.run();
  EXPECT_TRUE(eventually([&] { return called.load(); }));
  rig.scheduler().wait_halted();
}

// A CPU that the guest switched off.
TEST(Scheduler, DoesNotRunParkedHarts) {
  HartRig rig({.harts = 2});
  rig.start(0, counter(0));
  rig.start(1, counter(1));
  EXPECT_FALSE(rig.scheduler().idle(rig.hart(0)));
  rig.scheduler().park(rig.hart(0));  // before it ran
  EXPECT_TRUE(rig.scheduler().idle(rig.hart(0)));
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.word(1) > 100'000; }));
  EXPECT_EQ(rig.word(0), 0u);

  rig.scheduler().park(rig.hart(1));  // while it runs
  ASSERT_TRUE(eventually([&] { return rig.scheduler().idle(rig.hart(1)); }));
  const auto held = rig.word(1);
  rig.scheduler().wake(rig.hart(1));  // an interrupt for it is no reason
  for (int i = 0; i < 100; i++) std::this_thread::yield();
  EXPECT_TRUE(rig.scheduler().idle(rig.hart(1)));
  EXPECT_EQ(rig.word(1), held);

  rig.scheduler().start(rig.hart(1));
  EXPECT_TRUE(eventually([&] { return rig.word(1) > held; }));
}

TEST(Scheduler, ParksAHartThatWaits) {
  HartRig rig;
  rig.start(0, waiter(riscv64::interrupt::mei));
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.scheduler().seconds_waiting() > 0; }));
  rig.scheduler().park(rig.hart(0));
  EXPECT_TRUE(rig.scheduler().idle(rig.hart(0)));
  rig.hart(0).set_interrupt(riscv64::interrupt::mei, true);
  for (int i = 0; i < 100; i++) std::this_thread::yield();
  EXPECT_EQ(rig.word(0), 0u);
  rig.scheduler().start(rig.hart(0));
  EXPECT_TRUE(eventually([&] { return rig.word(0) == 1; }));
}

/// Two harts that write their numbers into one log.
std::vector<std::uint64_t> interleave() {
  constexpr unsigned entries = 2000;
  HartRig rig({.harts = 2, .clock = ClockKind::instructions});
  for (unsigned id = 0; id < 2; id++) {
    Program p(dram_base + 0x1000 * (id + 1));
    p.li(t0, HartRig::at(0));
    p.li(t1, 1);
    p.li(t4, entries);
    const auto again = p.here();
    p.amoadd_d(t2, t0, t1);
    const auto full = p.bgeu_forward(t2, t4);
    p.slli(t3, t2, 3);
    p.add(t3, t3, t0);
    p.li(s0, id + 1);
    p.sd(s0, t3, 8);
    for (int i = 0; i < 100 + 50 * int(id); i++) p.addi(s1, s1, 1);
    p.jump(again);
    p.land(full);
    p.store(HartRig::at(entries + 10 + id), 1);
    p.wfi();
    p.jump(p.here() - 4);
    rig.start(id, p);
  }
  rig.run();
  EXPECT_TRUE(eventually([&] { return rig.word(entries + 10) && rig.word(entries + 11); }));
  rig.halt();
  std::vector<std::uint64_t> order;
  for (unsigned i = 1; i <= entries; i++) order.push_back(rig.word(i));
  return order;
}

// Two runs of a deterministic machine are the same run, its harts' order included.
TEST(Scheduler, InterleavesHartsInOneFixedOrderWhenTheClockCountsInstructions) {
  const auto first = interleave();
  EXPECT_EQ(first, interleave());
  EXPECT_EQ(first.front(), 1u);
  EXPECT_NE(std::ranges::count(first, 1u), 2000);  // and both had turns
}

// Otherwise a guest that sleeps for an hour would take an hour, or for ever.
TEST(Scheduler, SkipsIdleTimeWhenTheClockCountsInstructions) {
  constexpr std::uint64_t hour = 3600 * timebase_frequency;
  HartRig rig({.clock = ClockKind::instructions});
  Program p;
  p.li(t0, 1ULL << 63);
  p.csrw(csr::menvcfg, t0);
  p.li(t0, 1 << riscv64::interrupt::sti);
  p.csrw(csr::mie, t0);
  p.li(t1, hour);
  p.csrw(csr::stimecmp, t1);
  p.wfi();
  p.csrr(t2, csr::time);
  p.store(HartRig::at(1), t2);
  p.store(HartRig::at(0), 1);
  p.loop_forever();
  rig.start(0, p);
  rig.run();
  ASSERT_TRUE(eventually([&] { return rig.word(0) == 1; }));
  EXPECT_GE(rig.word(1), hour);
  EXPECT_LT(rig.word(1), hour + timebase_frequency);
}

/// When an event comes that another one caused, which may also halt the machine for a while.
std::int64_t consequence(bool halts) {
  HartRig rig({.clock = ClockKind::instructions});
  std::atomic<std::int64_t> came = 0;
  std::atomic<bool> happened = false;
  rig.start(0, counter(0));
  rig.input().at(500'000, [&] {
    rig.input().later([&] { came = rig.input().now_ns(); });
    if (halts) rig.scheduler().halt();
    happened = true;
  });
  rig.run();
  while (!happened) std::this_thread::yield();
  if (halts) rig.scheduler().wait_halted(), rig.scheduler().resume();
  while (came == 0) std::this_thread::yield();
  rig.halt();
  return came;
}

// A machine that was captured would not do the same as one that was not.
TEST(Scheduler, AHaltDoesNotChangeWhenEventsComeWhenTheClockCountsInstructions) {
  EXPECT_EQ(consequence(true), consequence(false));
}

// Who captures a machine in the middle of its events has a copy that never sees the others.
TEST(Scheduler, HaltWaitsForEventsWhenTheClockCountsInstructions) {
  HartRig rig({.clock = ClockKind::instructions});
  std::promise<void> begun, may_end;
  rig.start(0, counter(0));
  rig.input().at(500'000, [&] {
    begun.set_value();
    may_end.get_future().wait();
  });
  rig.run();
  begun.get_future().wait();
  rig.scheduler().halt();
  auto halted = std::async(std::launch::async, [&] { rig.scheduler().wait_halted(); });
  EXPECT_EQ(halted.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  may_end.set_value();
  halted.wait();
}

}  // namespace
}  // namespace doppel
