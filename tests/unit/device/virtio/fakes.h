#pragma once
// Disks, networks and ports that live in memory and do what a test tells them.
#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/device.h"
#include "device/virtio/console.h"
#include "network/network.h"
#include "storage/async_disk.h"
#include "storage/disk_workers.h"

namespace doppel::testing {

class MemoryDisk : public Disk {
 public:
  explicit MemoryDisk(std::uint64_t size, bool read_only = false) : bytes(size), read_only_(read_only) {}
  std::uint64_t size() const override { return bytes.size(); }
  bool read_only() const override { return read_only_; }
  std::string_view format() const override { return "memory"; }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (!inside(offset, out.size())) return error("outside");
    std::copy_n(bytes.begin() + offset, out.size(), out.begin());
    return {};
  }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override {
    if (!inside(offset, data.size())) return error("outside");
    std::copy(data.begin(), data.end(), bytes.begin() + offset);
    return {};
  }
  Result<void> flush() override {
    flushes++;
    return {};
  }
  Result<void> discard(std::uint64_t offset, std::uint64_t length) override {
    discards++;
    return write_zeroes(offset, length, true);
  }
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool) override {
    if (length == 0 || !inside(offset, length)) return error("outside");
    std::fill_n(bytes.begin() + offset, length, std::byte{0});
    return {};
  }

  std::vector<std::byte> bytes;
  unsigned flushes = 0, discards = 0;
  bool strayed = false;  // a request went past the end: the device did not check

 private:
  bool inside(std::uint64_t offset, std::uint64_t length) {
    const bool ok = offset <= bytes.size() && length <= bytes.size() - offset;
    strayed |= !ok;
    return ok;
  }
  bool read_only_;
};

/// Holds requests until the test completes them.
class HeldDisk : public AsyncDisk {
 public:
  explicit HeldDisk(std::shared_ptr<MemoryDisk> disk) : disk_(std::move(disk)) {}
  void submit(DiskRequest request) override { held.push_back(std::move(request)); }
  /// Does what is held; it still waits to be completed.
  void drain() override {
    for (auto& request : held) request.done = [done = std::move(request.done), ok = take(request)](bool) { done(ok); };
  }
  Disk& disk() override { return *disk_; }

  /// Does and completes request `index` of those held, or fails it.
  void complete(std::size_t index = 0, bool ok = true) {
    auto request = std::move(held.at(index));
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(index));
    if (ok) ok = take(request);
    request.done(ok);
  }
  void complete_all() {
    while (!held.empty()) complete();
  }

  std::deque<DiskRequest> held;

 private:
  /// Does a request once; afterwards there is nothing that it would reach.
  bool take(DiskRequest& request) {
    const bool ok = perform(*disk_, request);
    request.kind = DiskRequest::Kind::flush;
    return ok;
  }
  std::shared_ptr<MemoryDisk> disk_;
};

/// A network that records what is sent and holds one incoming frame when the device has no room, as libslirp's does.
class FakeNetwork : public Network {
 public:
  void send(std::span<const std::byte> frame) override {
    sent.emplace_back(frame.begin(), frame.end());
    if (on_send) on_send(frame);
  }
  void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
  void resume() override {
    resumes++;
    while (!waiting.empty() && receiver_ && receiver_(waiting.front())) waiting.pop_front();
  }
  std::string_view kind() const override { return "fake network"; }
  void save(Writer&) const override {}
  Result<void> restore(Reader&) override { return {}; }
  void deliver(std::vector<std::byte> frame) {
    if (!waiting.empty() || !receiver_(frame)) waiting.push_back(std::move(frame));
  }
  bool connected() const { return receiver_ != nullptr; }

  std::vector<std::vector<std::byte>> sent;
  std::deque<std::vector<std::byte>> waiting;
  std::function<void(std::span<const std::byte>)> on_send;
  unsigned resumes = 0;

 private:
  Receiver receiver_;
};

/// A console port that keeps what the guest wrote, up to `limit` bytes.
class FakePort : public ConsolePort {
 public:
  std::size_t output(std::span<const std::byte> data) override {
    const auto length = std::min(data.size(), limit - std::min(limit, text.size()));
    text.append(reinterpret_cast<const char*>(data.data()), length);
    return length;
  }
  void input_room() override { rooms++; }
  void guest_open(bool is_open) override { open = is_open; }

  std::string text;
  std::size_t limit = SIZE_MAX;
  unsigned rooms = 0;
  bool open = false;
};

/// The functions that devices asked to run later.
class LaterQueue {
 public:
  std::function<void(std::function<void()>)> door() {
    return [this](std::function<void()> function) { functions_.push_back(std::move(function)); };
  }
  /// Runs those that are there now; what they ask for waits for the next call.
  void run() {
    for (auto& function : std::exchange(functions_, {})) function();
  }
  bool empty() const { return functions_.empty(); }

 private:
  std::vector<std::function<void()>> functions_;
};

class FakeLine : public InterruptSink {
 public:
  void set_level(unsigned, bool is_high) override {
    raised += is_high && !level;
    level = is_high;
  }
  bool level = false;
  unsigned raised = 0;
};

}  // namespace doppel::testing
