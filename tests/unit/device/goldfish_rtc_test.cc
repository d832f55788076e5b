#include "device/goldfish_rtc.h"

#include <gtest/gtest.h>

#include "unit/device/interrupt_probe.h"

namespace doppel {
namespace {

enum Register : std::uint64_t {
  TIME_LOW = 0x00,
  TIME_HIGH = 0x04,
  ALARM_LOW = 0x08,
  ALARM_HIGH = 0x0c,
  IRQ_ENABLED = 0x10,
  CLEAR_ALARM = 0x14,
  ALARM_STATUS = 0x18,
  CLEAR_INTERRUPT = 0x1c,
};

constexpr std::int64_t start = 1'700'000'000'123'456'789;

struct Machine {
  std::int64_t wall = start, scheduled = GoldfishRtc::no_alarm;
  InterruptProbe probe;
  GoldfishRtc rtc{{&probe, 11}, [this] { return wall; }, [this](std::int64_t at) { scheduled = at; }};
  void put(std::uint64_t at, std::uint64_t value) { EXPECT_TRUE(rtc.write(at, 4, value)); }
  std::int64_t time() {
    const auto low = peek(rtc, TIME_LOW);
    return static_cast<std::int64_t>(peek(rtc, TIME_HIGH) << 32 | low);
  }
  void set_time(std::int64_t ns) {
    put(TIME_HIGH, static_cast<std::uint64_t>(ns) >> 32);
    put(TIME_LOW, static_cast<std::uint32_t>(ns));
  }
  void alarm(std::int64_t ns) {
    put(ALARM_HIGH, static_cast<std::uint64_t>(ns) >> 32);
    put(ALARM_LOW, static_cast<std::uint32_t>(ns));
    put(IRQ_ENABLED, 1);
  }
  bool interrupt() { return probe.level[11]; }
};

// The guest's date would jump by 4 s when the low half wraps between the two reads.
TEST(GoldfishRtc, ReadingTheLowHalfLatchesTheHigh) {
  Machine m;
  EXPECT_EQ(m.time(), start);
  m.wall = 0x1'ffff'ffff;
  EXPECT_EQ(peek(m.rtc, TIME_LOW), 0xffffffffu);
  m.wall++;
  EXPECT_EQ(peek(m.rtc, TIME_HIGH), 1u);
  EXPECT_EQ(m.time(), 0x2'0000'0000);
}

TEST(GoldfishRtc, TheGuestCanSetItsClock) {
  Machine m;
  m.set_time(1'000'000'000'000'000'000);
  m.wall += 42;
  EXPECT_EQ(m.time(), 1'000'000'000'000'000'042);
  EXPECT_EQ(m.wall, start + 42);
}

// rtcwake would never wake the guest, or at once.
TEST(GoldfishRtc, AlarmComesAtItsTimeAndIsCleared) {
  Machine m;
  m.alarm(start + 5000);
  EXPECT_EQ(m.scheduled, start + 5000);
  EXPECT_EQ(peek(m.rtc, ALARM_STATUS), 1u);
  EXPECT_EQ(peek(m.rtc, ALARM_HIGH) << 32 | peek(m.rtc, ALARM_LOW), static_cast<std::uint64_t>(start + 5000));
  m.rtc.alarm_fired();
  EXPECT_FALSE(m.interrupt()) << "too early";
  m.wall = start + 5000;
  m.rtc.alarm_fired();
  EXPECT_TRUE(m.interrupt());
  EXPECT_EQ(peek(m.rtc, ALARM_STATUS), 0u);
  m.put(CLEAR_INTERRUPT, 1);
  EXPECT_FALSE(m.interrupt());
  m.rtc.alarm_fired();
  EXPECT_FALSE(m.interrupt()) << "no alarm is set any more";
}

TEST(GoldfishRtc, AnAlarmInThePastComesAtOnce) {
  Machine m;
  m.alarm(start - 1);
  EXPECT_TRUE(m.interrupt());
  EXPECT_EQ(peek(m.rtc, ALARM_STATUS), 0u);
}

TEST(GoldfishRtc, ClearedAndMaskedAlarmsStaySilent) {
  Machine m;
  m.alarm(start + 10);
  m.put(CLEAR_ALARM, 1);
  EXPECT_EQ(m.scheduled, GoldfishRtc::no_alarm);
  EXPECT_EQ(peek(m.rtc, ALARM_STATUS), 0u);
  m.put(IRQ_ENABLED, 0);
  m.put(ALARM_LOW, 0);
  EXPECT_FALSE(m.interrupt());
  m.put(IRQ_ENABLED, 1);
  EXPECT_TRUE(m.interrupt()) << "pending all the time";
}

TEST(GoldfishRtc, SettingTheClockMovesTheAlarm) {
  Machine m;
  m.alarm(start + 1000);
  m.set_time(start + 400);
  EXPECT_EQ(m.scheduled, start + 600);
  m.put(TIME_HIGH, 0xffffffff);
  EXPECT_FALSE(m.interrupt()) << "half a time is none";
  m.set_time(start + 2000);
  EXPECT_TRUE(m.interrupt());
}

TEST(GoldfishRtc, AlarmsBeyondTheHostsClockNeverOverflow) {
  Machine m;
  m.put(ALARM_HIGH, 0xffffffff);
  m.put(ALARM_LOW, 0xffffffff);
  EXPECT_GT(m.scheduled, start);
  EXPECT_FALSE(m.interrupt());
  m.wall = GoldfishRtc::no_alarm;
  m.rtc.alarm_fired();
  m.wall = -5;
  m.rtc.alarm_fired();
  SUCCEED();
}

TEST(GoldfishRtc, OnlyAlignedWordsAndUnknownRegistersAreZero) {
  Machine m;
  std::uint64_t value = 0;
  for (const auto& [offset, size] : {std::pair{0ull, 1u}, {0ull, 2u}, {2ull, 4u}, {0ull, 8u}}) {
    EXPECT_FALSE(m.rtc.read(offset, size, value));
    EXPECT_FALSE(m.rtc.write(offset, size, 1));
  }
  for (std::uint64_t at = 0x20; at < m.rtc.window(); at += 4) {
    m.put(at, 0xffffffff);
    EXPECT_EQ(peek(m.rtc, at), 0u);
  }
}

// A restored guest would sleep through its alarm or show a wrong date.
TEST(GoldfishRtc, SavedStateKeepsTimeAndAlarm) {
  Machine a, b;
  a.set_time(start + 1'000'000);
  a.alarm(start + 1'000'500);
  ASSERT_TRUE(restored(b.rtc, saved(a.rtc)));
  EXPECT_EQ(saved(b.rtc), saved(a.rtc));
  EXPECT_EQ(b.time(), start + 1'000'000);
  EXPECT_EQ(b.scheduled, start + 500);
  Machine late;
  late.wall = start + 10'000;
  ASSERT_TRUE(restored(late.rtc, saved(a.rtc)));
  EXPECT_TRUE(late.interrupt()) << "the time went by while it was saved";
  Machine pending;
  ASSERT_TRUE(restored(pending.rtc, saved(late.rtc)));
  EXPECT_TRUE(pending.interrupt());
}

TEST(GoldfishRtc, ResetAndHostileStates) {
  Machine m;
  m.alarm(start + 10);
  EXPECT_TRUE(refuses_truncation(m.rtc));
  EXPECT_FALSE(restored(m.rtc, std::vector<std::byte>(saved(m.rtc).size(), std::byte{0xff})));
  EXPECT_EQ(m.scheduled, start + 10) << "a refused state changes nothing";
  m.rtc.reset();
  EXPECT_EQ(m.scheduled, GoldfishRtc::no_alarm);
  EXPECT_EQ(m.time(), start);
}

}  // namespace
}  // namespace doppel
