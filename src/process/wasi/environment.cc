#include "process/wasi/environment.h"

#include <sched.h>
#include <sys/random.h>

#include <algorithm>
#include <ctime>

#include "base/clock.h"

namespace doppel::wasi {
namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;

std::optional<clockid_t> host_clock(ClockId id) {
  // The threads of a pool run a program by turns, so a thread's clock would go back and forth.
  constexpr clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_PROCESS_CPUTIME_ID};
  const auto n = std::size_t(id);
  return n < std::size(clocks) ? std::optional(clocks[n]) : std::nullopt;
}

std::uint64_t nanoseconds(const timespec& time) {
  return std::uint64_t(time.tv_sec) * second_ns + std::uint64_t(time.tv_nsec);
}

class HostEnvironment final : public Environment {
 public:
  std::optional<std::uint64_t> clock_now(ClockId id) override {
    timespec time{};
    const auto clock = host_clock(id);
    if (!clock || clock_gettime(*clock, &time) != 0) return std::nullopt;
    return nanoseconds(time);
  }
  std::optional<std::uint64_t> clock_resolution(ClockId id) override {
    timespec time{};
    const auto clock = host_clock(id);
    if (!clock || clock_getres(*clock, &time) != 0) return std::nullopt;
    return std::max<std::uint64_t>(nanoseconds(time), 1);
  }
  void random(std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      const ssize_t got = getrandom(out.data(), std::min<std::size_t>(out.size(), 1 << 20), 0);
      if (got > 0) out = out.subspan(std::size_t(got));
    }
  }
  int wait(std::span<pollfd> descriptors, std::optional<std::uint64_t> deadline) override {
    timespec left{};
    if (deadline) {
      const std::uint64_t now = std::uint64_t(monotonic_ns()), rest = *deadline > now ? *deadline - now : 0;
      left = {time_t(std::min<std::uint64_t>(rest / second_ns, INT32_MAX)), long(rest % second_ns)};
    }
    for (auto& descriptor : descriptors) descriptor.revents = 0;
    return std::max(ppoll(descriptors.data(), descriptors.size(), deadline ? &left : nullptr, nullptr), 0);
  }
  void yield() override { sched_yield(); }
};

}  // namespace

std::unique_ptr<Environment> host_environment() { return std::make_unique<HostEnvironment>(); }

}  // namespace doppel::wasi
