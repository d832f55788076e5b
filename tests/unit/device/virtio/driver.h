#pragma once
// A guest driver in C++: what a kernel does with the registers and rings of a virtio-mmio device.
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "device/virtio/mmio.h"
#include "unit/device/virtio/fakes.h"

namespace doppel::testing {

inline constexpr std::uint64_t ram_base = 0x8000'0000, ram_size = 64 << 20;

namespace reg {
enum : std::uint64_t {
  MagicValue = 0x000,
  Version = 0x004,
  DeviceID = 0x008,
  VendorID = 0x00c,
  DeviceFeatures = 0x010,
  DeviceFeaturesSel = 0x014,
  DriverFeatures = 0x020,
  DriverFeaturesSel = 0x024,
  QueueSel = 0x030,
  QueueNumMax = 0x034,
  QueueNum = 0x038,
  QueueReady = 0x044,
  QueueNotify = 0x050,
  InterruptStatus = 0x060,
  InterruptACK = 0x064,
  Status = 0x070,
  QueueDescLow = 0x080,
  QueueDriverLow = 0x090,
  QueueDeviceLow = 0x0a0,
  SHMLenLow = 0x0b0,
  ConfigGeneration = 0x0fc,
  Config = 0x100,
};
}  // namespace reg

struct Buffer {
  std::uint64_t address;
  std::uint32_t length;
  bool writable;
};

struct Used {
  std::uint32_t id, length;
};

enum : std::uint16_t { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/// One machine's worth of memory, interrupt line and device; the driver talks to it by registers only.
class Driver {
 public:
  struct Ring {
    std::uint16_t size = 0;
    std::uint64_t desc = 0, avail = 0, used = 0;
    std::uint16_t avail_idx = 0, used_seen = 0, next_desc = 0;
  };

  Driver(GuestMemory& memory, VirtioMmio& mmio) : memory(memory), mmio(mmio) {}

  std::uint32_t get(std::uint64_t offset) {
    std::uint64_t value = 0;
    mmio.read(offset, 4, value);
    return static_cast<std::uint32_t>(value);
  }
  void set(std::uint64_t offset, std::uint32_t value) { mmio.write(offset, 4, value); }
  bool needs_reset() { return get(reg::Status) & VirtioMmio::DEVICE_NEEDS_RESET; }

  template <typename T>
  T peek(std::uint64_t address) {
    T value{};
    if (!memory.read(address, &value, sizeof value)) std::abort();
    return value;
  }
  template <typename T>
  void poke(std::uint64_t address, const T& value) {
    if (!memory.write(address, &value, sizeof value)) std::abort();
  }
  std::uint64_t allocate(std::uint64_t bytes) {
    const auto at = next_;
    next_ += (bytes + 4095) & ~4095ull;
    if (next_ > ram_base + ram_size) std::abort();
    return at;
  }
  std::uint64_t place(std::string_view bytes) {
    const auto at = allocate(bytes.size());
    if (!memory.write(at, bytes.data(), bytes.size())) std::abort();
    return at;
  }
  std::string text(std::uint64_t address, std::size_t length) {
    std::string out(length, 0);
    if (!memory.read(address, out.data(), length)) std::abort();
    return out;
  }

  std::uint64_t offered() {
    std::uint64_t features = 0;
    for (std::uint32_t i = 0; i < 2; i++) {
      set(reg::DeviceFeaturesSel, i);
      features |= static_cast<std::uint64_t>(get(reg::DeviceFeatures)) << 32 * i;
    }
    return features;
  }
  /// 3.1.1 up to FEATURES_OK; whether the device took the features.
  bool negotiate(std::uint64_t features) {
    set(reg::Status, 0);
    set(reg::Status, 1);
    set(reg::Status, 3);
    for (std::uint32_t i = 0; i < 2; i++) {
      set(reg::DriverFeaturesSel, i);
      set(reg::DriverFeatures, static_cast<std::uint32_t>(features >> 32 * i));
    }
    set(reg::Status, 11);
    return get(reg::Status) & VirtioMmio::FEATURES_OK;
  }
  void set64(std::uint64_t offset, std::uint64_t value) {
    set(offset, static_cast<std::uint32_t>(value));
    set(offset + 4, static_cast<std::uint32_t>(value >> 32));
  }
  Ring& queue(unsigned index, std::uint16_t size) {
    if (rings.size() <= index) rings.resize(index + 1);
    auto& ring = rings[index];
    ring = {size, allocate(16 * size), allocate(6 + 2 * size), allocate(6 + 8 * size)};
    for (auto [at, bytes] : {std::pair{ring.desc, 16u * size}, {ring.avail, 6u + 2 * size}, {ring.used, 6u + 8 * size}})
      if (!memory.fill(at, 0, bytes)) std::abort();
    set(reg::QueueSel, index);
    set(reg::QueueNum, size);
    set64(reg::QueueDescLow, ring.desc);
    set64(reg::QueueDriverLow, ring.avail);
    set64(reg::QueueDeviceLow, ring.used);
    set(reg::QueueReady, 1);
    return ring;
  }
  void driver_ok() { set(reg::Status, 15); }
  /// All of it: features, `count` queues of `size`, DRIVER_OK.
  void start(std::uint64_t features, unsigned count, std::uint16_t size = 16) {
    if (!negotiate(features)) std::abort();
    for (unsigned i = 0; i < count; i++) queue(i, size);
    driver_ok();
  }

