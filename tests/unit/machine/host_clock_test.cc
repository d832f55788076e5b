// The guest's time from the host's counter: programs must never see it go back, and timers must come when it says.
#include "machine/host_clock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace doppel {
namespace {

constexpr std::int64_t ns_per_tick = 100;
constexpr double counts_per_ns = 2.9;

/// A host whose counter and clock a test moves.
struct FakeHost {
  std::uint64_t counter = 1ULL << 40;
  std::int64_t ns = 0;
  HostClock clock{[this] { return HostClock::Sample{counter, ns}; }, ns_per_tick};

  void pass(std::int64_t time, double drift = 0) {
    ns += time;
    counter += std::uint64_t(double(time) * counts_per_ns * (1 + drift));
  }
  /// The guest's time; what the clock says while there is no formula.
  std::uint64_t ticks() {
    ir::TimeFormula formula;
    return clock.formula(counter, formula) ? formula.ticks(counter) : std::uint64_t(ns / ns_per_tick);
  }
  bool known() {
    ir::TimeFormula formula;
    return clock.formula(counter, formula);
  }
};

TEST(HostClock, FollowsAClockWhoseRateChangesAndNeverGoesBack) {
  FakeHost host;
  std::mt19937_64 random(1);
  auto last = host.ticks();
  double drift = 0;
  unsigned known = 0;
  for (unsigned n = 0; n < 200'000; n++) {
    if (n % 10'000 == 0) drift = (double(random() % 1000) - 500) * 1e-6;
    host.pass(std::int64_t(random() % 1'000'000), drift);
    if (n % 50'000 == 49'999) host.pass(600'000'000'000, drift);  // nobody looked for ten minutes
    const auto now = host.ticks();
    ASSERT_GE(now, last);
    // A millisecond, where the rate has just changed by a thousandth.
    const auto real = host.ns / ns_per_tick;
    if (n % 50'000 != 49'999) ASSERT_LE(std::abs(std::int64_t(now) - real), 10'000) << n;
    last = now;
    known += host.known();
  }
  EXPECT_GT(known, 190'000u);
}

TEST(HostClock, IsExactWhereNothingChanges) {
  FakeHost host;
  for (unsigned n = 0; n < 10'000; n++) {
    host.pass(1'000'000);
    ASSERT_LE(std::abs(std::int64_t(host.ticks()) - host.ns / ns_per_tick), 2) << n;
  }
}

// A machine that is moved to another host: what counted cannot be trusted any more.
TEST(HostClock, GivesUpOnACounterThatGoesBack) {
  FakeHost host;
  for (unsigned n = 0; n < 100; n++) host.pass(10'000'000), host.ticks();
  EXPECT_TRUE(host.known());
  host.counter -= 100;  // another processor's
  const auto now = host.ticks();
  EXPECT_LE(std::abs(std::int64_t(now) - host.ns / ns_per_tick), 2);
  host.counter /= 2;
  EXPECT_FALSE(host.known());
}

TEST(HostClock, SamplesTheHost) {
  const auto first = HostClock::sample_host(), second = HostClock::sample_host();
  EXPECT_GT(second.counter, first.counter);
  EXPECT_GE(second.ns, first.ns);
  EXPECT_EQ(HostClock::usable(), HostClock::usable());
}

}  // namespace
}  // namespace doppel
