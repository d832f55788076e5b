#include "machine/input.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/clock.h"
#include "storage/disk_workers.h"

namespace doppel {
namespace {

/// Does each request at once and completes it a fixed guest time later, so that completions do not depend on the host's
/// disk.
class DeterministicDisk final : public AsyncDisk {
 public:
  static constexpr std::int64_t latency_ns = 100'000;

  DeterministicDisk(std::unique_ptr<Disk> disk, Input& input) : disk_(std::move(disk)), input_(input) {}
  ~DeterministicDisk() override {
    for (const auto timer : timers_) input_.cancel(timer);
  }
  void submit(DiskRequest request) override {
    const bool ok = perform(*disk_, request);
    auto timer = std::make_shared<std::uint64_t>();
    *timer = input_.at(input_.now_ns() + latency_ns, [this, timer, ok, done = std::move(request.done)] {
      std::erase(timers_, *timer);
      done(ok);
    });
    timers_.push_back(*timer);
  }
  void drain() override {}
  Disk& disk() override { return *disk_; }

 private:
  std::unique_ptr<Disk> disk_;
  Input& input_;
  std::vector<std::uint64_t> timers_;
};

/// Holds frames for the guest back until the door lets events through.
class DeferredNetwork final : public Network {
 public:
  DeferredNetwork(std::unique_ptr<Network> network, Input& input) : network_(std::move(network)), input_(input) {
    network_->set_receiver([this](std::span<const std::byte> frame) { return hold(frame); });
  }
  ~DeferredNetwork() override { forget_frames(); }
  void send(std::span<const std::byte> frame) override { network_->send(frame); }
  void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
  void resume() override { flush(); }
  std::vector<PublishedPort> published_ports() const override { return network_->published_ports(); }
  std::string_view kind() const override { return network_->kind(); }
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;

 private:
  static constexpr std::size_t max_frames = 1024, max_frame = 65550;
  bool hold(std::span<const std::byte> frame) {
    if (frames_.size() >= max_frames) return false;
    frames_.emplace_back(frame.begin(), frame.end());
    if (frames_.size() == 1) flush_between_quanta();
    return true;
  }
  void flush_between_quanta() {
    timer_ = input_.at(0, [this] {
      timer_ = 0;
      flush();
    });
  }
  void flush() {
    while (!frames_.empty() && receiver_ && receiver_(frames_.front())) frames_.pop_front();
    if (frames_.empty()) network_->resume();
  }
  void forget_frames() {
    if (timer_ != 0) input_.cancel(std::exchange(timer_, 0));
    frames_.clear();
  }
  bool restore_frames(Reader& in);