  void descriptor(Ring& ring, std::uint16_t index, std::uint64_t address, std::uint32_t length, std::uint16_t flags,
                  std::uint16_t next) {
    write_descriptor(ring.desc + 16ull * index, address, length, flags, next);
  }
  void write_descriptor(std::uint64_t at, std::uint64_t address, std::uint32_t length, std::uint16_t flags,
                        std::uint16_t next) {
    poke(at, address);
    poke(at + 8, length);
    poke(at + 12, flags);
    poke(at + 14, next);
  }
  /// Writes a chain into the next free descriptors, wrapping round; returns its head.
  std::uint16_t chain(Ring& ring, const std::vector<Buffer>& buffers) {
    const std::uint16_t head = ring.next_desc;
    for (std::size_t i = 0; i < buffers.size(); i++) {
      const std::uint16_t at = ring.next_desc;
      ring.next_desc = (at + 1) % ring.size;
      const bool last = i + 1 == buffers.size();
      descriptor(ring, at, buffers[i].address, buffers[i].length, (last ? 0 : NEXT) | (buffers[i].writable ? WRITE : 0),
                 last ? 0 : ring.next_desc);
    }
    return head;
  }
  void make_available(Ring& ring, std::uint16_t head) {
    poke<std::uint16_t>(ring.avail + 4 + 2 * (ring.avail_idx % ring.size), head);
    poke<std::uint16_t>(ring.avail + 2, ++ring.avail_idx);
  }
  /// Adds a buffer without telling the device.
  std::uint16_t add(unsigned index, const std::vector<Buffer>& buffers) {
    const auto head = chain(rings[index], buffers);
    make_available(rings[index], head);
    return head;
  }
  void notify(unsigned index) { set(reg::QueueNotify, index); }
  std::uint16_t send(unsigned index, const std::vector<Buffer>& buffers) {
    const auto head = add(index, buffers);
    notify(index);
    return head;
  }
  /// What came back since the last call.
  std::vector<Used> used(unsigned index) {
    auto& ring = rings[index];
    std::vector<Used> out;
    while (ring.used_seen != peek<std::uint16_t>(ring.used + 2))
      out.push_back(peek<Used>(ring.used + 4 + 8 * (ring.used_seen++ % ring.size)));
    return out;
  }
  void set_used_event(unsigned index, std::uint16_t value) {
    poke(rings[index].avail + 4 + 2 * rings[index].size, value);
  }
  std::uint16_t avail_event(unsigned index) {
    return peek<std::uint16_t>(rings[index].used + 4 + 8 * rings[index].size);
  }

  GuestMemory& memory;
  VirtioMmio& mmio;
  std::vector<Ring> rings;

 private:
  std::uint64_t next_ = ram_base;
};

/// A device in its slot with a driver.
class Rig {
 public:
  Rig() : memory(std::move(GuestMemory::create(ram_base, ram_size)).value()) {}
  VirtioHost host() { return {*memory, later.door()}; }
  void plug(std::unique_ptr<VirtioDevice> device) {
    mmio = std::make_unique<VirtioMmio>(std::move(device), InterruptLine{&line, 1});
    driver = std::make_unique<Driver>(*memory, *mmio);
  }
  std::vector<std::byte> save() {
    Writer out;
    mmio->save(out);
    return out.take();
  }
  /// What a machine does when all of it is restored, and what comes of that.
  void resume() {
    mmio->resume();
    later.run();
  }
  /// Acknowledges; whether the interrupt was high.
  bool take_interrupt() {
    const bool was = line.level;
    driver->set(reg::InterruptACK, driver->get(reg::InterruptStatus));
    return was;
  }

  FakeLine line;
  LaterQueue later;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<VirtioMmio> mmio;
  std::unique_ptr<Driver> driver;
};

inline std::vector<std::byte> to_bytes(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace doppel::testing
