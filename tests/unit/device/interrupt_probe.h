#pragma once
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/archive.h"
#include "device/device.h"

namespace doppel {

/// Remembers the level of every wire, and how often each was driven.
struct InterruptProbe : InterruptSink {
  std::map<unsigned, bool> level;
  std::map<unsigned, int> driven;
  void set_level(unsigned source, bool now) override {
    level[source] = now;
    driven[source]++;
  }
};

inline std::vector<std::byte> saved(const Device& device) {
  Writer out;
  device.save(out);
  return out.take();
}

inline Result<void> restored(Device& device, const std::vector<std::byte>& bytes) {
  Reader in(bytes);
  return device.restore(in);
}

inline std::uint64_t peek(Device& device, std::uint64_t offset, unsigned size = 4) {
  std::uint64_t value = 0;
  return device.read(offset, size, value) ? value : 0xfa17fa17fa17fa17;  // a fault
}

/// What every device promises about bytes that no device of its kind saved: cut short they are refused.
inline bool refuses_truncation(Device& device) {
  auto bytes = saved(device);
  for (auto size = bytes.size(); size-- > 0;) {
    bytes.resize(size);
    if (restored(device, bytes)) return false;
  }
  return true;
}

}  // namespace doppel
