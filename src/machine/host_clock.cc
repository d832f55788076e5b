#include "machine/host_clock.h"

#include <cpuid.h>
#include <x86intrin.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::uint64_t first_look = 100'000'000;  // counts until the rate is taken: some 30 milliseconds
constexpr double look_ns = 1e9;                    // between two corrections
constexpr double steepest = 0.01;                  // of a correction
// Processors' counters may differ by little: none is to be before the origin.
constexpr std::uint64_t slack = 1ULL << 32;
constexpr double two_to_64 = 18446744073709551616.0;

}  // namespace

HostClock::HostClock(Sampler sampler, std::int64_t ns_per_tick)
    : sampler_(std::move(sampler)), units_per_ns_(double(1U << ir::TimeFormula::fraction_bits) / double(ns_per_tick)) {}

bool HostClock::usable() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned advanced_power_management = 0x8000'0007, invariant = 1 << 8;
  if (!__get_cpuid(advanced_power_management, &a, &b, &c, &d) || !(d & invariant)) return false;
  std::ifstream file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  std::string source;
  return file >> source && source == "tsc";
}

HostClock& HostClock::of_host(std::int64_t ns_per_tick) {
  static HostClock clock(sample_host, ns_per_tick);
  return clock;
}

HostClock::Sample HostClock::sample_host() {
  Sample best{};
  auto shortest = ~0ULL;
  for (unsigned n = 0; n < 5; n++) {
    const auto before = __rdtsc();
    const auto ns = monotonic_ns();
    const auto took = __rdtsc() - before;
    if (took < shortest) shortest = took, best = {before + took / 2, ns};
  }
  return best;
}

bool HostClock::formula(std::uint64_t counter, ir::TimeFormula& out) {
  if (counter >= next_look_.load(std::memory_order_relaxed) || counter < origin_.load(std::memory_order_relaxed))
    look();
  while (true) {
    const auto version = version_.load(std::memory_order_acquire);
    out.enabled = enabled_.load(std::memory_order_relaxed);
    out.origin = origin_.load(std::memory_order_relaxed);
    out.rate = rate_.load(std::memory_order_relaxed);
    out.base = base_.load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (!(version & 1) && version_.load(std::memory_order_relaxed) == version) return out.enabled;
  }
}

void HostClock::look() {
  std::unique_lock guard(lock_, std::try_to_lock);
  if (!guard || lost_) return;
  const auto now = sampler_();
  if (!begun_) {
    begun_ = true, last_ = now;
    next_look_ = now.counter + first_look;
    return;
  }
  if (now.counter >= current_.origin && now.counter < next_look_) return;  // another did it
  correct(now);
}

/// From here on the formula goes as fast as the clock did since the last time. What it is behind it makes up for at
/// once; what it is ahead, in the time until the next look: so it never goes back, and never runs away where nobody
/// looks.
void HostClock::correct(const Sample& now) {
  const auto counts = double(now.counter - last_.counter), ns = double(now.ns - last_.ns);
  if (now.counter <= last_.counter || ns <= 0) {
    lost_ = true;
    next_look_ = ~0ULL;
    return publish({});
  }
  auto wanted = std::uint64_t(double(now.ns) * units_per_ns_);
  // What was read from the clock itself so far had one tick as its unit.
  if (!current_.enabled) wanted += 1U << ir::TimeFormula::fraction_bits;
  const auto reached = current_.enabled ? current_.units(now.counter) : 0;
  const auto ahead = reached > wanted ? double(reached - wanted) / (look_ns * units_per_ns_) : 0;
  const auto rate = ns * units_per_ns_ / counts * (1 - std::min(ahead, steepest));
  last_ = now;
  next_look_ = now.counter + std::uint64_t(counts / ns * look_ns);
  ir::TimeFormula next{.enabled = ir::TimeFormula::on,
                       .origin = now.counter - std::min(now.counter, slack),
                       .rate = std::uint64_t(rate * two_to_64)};
  next.base = std::max(reached, wanted) - next.units(now.counter);
  publish(next);
}

void HostClock::publish(const ir::TimeFormula& formula) {
  current_ = formula;
  version_.fetch_add(1, std::memory_order_acq_rel);
  enabled_.store(formula.enabled, std::memory_order_release);
  origin_.store(formula.origin, std::memory_order_release);
  rate_.store(formula.rate, std::memory_order_release);
  base_.store(formula.base, std::memory_order_release);
  version_.fetch_add(1, std::memory_order_release);
}

}  // namespace doppel
