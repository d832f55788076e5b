#include "device/aclint.h"

#include <gtest/gtest.h>

#include "unit/device/interrupt_probe.h"

namespace doppel {
namespace {

struct FakeTime : Timebase {
  std::uint64_t now = 1000, offset = 0;
  std::uint64_t ticks() override { return now; }
  void set_offset(std::uint64_t value) override { offset = value; }
};

constexpr std::uint64_t never = ~0ULL;

struct Machine {
  FakeTime time;
  InterruptProbe probe;
  std::map<unsigned, std::uint64_t> timer;
  int timer_writes = 0;
  Aclint aclint{time, {{&probe, 0}, {&probe, 1}, {&probe, 2}}, [this](unsigned hart, std::uint64_t at) {
                  timer[hart] = at;
                  timer_writes++;
                }};
};

// Firmware could not start or signal other harts.
TEST(Aclint, MsipIsOneBitAHart) {
  Machine m;
  EXPECT_TRUE(m.aclint.write(4, 4, 0xffffffff));
  EXPECT_TRUE(m.probe.level[1]);
  EXPECT_FALSE(m.probe.level[0] || m.probe.level[2]);
  EXPECT_EQ(peek(m.aclint, 4), 1u);
  EXPECT_TRUE(m.aclint.write(4, 4, 0xfffffffe));
  EXPECT_FALSE(m.probe.level[1]);
  EXPECT_TRUE(m.aclint.write(0, 8, 0x0000000100000001));
  EXPECT_TRUE(m.probe.level[0] && m.probe.level[1]);
}

// Timers would fire at the wrong time or never.
TEST(Aclint, MtimecmpIsReportedToItsHart) {
  Machine m;
  EXPECT_TRUE(m.aclint.write(0x4008, 8, 0x123456789abcdef0));
  EXPECT_EQ(m.timer[1], 0x123456789abcdef0u);
  EXPECT_EQ(m.timer_writes, 1) << "an 8-byte write is one";
  EXPECT_TRUE(m.aclint.write(0x400c, 4, 0xffffffff));
  EXPECT_EQ(m.timer[1], 0xffffffff9abcdef0u);
  EXPECT_TRUE(m.aclint.write(0x4008, 4, 5));
  EXPECT_EQ(m.timer[1], 0xffffffff00000005u);
  EXPECT_EQ(peek(m.aclint, 0x4008, 8), 0xffffffff00000005u);
  EXPECT_EQ(peek(m.aclint, 0x4008, 4), 5u);
  EXPECT_EQ(peek(m.aclint, 0x400c, 4), 0xffffffffu);
  EXPECT_EQ(peek(m.aclint, 0x4000, 8), never);
}

TEST(Aclint, MtimeIsTheTimebaseAndCanBeSet) {
  Machine m;
  EXPECT_EQ(peek(m.aclint, 0xbff8, 8), 1000u);
  EXPECT_TRUE(m.aclint.write(0xbff8, 8, 0x100000002));
  m.time.now += 5;
  EXPECT_EQ(peek(m.aclint, 0xbff8, 8), 0x100000007u);
  EXPECT_EQ(peek(m.aclint, 0xbff8, 4), 7u);
  EXPECT_EQ(peek(m.aclint, 0xbffc, 4), 1u);
  EXPECT_EQ(m.time.offset, 0x100000002u - 1000) << "the harts' time CSR has to agree";
  EXPECT_TRUE(m.aclint.write(0xbffc, 4, 0));
  EXPECT_EQ(peek(m.aclint, 0xbff8, 8), 7u);
  EXPECT_TRUE(m.aclint.write(0xbff8, 4, 1));
  EXPECT_EQ(peek(m.aclint, 0xbff8, 8), 1u) << "behind the timebase is an offset too";
}

TEST(Aclint, EveryOffsetIsHarmlessAndOddAccessesFault) {
  Machine m;
  std::uint64_t value = 0;
  for (const auto& [offset, size] : {std::pair{0ull, 1u}, {0ull, 2u}, {2ull, 4u}, {0x4004ull, 8u}, {0xbffcull, 8u}}) {
    EXPECT_FALSE(m.aclint.read(offset, size, value));
    EXPECT_FALSE(m.aclint.write(offset, size, 1));
  }
  for (std::uint64_t at = 0; at < m.aclint.window(); at += 4) {
    EXPECT_TRUE(m.aclint.write(at, 4, never));
    peek(m.aclint, at, 4);
    if (at % 8 == 0) {
      EXPECT_TRUE(m.aclint.write(at, 8, never));
      peek(m.aclint, at, 8);
    }
  }
  EXPECT_EQ(m.timer.size(), 3u) << "harts that do not exist are not reported";
  EXPECT_EQ(peek(m.aclint, 12), 0u);
  EXPECT_EQ(peek(m.aclint, 0x4018, 8), 0u);
}

TEST(Aclint, ResetDisarmsAndSetsTheClockBack) {
  Machine m;
  m.aclint.write(0, 4, 1);
  m.aclint.write(0x4000, 8, 7);
  m.aclint.write(0xbff8, 8, 0);
  m.aclint.reset();
  EXPECT_FALSE(m.probe.level[0]);
  EXPECT_EQ(m.timer[0], never);
  EXPECT_EQ(m.time.offset, 0u);
}

// A restored machine would sleep for ever in WFI.
TEST(Aclint, SavedStateArmsTimersAndInterruptsAgain) {
  Machine a, b;
  a.aclint.write(8, 4, 1);
  a.aclint.write(0x4000, 8, 12345);
  a.aclint.write(0xbff8, 8, 500);
  ASSERT_TRUE(restored(b.aclint, saved(a.aclint)));
  EXPECT_EQ(saved(b.aclint), saved(a.aclint));
  EXPECT_TRUE(b.probe.level[2]);
  EXPECT_EQ(b.timer[0], 12345u);
  EXPECT_EQ(b.timer[1], never);
  EXPECT_EQ(b.time.offset, a.time.offset);
  EXPECT_EQ(peek(b.aclint, 0xbff8, 8), 500u);
}

TEST(Aclint, HostileStatesAreRefused) {
  Machine m;
  EXPECT_TRUE(refuses_truncation(m.aclint));
  const auto good = saved(m.aclint);
  EXPECT_FALSE(restored(m.aclint, std::vector<std::byte>(good.size(), std::byte{0xff})));
  auto two = good;
  two.back() = std::byte{2};  // msip of the last hart
  EXPECT_FALSE(restored(m.aclint, two));
  Aclint other(m.time, {{&m.probe, 0}}, {});
  EXPECT_FALSE(restored(other, good)) << "another number of harts";
}

}  // namespace
}  // namespace doppel
