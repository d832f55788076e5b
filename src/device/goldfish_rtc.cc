#include "device/goldfish_rtc.h"

#include <algorithm>

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

std::uint64_t with_low(std::uint64_t value, std::uint32_t low) { return (value & ~0xffffffffULL) | low; }
std::uint64_t with_high(std::uint64_t value, std::uint32_t high) {
  return (value & 0xffffffff) | std::uint64_t{high} << 32;
}

}  // namespace

GoldfishRtc::GoldfishRtc(InterruptLine interrupt, WallClock wall_clock, Schedule schedule)
    : interrupt_(interrupt), wall_clock_(std::move(wall_clock)), schedule_(std::move(schedule)) {}

void GoldfishRtc::update_interrupt() { interrupt_.set(state_.irq_enabled && state_.irq_pending); }

void GoldfishRtc::disarm() {
  if (state_.alarm_running && schedule_) schedule_(no_alarm);
  state_.alarm_running = 0;
}

// An alarm that is not in the future fires at once: Linux asks for the past when it lost time on the way.
void GoldfishRtc::arm() {
  const auto time = now();
  if (state_.alarm <= time) {
    disarm();
    state_.irq_pending = 1;
    update_interrupt();
    return;
  }
  state_.alarm_running = 1;
  if (!schedule_) return;
  const auto wall = wall_clock_();
  const auto left = static_cast<std::uint64_t>(no_alarm) - static_cast<std::uint64_t>(std::max<std::int64_t>(wall, 0));
  // Alarms beyond the wall clock's range wait as long as it can; alarm_fired() then waits on.
  const auto wait = std::min(state_.alarm - time, left > 0 ? left - 1 : 0);
  schedule_(static_cast<std::int64_t>(static_cast<std::uint64_t>(wall) + wait));
}

void GoldfishRtc::alarm_fired() {
  if (state_.alarm_running) arm();
}

void GoldfishRtc::set_now(std::uint64_t value) { state_.offset = value - static_cast<std::uint64_t>(wall_clock_()); }

void GoldfishRtc::reset() {
  disarm();
  state_ = {};
  update_interrupt();
}

bool GoldfishRtc::read(std::uint64_t offset, unsigned size, std::uint64_t& value) {
  if (size != 4 || offset % 4) return false;
  value = 0;
  switch (offset) {
    case TIME_LOW: {
      const auto time = now();
      state_.time_high = static_cast<std::uint32_t>(time >> 32);
      value = static_cast<std::uint32_t>(time);
      break;
    }
    case TIME_HIGH:
      value = state_.time_high;
      break;
    case ALARM_LOW:
      value = static_cast<std::uint32_t>(state_.alarm);
      break;
    case ALARM_HIGH:
      value = state_.alarm >> 32;
      break;
    case IRQ_ENABLED:
      value = state_.irq_enabled;
      break;
    case ALARM_STATUS:
      value = state_.alarm_running;
      break;
    default:
      break;
  }
  return true;
}

bool GoldfishRtc::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (size != 4 || offset % 4) return false;
  const auto word = static_cast<std::uint32_t>(value);
  switch (offset) {
    case TIME_LOW:  // the driver writes TIME_HIGH first; between the two the time means nothing to the alarm
      set_now(with_low(now(), word));
      if (state_.alarm_running) arm();
      break;
    case TIME_HIGH:
      set_now(with_high(now(), word));
      break;
    case ALARM_LOW:  // the driver writes ALARM_HIGH first, and this arms
      state_.alarm = with_low(state_.alarm, word);
      arm();
      break;
    case ALARM_HIGH:
      state_.alarm = with_high(state_.alarm, word);
      break;
    case IRQ_ENABLED:
      state_.irq_enabled = word & 1;
      break;
    case CLEAR_ALARM:
      disarm();
      break;
    case CLEAR_INTERRUPT:
      state_.irq_pending = 0;
      break;
    default:
      break;
  }
  update_interrupt();
  return true;
}

void GoldfishRtc::save(Writer& out) const { out.put(state_); }

Result<void> GoldfishRtc::restore(Reader& in) {
  auto state = in.get<State>();
  if (!in.ok()) return error("the saved state of the goldfish-rtc is cut short");
  if (state.alarm_running > 1 || state.irq_enabled > 1 || state.irq_pending > 1 || state.unused)
    return error("the saved state of the goldfish-rtc is damaged");
  disarm();
  state_ = state;
  update_interrupt();
  if (state_.alarm_running) arm();
  return {};
}

}  // namespace doppel
