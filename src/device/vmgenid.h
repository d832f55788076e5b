#pragma once
#include <array>
#include <cstdint>

#include "device/device.h"

namespace doppel {

/// Microsoft's virtual machine generation ID behind a device tree ("microsoft,vmgenid"): 16 bytes that are others in
/// every copy of a machine. A guest that is told by its interrupt makes its random numbers anew.
class Vmgenid final : public Device {
 public:
  using Identifier = std::array<std::byte, 16>;
  explicit Vmgenid(InterruptLine interrupt) : interrupt_(interrupt) {}

  /// The machine has begun, and the guest need not be told.
  void begin(const Identifier& identifier) { identifier_ = identifier; }
  /// The machine is another than it was. The interrupt is a pulse, for the driver has nothing to acknowledge.
  void change(const Identifier& identifier);

  std::string_view name() const override { return "vmgenid"; }
  std::uint64_t window() const override { return 0x1000; }
  void reset() override {}
  /// The identifier can be read in any size, and not be written.
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t, unsigned, std::uint64_t) override { return true; }
  void save(Writer& out) const override { out.bytes(identifier_); }
  Result<void> restore(Reader& in) override;

 private:
  Identifier identifier_{};
  InterruptLine interrupt_;
};

}  // namespace doppel
