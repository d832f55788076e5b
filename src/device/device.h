#pragma once
// What a device is (ARCHITECTURE, law 7): a state record and a few functions. What is not in its saved state does not
// exist.
#include <cstdint>
#include <string_view>

#include "base/archive.h"
#include "base/result.h"

namespace doppel {

/// Takes levels of numbered interrupt sources.
class InterruptSink {
 public:
  virtual ~InterruptSink() = default;
  virtual void set_level(unsigned source, bool level) = 0;
};

/// One wire into an interrupt controller or a hart. Not connected, it goes nowhere.
struct InterruptLine {
  InterruptSink* sink = nullptr;
  unsigned source = 0;
  void set(bool level) const {
    if (sink) sink->set_level(source, level);
  }
};

/// A memory-mapped device. Every function is called with the machine's device lock held. Devices see guest memory only
/// through GuestMemory's checked copies and never see the engine.
class Device {
 public:
  virtual ~Device() = default;
  /// The record's name in snapshots, for instance "uart16550".
  virtual std::string_view name() const = 0;
  /// Size of the register window in bytes.
  virtual std::uint64_t window() const = 0;
  /// To the state after power-on.
  virtual void reset() = 0;
  /// One register access: `offset` < window(), `size` 1, 2, 4 or 8; false is an access fault. Registers that do not
  /// exist read as zero and ignore writes, where the device's manual does not say otherwise.
  virtual bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) = 0;
  virtual bool write(std::uint64_t offset, unsigned size, std::uint64_t value) = 0;
  /// Saves the whole state, requests in flight included; restore() reads hostile bytes and fails with a sentence, and
  /// after it the device behaves as the saved one, with its interrupt line driven to match.
  virtual void save(Writer& out) const = 0;
  virtual Result<void> restore(Reader& in) = 0;
};

}  // namespace doppel
