#pragma once
// The one door for everything that is not a function of the machine's state (ARCHITECTURE, law 6): time, entropy, and
// when what the outside does reaches the guest.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include "base/archive.h"
#include "base/event_loop.h"
#include "network/network.h"
#include "storage/async_disk.h"

namespace doppel {

/// Where guest time comes from.
enum class ClockKind : std::uint8_t {
  host,          // the host's clocks
  instructions,  // 10 ns an executed instruction; idle time is skipped; everything else that varies is fixed
};

/// Time, entropy and the delivery of events. Everything is called under the device lock except now_ns() and
/// advance_to().
class Input {
 public:
  Input(ClockKind kind, EventLoop& loop, std::recursive_mutex& device_lock);
  Input(const Input&) = delete;

  static constexpr std::int64_t clock_step_ns = 1000;  // so that guest ticks of up to that long fall on the host's
  ClockKind kind() const { return kind_; }
  bool deterministic() const { return kind_ == ClockKind::instructions; }

  /// Nanoseconds of guest time since the machine was made. With ClockKind::instructions, as of the last advance_to().
  std::int64_t now_ns() const;
  /// The host's monotonic clock when the machine was made, a multiple of clock_step_ns.
  std::int64_t start_ns() const { return start_; }
  /// The guest's wall clock, nanoseconds since 1970.
  std::int64_t wall_ns() const { return wall_start_ + now_ns(); }
  void entropy(std::span<std::byte> out);
  /// Entropy is another from now on in each machine that was given another word.
  void diverge(std::string_view word);

  /// An event from outside: at once, or at the next point between two quanta when the machine is deterministic.
  void deliver(std::function<void()> event);
  /// Runs `event` soon, but not from inside the caller.
  void later(std::function<void()> event);
  /// Runs `event` when guest time reaches `when_ns`; cancel() takes what it returns.
  std::uint64_t at(std::int64_t when_ns, std::function<void()> event);
  void cancel(std::uint64_t timer);

  /// A disk whose completions come through this door.
  std::unique_ptr<AsyncDisk> open(std::unique_ptr<Disk> disk);
  /// A network whose frames come through this door.
  std::unique_ptr<Network> wrap(std::unique_ptr<Network> network);

  /// Guest time as it is, for a copy of the machine to go on from: its monotonic clock stands still meanwhile, its wall
  /// clock is what the host's is then, or by the instruction clock goes on.
  void save(Writer& out) const;
  /// `elapsed_ns` have passed for the guest since.
  Result<void> restore(Reader& in, std::int64_t elapsed_ns = 0);

  // For the deterministic scheduler, between quanta, without the device lock.
  /// Guest time is now `ns`: runs what is due, in order.
  void advance_to(std::int64_t ns);
  /// When the next event is due in guest time; INT64_MAX is never.
  std::int64_t next_event_ns();

 private:
  static constexpr std::int64_t fixed_wall_start = 1'735'689'600'000'000'000;  // 2025-01-01 00:00 UTC

  ClockKind kind_;
  EventLoop& loop_;
  std::recursive_mutex& lock_;
  std::int64_t start_, wall_start_;
  std::atomic<std::int64_t> virtual_now_ = 0;
  std::multimap<std::int64_t, std::pair<std::uint64_t, std::function<void()>>> events_;
  std::uint64_t next_timer_ = 1;
  std::uint64_t seed_ = 0x9e3779b97f4a7c15;
};

}  // namespace doppel
