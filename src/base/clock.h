#pragma once
#include <cstdint>
#include <ctime>

namespace doppel {

/// The host's monotonic clock in nanoseconds.
inline std::int64_t monotonic_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

/// The host's wall clock in nanoseconds since 1970-01-01 UTC. Only machine/input may show it to a guest.
inline std::int64_t wall_clock_ns() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

}  // namespace doppel
