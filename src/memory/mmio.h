#pragma once
#include <cstdint>

namespace doppel {

/// Everything in a physical address space that is not RAM.
class MmioDoor {
 public:
  virtual ~MmioDoor() = default;
  /// Reads or writes 1, 2, 4 or 8 bytes at a guest-physical address; false is an access fault (nothing is there, or the
  /// device does not take that size). Any hart's thread may call; the door takes the device lock.
  virtual bool mmio_read(std::uint64_t address, unsigned size, std::uint64_t& value) = 0;
  virtual bool mmio_write(std::uint64_t address, unsigned size, std::uint64_t value) = 0;
};

}  // namespace doppel
