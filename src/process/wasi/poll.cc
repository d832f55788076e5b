// poll_oneoff: waiting for clocks and descriptors at once.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "process/wasi/context.h"

namespace doppel::wasi {
namespace {

struct Subscription {
  std::uint64_t userdata = 0;
  EventType type = EventType::clock;
  ClockId clock = ClockId::monotonic;  ///< of a clock
  std::uint64_t timeout = 0;
  bool absolute = false;
  std::uint32_t descriptor = 0;  ///< of a descriptor

  std::optional<std::uint64_t> deadline;  ///< when its clock reaches it by the monotonic clock
  std::optional<std::size_t> watched;     ///< its descriptor's place among those that are waited for
  bool happened = false;
  Errno error = Errno::success;
  std::uint64_t bytes = 0;
  bool hangup = false;

  void fail(Errno why) {
    happened = true;
    error = why;
  }
};

/// `at` is known to lie in memory.
std::optional<Subscription> parse(const GuestView& memory, std::uint64_t at, Version version) {
  // In wasi_unstable a clock's record begins with an identifier of 64 bits.
  const std::uint64_t clock = at + 16 + (version == Version::unstable ? 8 : 0);
  const auto type = *memory.read<std::uint8_t>(at + 8);
  if (type > std::uint8_t(EventType::fd_write)) return std::nullopt;
  Subscription out;
  out.userdata = *memory.read<std::uint64_t>(at);
  out.type = EventType(type);
  out.descriptor = *memory.read<std::uint32_t>(at + 16);
  out.clock = ClockId(*memory.read<std::uint32_t>(clock));
  out.timeout = *memory.read<std::uint64_t>(clock + 8);
  const auto flags = *memory.read<std::uint16_t>(clock + 24);
  out.absolute = flags & subscription_clock_abstime;
  if (out.type == EventType::clock && (flags & ~subscription_clock_abstime)) return std::nullopt;
  return out;
}

void write_event(const GuestView& memory, std::uint64_t at, const Subscription& subscription) {
  const auto record = *memory.bytes(at, sizes::event);
  std::fill(record.begin(), record.end(), 0);
  memory.write<std::uint64_t>(at, subscription.userdata);
  memory.write<std::uint16_t>(at + 8, std::uint16_t(subscription.error));
  record[10] = std::uint8_t(subscription.type);
  memory.write<std::uint64_t>(at + 16, subscription.bytes);
  memory.write<std::uint16_t>(at + 24, subscription.hangup ? event_fd_readwrite_hangup : 0);
}

std::uint64_t sum(std::uint64_t a, std::uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

/// How much can be read of it at once.
std::uint64_t readable_bytes(const Descriptor& descriptor) {
  const int host = descriptor.host.get();
  if (descriptor.type == FileType::regular_file) {
    struct stat status{};
    const off_t at = lseek(host, 0, SEEK_CUR);
    return fstat(host, &status) == 0 && at >= 0 && status.st_size > at ? std::uint64_t(status.st_size - at) : 0;
  }
  int bytes = 0;
  return ioctl(host, FIONREAD, &bytes) == 0 && bytes > 0 ? std::uint64_t(bytes) : 0;
}

/// What is subscribed to in one call, and what of it has happened.
class Poll {
 public:
  Poll(DescriptorTable& descriptors, Environment& environment) : descriptors_(descriptors), environment_(environment) {}

  std::vector<Subscription> subscriptions;

  /// Works out what each one waits for, the call having been made first at `started` of the monotonic clock; those that
  /// cannot or need not wait have happened.
  void prepare(std::uint64_t started) {
    for (auto& subscription : subscriptions) {
      if (subscription.type == EventType::clock)
        set_deadline(subscription, started);
      else
        watch(subscription);
    }
  }
  std::optional<std::uint64_t> first_deadline() const {
    std::optional<std::uint64_t> first;
    for (const auto& subscription : subscriptions)
      if (subscription.deadline && (!first || *subscription.deadline < *first)) first = subscription.deadline;
    return first;
  }
  bool any() const {
    return std::ranges::any_of(subscriptions, [](const auto& subscription) { return subscription.happened; });
  }
  /// Waits until `deadline`, or only looks where something has happened, and marks what then has.
  void wait(std::optional<std::uint64_t> deadline) {
    environment_.wait(watched_, any() ? std::optional<std::uint64_t>(0) : deadline);
    const auto now = environment_.clock_now(ClockId::monotonic).value_or(0);
    for (auto& subscription : subscriptions) {
      if (subscription.deadline && *subscription.deadline <= now) subscription.happened = true;
      if (subscription.watched) look(subscription, watched_[*subscription.watched].revents);
    }
  }
  const std::vector<pollfd>& watched() const { return watched_; }

 private:
  void set_deadline(Subscription& subscription, std::uint64_t started) {
    const bool real = subscription.clock == ClockId::realtime;
    if (!real && subscription.clock != ClockId::monotonic) return subscription.fail(Errno::notsup);
    if (!subscription.absolute) {
      subscription.deadline = sum(started, subscription.timeout);
    } else if (real) {
      const auto now = environment_.clock_now(ClockId::realtime).value_or(0);
      const auto left = subscription.timeout > now ? subscription.timeout - now : 0;
      subscription.deadline = left ? sum(environment_.clock_now(ClockId::monotonic).value_or(0), left) : 0;
    } else {
      subscription.deadline = subscription.timeout;
    }
  }

  void watch(Subscription& subscription) {
    const bool reads = subscription.type == EventType::fd_read;
    const Descriptor* found = descriptors_.find(subscription.descriptor);
    if (!found) return subscription.fail(Errno::badf);
    const Rights needed = rights::poll_fd_readwrite | (reads ? rights::fd_read : rights::fd_write);
    const Errno refused = check_rights(*found, needed);
    if (refused != Errno::success) return subscription.fail(refused);
    if (!found->may_wait()) {
      subscription.happened = true;
      subscription.bytes = reads ? readable_bytes(*found) : 0;
      return;
    }
    const auto [place, added] = places_.emplace(subscription.descriptor, watched_.size());
    if (added) watched_.push_back({.fd = found->host.get(), .events = 0, .revents = 0});
    watched_[place->second].events |= reads ? POLLIN : POLLOUT;
    subscription.watched = place->second;
  }

  void look(Subscription& subscription, short events) {
    const bool reads = subscription.type == EventType::fd_read;
    subscription.hangup = events & (POLLHUP | POLLERR);
    subscription.happened = subscription.hangup || (events & (reads ? POLLIN : POLLOUT));
    if (events & POLLNVAL) subscription.fail(Errno::badf);
    if (subscription.happened && reads)
      subscription.bytes = readable_bytes(*descriptors_.find(subscription.descriptor));
  }

  DescriptorTable& descriptors_;
  Environment& environment_;
  std::vector<pollfd> watched_;
  std::map<std::uint32_t, std::size_t> places_;
};

}  // namespace

/// Of a program that yields, a relative timeout counts from when it called first, not from when it is called again.
Answer Context::poll(Memory memory, u32 subscriptions, u32 events, u32 count, u32 stored, Version version) {
  const u64 size = version == Version::unstable ? sizes::subscription_unstable : sizes::subscription;
  if (count == 0 || count > limits::subscriptions) return Errno::inval;
  if (!memory.holds(subscriptions, size * count) || !memory.holds(events, u64{sizes::event} * count) ||
      !memory.holds(stored, 4))
    return Errno::fault;
  Poll poll(descriptors, *environment);
  for (u64 n = 0; n < count; n++) {
    const auto subscription = parse(memory, subscriptions + n * size, version);
    if (!subscription) return Errno::inval;
    poll.subscriptions.push_back(*subscription);
  }
  if (!poll_started) poll_started = environment->clock_now(ClockId::monotonic).value_or(0);
  poll.prepare(*poll_started);
  poll.wait(0);
  while (!poll.any()) {
    if (yielding) {
      pending = {.descriptors = poll.watched(), .deadline = poll.first_deadline()};
      return wasm::HostOutcome::waits();
    }
    poll.wait(poll.first_deadline());
  }
  poll_started.reset();
  u32 written = 0;
  for (const auto& subscription : poll.subscriptions)
    if (subscription.happened) write_event(memory, events + u64{sizes::event} * written++, subscription);
  return memory.write<u32>(stored, written);
}

Answer Context::poll_oneoff(Memory memory, u32 subscriptions, u32 events, u32 count, u32 stored) {
  return poll(memory, subscriptions, events, count, stored, Version::preview1);
}

Answer Context::poll_oneoff_unstable(Memory memory, u32 subscriptions, u32 events, u32 count, u32 stored) {
  return poll(memory, subscriptions, events, count, stored, Version::unstable);
}

}  // namespace doppel::wasi
