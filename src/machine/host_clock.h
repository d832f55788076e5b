#pragma once
// Guest time by the host's time-stamp counter, as the kernel's vDSO has it: a formula that generated code computes
// without a call. It follows the monotonic clock, that the machine's timers are in, and never goes back.
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "ir/execution_state.h"

namespace doppel {

class HostClock {
 public:
  /// The counter and the clock in nanoseconds, at one moment.
  struct Sample {
    std::uint64_t counter;
    std::int64_t ns;
  };
  using Sampler = std::function<Sample()>;
  /// `ns_per_tick` is the guest's.
  HostClock(Sampler sampler, std::int64_t ns_per_tick);

  /// Whether the host itself takes time from the counter: it is constant then, and all processors have the same.
  static bool usable();
  /// The one that follows the host's monotonic clock, for all machines of the process: its rate is known from the
  /// second on. Where usable().
  static HostClock& of_host(std::int64_t ns_per_tick);
  /// The least disturbed of some samples of the host.
  static Sample sample_host();

  /// The formula for now, where `counter` is the counter; false while the rate is not known yet. Any thread.
  bool formula(std::uint64_t counter, ir::TimeFormula& out);

 private:
  void look();
  void correct(const Sample& now);
  void publish(const ir::TimeFormula& formula);

  const Sampler sampler_;
  const double units_per_ns_;  // of the formula's base
  std::atomic<std::uint64_t> next_look_ = 0;
  std::mutex lock_;  // guards what follows
  bool begun_ = false, lost_ = false;
  Sample last_{};
  ir::TimeFormula current_{};
  // What readers see; the version is odd while it changes.
  std::atomic<std::uint32_t> version_ = 0;
  std::atomic<std::uint64_t> enabled_ = 0, origin_ = 0, rate_ = 0, base_ = 0;
};

}  // namespace doppel
