#include "machine/bus.h"

#include <mutex>

namespace doppel {

const Bus::Window* Bus::find(std::uint64_t address, unsigned size) const {
  for (const auto& window : windows_)
    if (address >= window.base && address - window.base <= window.size - size) return &window;
  return nullptr;
}

bool Bus::mmio_read(std::uint64_t address, unsigned size, std::uint64_t& value) {
  const auto* window = find(address, size);
  if (!window) return false;
  const auto offset = address - window->base;
  value = 0;
  if (offset + size > window->device->window()) return true;
  std::lock_guard guard(lock_);
  return window->device->read(offset, size, value);
}

bool Bus::mmio_write(std::uint64_t address, unsigned size, std::uint64_t value) {
  const auto* window = find(address, size);
  if (!window) return false;
  const auto offset = address - window->base;
  if (offset + size > window->device->window()) return true;
  std::lock_guard guard(lock_);
  return window->device->write(offset, size, value);
}

}  // namespace doppel
