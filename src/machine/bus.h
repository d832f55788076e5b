#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "device/device.h"
#include "machine/device_lock.h"
#include "memory/mmio.h"

namespace doppel {

/// The physical address space beside RAM: which device answers where. Takes the device lock for each access.
class Bus final : public MmioDoor {
 public:
  explicit Bus(DeviceLock& device_lock) : lock_(device_lock) {}

  /// `size` bytes at `base`; the part behind the device's own window reads as zero and ignores writes. Before the first
  /// access.
  void attach(std::uint64_t base, std::uint64_t size, Device& device) { windows_.push_back({base, size, &device}); }
  bool mmio_read(std::uint64_t address, unsigned size, std::uint64_t& value) override;
  bool mmio_write(std::uint64_t address, unsigned size, std::uint64_t value) override;

 private:
  struct Window {
    std::uint64_t base, size;
    Device* device;
  };
  const Window* find(std::uint64_t address, unsigned size) const;
  DeviceLock& lock_;
  std::vector<Window> windows_;
};

}  // namespace doppel