  std::unique_ptr<Network> network_;
  Input& input_;
  Receiver receiver_;
  std::deque<std::vector<std::byte>> frames_;
  std::uint64_t timer_ = 0;  // of what will flush them; 0: the receiver has no room, or there is none
};

std::int64_t rounded(std::int64_t ns) { return ns - ns % Input::clock_step_ns; }
void DeferredNetwork::save(Writer& out) const {
  network_->save(out);
  out.put<std::uint8_t>(timer_ != 0);
  out.put<std::uint32_t>(std::uint32_t(frames_.size()));
  for (const auto& frame : frames_) out.blob(frame);
}

bool DeferredNetwork::restore_frames(Reader& in) {
  const bool flushes = in.get<std::uint8_t>() != 0;
  const auto count = in.get<std::uint32_t>();
  for (std::uint32_t n = 0; in.ok() && n < std::min<std::size_t>(count, max_frames); n++)
    frames_.push_back(in.blob(max_frame));
  if (flushes) flush_between_quanta();
  return in.ok() && count <= max_frames;
}

Result<void> DeferredNetwork::restore(Reader& in) {
  forget_frames();
  if (auto restored = network_->restore(in); !restored) return restored;
  if (restore_frames(in)) return {};
  forget_frames();
  return error("the saved machine's frames on their way to it are damaged");
}

}  // namespace

Input::Input(ClockKind kind, EventLoop& loop, std::recursive_mutex& device_lock)
    : kind_(kind),
      loop_(loop),
      lock_(device_lock),
      start_(rounded(monotonic_ns())),
      wall_start_(kind == ClockKind::host ? wall_clock_ns() : fixed_wall_start) {}

std::int64_t Input::now_ns() const {
  return deterministic() ? virtual_now_.load(std::memory_order_relaxed) : monotonic_ns() - start_;
}

void Input::save(Writer& out) const {
  out.put(std::uint64_t(kind_));
  out.put(now_ns());
  out.put(seed_);
}

Result<void> Input::restore(Reader& in, std::int64_t elapsed_ns) {
  const auto kind = in.get<std::uint64_t>();
  auto now = in.get<std::int64_t>();
  const auto seed = in.get<std::uint64_t>();
  constexpr std::int64_t most = 1LL << 60;  // 36 years
  if (!in.ok() || now < 0 || now > most) return error("the saved time is damaged");
  if (kind != std::uint64_t(kind_)) return error("the machine that was saved has another --clock");
  seed_ = seed;
  now += elapsed_ns;
  if (deterministic()) {
    virtual_now_ = now;
  } else {
    start_ = rounded(monotonic_ns() - now);
    wall_start_ = wall_clock_ns() - now;
  }
  return {};
}

void Input::entropy(std::span<std::byte> out) {
  if (!deterministic()) {
    for (std::size_t done = 0; done < out.size();) {
      const auto got = getrandom(out.data() + done, out.size() - done, 0);
      if (got > 0) done += std::size_t(got);
    }
    return;
  }
  for (auto& byte : out) {  // splitmix64
    seed_ += 0x9e3779b97f4a7c15;
    auto z = (seed_ ^ seed_ >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    byte = std::byte(z >> 56);
  }
}

void Input::diverge(std::string_view word) {
  for (const auto letter : word) seed_ = (seed_ ^ std::uint8_t(letter)) * 0x100000001b3;  // FNV-1a
}

void Input::deliver(std::function<void()> event) {
  if (!deterministic()) return event();
  at(0, std::move(event));
}

void Input::later(std::function<void()> event) {
  if (!deterministic()) return loop_.post(std::move(event));
  at(0, std::move(event));
}

std::uint64_t Input::at(std::int64_t when_ns, std::function<void()> event) {
  if (!deterministic()) return loop_.at(start_ + when_ns, std::move(event));
  events_.emplace(when_ns, std::pair(next_timer_, std::move(event)));
  loop_.post([] {});  // an idle machine waits on the loop
  return next_timer_++;
}

void Input::cancel(std::uint64_t timer) {
  if (!deterministic()) return loop_.cancel(timer);
  std::erase_if(events_, [&](const auto& entry) { return entry.second.first == timer; });
}

std::unique_ptr<AsyncDisk> Input::open(std::unique_ptr<Disk> disk) {
  if (deterministic()) return std::make_unique<DeterministicDisk>(std::move(disk), *this);
  return make_async_disk(std::move(disk), loop_);
}

std::unique_ptr<Network> Input::wrap(std::unique_ptr<Network> network) {
  if (!deterministic()) return network;
  return std::make_unique<DeferredNetwork>(std::move(network), *this);
}

void Input::advance_to(std::int64_t ns) {
  std::lock_guard guard(lock_);
  virtual_now_ = ns;
  // What is delivered now may deliver more; that waits for the next quantum, so that a guest cannot hold us here.
  std::vector<std::function<void()>> due;
  const auto end = events_.upper_bound(ns);
  for (auto it = events_.begin(); it != end; ++it) due.push_back(std::move(it->second.second));
  events_.erase(events_.begin(), end);
  for (auto& event : due) event();
}

std::int64_t Input::next_event_ns() {
  std::lock_guard guard(lock_);
  return events_.empty() ? INT64_MAX : events_.begin()->first;
}

}  // namespace doppel
