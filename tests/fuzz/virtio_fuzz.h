#pragma once
// A hostile driver from fuzzer input: register writes, queue memory, notifications, host events, snapshots. Everything
// is bounded: the input's length bounds the steps, and a step is bounded by the device's own limits, which is what is
// tested.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "device/virtio/mmio.h"
#include "unit/device/virtio/fakes.h"

namespace doppel::fuzz {

inline constexpr std::uint64_t base = 0x8000'0000, bytes = 1 << 20;

class HostileDriver {
 public:
  HostileDriver(const std::uint8_t* data, std::size_t size)
      : input_(data, size), memory_(std::move(GuestMemory::create(base, bytes)).value()) {}

  VirtioHost host() { return {*memory_, later_.door()}; }
  void plug(std::unique_ptr<VirtioDevice> device) {
    mmio_ = std::make_unique<VirtioMmio>(std::move(device), InterruptLine{&line_, 1});
  }

  /// The next number of the input; 0 at its end.
  template <typename T>
  T take() {
    T value{};
    const auto length = std::min(sizeof value, input_.size());
    std::memcpy(&value, input_.data(), length);
    input_ = input_.subspan(length);
    return value;
  }
  std::vector<std::byte> take_bytes(std::size_t limit) {
    const auto length = std::min<std::size_t>(limit, input_.size());
    const auto part = std::as_bytes(input_.first(length));
    input_ = input_.subspan(length);
    return {part.begin(), part.end()};
  }

  /// Runs the input; `host_event` is what the world outside does to the device.
  void run(const std::function<void(HostileDriver&)>& host_event) {
    start();
    for (unsigned steps = 0; !input_.empty() && steps < 400; steps++) step(host_event);
    for (int i = 0; i < 4; i++) later_.run();
    snapshot(false);
  }

 private:
  static constexpr std::uint64_t ring_bytes = 0x1000;  // a queue's three parts, at 0, 0x400 and 0x800
  static constexpr std::uint16_t ring_size = 16;

  void set(std::uint64_t offset, std::uint32_t value) { mmio_->write(offset, 4, value); }

  /// A correct start, so that the fuzzer need not find the way there; the features leave out what it likes.
  void start() {
    const auto without = take<std::uint32_t>();
    set(0x70, 0);
    set(0x70, 3);
    for (std::uint32_t half = 0; half < 2; half++) {
      std::uint64_t offered = 0;
      set(0x14, half);
      mmio_->read(0x10, 4, offered);
      set(0x24, half);
      set(0x20, static_cast<std::uint32_t>(offered) & (half ? ~0u : ~without));
    }
    set(0x70, 11);
    for (unsigned i = 0; i < mmio_->device()->queues().size(); i++) {
      const std::uint64_t at = base + ring_bytes * i;
      set(0x30, i);
      set(0x38, ring_size);
      set(0x80, static_cast<std::uint32_t>(at));
      set(0x90, static_cast<std::uint32_t>(at + 0x400));
      set(0xa0, static_cast<std::uint32_t>(at + 0x800));
      set(0x44, 1);
    }
    set(0x70, 15);
  }

  void step(const std::function<void(HostileDriver&)>& host_event) {
    switch (take<std::uint8_t>() % 10) {
      case 0: {
        const auto offset = take<std::uint16_t>() % 0x200;
        const unsigned size = 1u << take<std::uint8_t>() % 4;
        mmio_->write(offset, size, take<std::uint64_t>());
        break;
      }
      case 1: {
        std::uint64_t value = 0;
        mmio_->read(take<std::uint16_t>() % 0x200, 1u << take<std::uint8_t>() % 4, value);
        break;
      }
      case 2: {
        const auto at = take<std::uint32_t>() % bytes;
        const auto data = take_bytes(take<std::uint8_t>());
        (void)memory_->write(base + at, data.data(), data.size());
        break;
      }
      case 3:
      case 4:
        offer_chain();
        break;
      case 5:
        set(0x50, take<std::uint8_t>() % 16);
        break;
      case 6:
        later_.run();
        break;
      case 7:
        snapshot(true);
        break;
      case 8:
        if (take<std::uint8_t>() % 8 == 0) start();
        break;
      default:
        host_event(*this);
    }
  }

  /// A chain that is mostly sensible: a small header whose bytes come from the input, then more buffers.
  void offer_chain() {
    const unsigned queue = take<std::uint8_t>() % mmio_->device()->queues().size();
    const std::uint64_t ring = base + ring_bytes * queue;
    const unsigned count = 1 + take<std::uint8_t>() % 5;
    const auto first = take<std::uint8_t>() % ring_size;
    for (unsigned i = 0; i < count; i++) {
      const auto shape = take<std::uint8_t>();
      struct {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags, next;
      } d{base + 0x40000 + take<std::uint16_t>() * 8ull, take<std::uint16_t>(), 0,
          static_cast<std::uint16_t>((first + i + 1) % ring_size)};
      if (shape & 1) d.flags |= 2;
      if (i + 1 < count) d.flags |= 1;
      if ((shape & 0xf0) == 0xf0) d.flags ^= take<std::uint8_t>() & 7;
      if ((shape & 0x0c) == 0x0c) d.length = 16;
      if (shape & 2) {
        const auto content = take_bytes(16);
        (void)memory_->write(d.address, content.data(), content.size());
      }
      (void)memory_->write(ring + 16 * ((first + i) % ring_size), &d, sizeof d);
    }
    std::uint16_t idx = 0;
    (void)memory_->read(ring + 0x402, &idx, 2);
    const std::uint16_t head = first;
    (void)memory_->write(ring + 0x404 + 2 * (idx % ring_size), &head, 2);
    idx++;
    (void)memory_->write(ring + 0x402, &idx, 2);
    set(0x50, queue);
  }

  /// Saves and restores, with some bytes changed if `bend`; without, what is restored must be what was saved.
  void snapshot(bool bend) {
    Writer saved;
    mmio_->save(saved);
    auto record = saved.take();
    const unsigned changes = bend ? take<std::uint8_t>() % 4 : 0;
    for (unsigned i = 0; i < changes; i++) {
      const auto at = take<std::uint16_t>() % record.size();
      record[at] = std::byte(take<std::uint8_t>());
    }
    Reader in{record};
    const bool ok = mmio_->restore(in).ok();
    if (changes != 0) return mmio_->resume();
    Writer again;
    mmio_->save(again);
    if (!ok || again.data() != record) __builtin_trap();
    mmio_->resume();
  }

  std::span<const std::uint8_t> input_;
  doppel::testing::FakeLine line_;
  doppel::testing::LaterQueue later_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<VirtioMmio> mmio_;
};

}  // namespace doppel::fuzz
