#pragma once
#include <cstdint>
#include <functional>
#include <limits>

#include "device/device.h"

namespace doppel {

/// The Goldfish real-time clock: nanoseconds since 1970-01-01 UTC, and one alarm. Its registers are those that Linux's
/// rtc-goldfish driver uses.
class GoldfishRtc final : public Device {
 public:
  /// For the schedule callback: no alarm is wanted any more.
  static constexpr std::int64_t no_alarm = std::numeric_limits<std::int64_t>::max();
  /// The wall clock that the guest may see, in nanoseconds since 1970 (machine/input).
  using WallClock = std::function<std::int64_t()>;
  /// Asks for one alarm_fired() when the wall clock reaches `wall_ns`, in place of what was asked for before.
  using Schedule = std::function<void(std::int64_t wall_ns)>;

  GoldfishRtc(InterruptLine interrupt, WallClock wall_clock, Schedule schedule);

  /// The scheduled time has come. Too early or without an alarm it does no harm.
  void alarm_fired();

  std::string_view name() const override { return "goldfish-rtc"; }
  std::uint64_t window() const override { return 0x1000; }
  void reset() override;
  /// Aligned 4-byte accesses; others are access faults.
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;

 private:
  struct State {
    std::uint64_t offset = 0;  ///< what the guest's clock is ahead of the wall clock, modulo 2^64
    std::uint64_t alarm = 0;
    std::uint32_t time_high = 0;  ///< latched by reading TIME_LOW
    std::uint8_t alarm_running = 0, irq_enabled = 0, irq_pending = 0, unused = 0;
  };

  std::uint64_t now() { return static_cast<std::uint64_t>(wall_clock_()) + state_.offset; }
  void set_now(std::uint64_t value);
  void arm();
  void disarm();
  void update_interrupt();

  State state_;
  InterruptLine interrupt_;
  WallClock wall_clock_;
  Schedule schedule_;
};

}  // namespace doppel
