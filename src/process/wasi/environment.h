#pragma once
// The one door through which a WASI program learns what is not a function of its state: time, entropy, and whether a
// descriptor is ready. A deterministic run puts another in its place.
#include <poll.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "process/wasi/abi.h"

namespace doppel::wasi {

class Environment {
 public:
  virtual ~Environment() = default;
  /// Nanoseconds; nothing where there is no such clock. `realtime` counts from 1970-01-01 UTC.
  virtual std::optional<std::uint64_t> clock_now(ClockId id) = 0;
  virtual std::optional<std::uint64_t> clock_resolution(ClockId id) = 0;
  virtual void random(std::span<std::uint8_t> out) = 0;
  /// Until one of the descriptors has an event or the monotonic clock reaches `deadline`; without one, for ever. A
  /// deadline that has passed only looks. Fills `revents`. How many have events; 0 as well where the wait was
  /// interrupted.
  virtual int wait(std::span<pollfd> descriptors, std::optional<std::uint64_t> deadline) = 0;
  /// Lets other threads run.
  virtual void yield() = 0;
};

/// What a function that could not go on waits for.
struct Pending {
  std::vector<pollfd> descriptors;        ///< the host's; `events` as of poll(2)
  std::optional<std::uint64_t> deadline;  ///< of the monotonic clock, in nanoseconds
};

/// The host's clocks and entropy. `process_cputime` and `thread_cputime` are what this process has used.
std::unique_ptr<Environment> host_environment();

}  // namespace doppel::wasi
