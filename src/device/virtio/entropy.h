#pragma once
#include <functional>

#include "device/virtio/device.h"

namespace doppel {

/// The entropy device (Virtio 1.2, 5.4).
class VirtioEntropy : public VirtioDevice {
 public:
  /// The most that one buffer is given; 5.4.6.2 lets the device give less than there is room for.
  static constexpr std::size_t max_bytes = 4096;
  /// Fills the span with random bytes; the machine's one door for them (machine/input).
  using Source = std::function<void(std::span<std::byte>)>;

  VirtioEntropy(VirtioHost host, Source source);

  std::span<const std::byte> config() const override { return {}; }

 protected:
  std::uint64_t features() const override { return 0; }
  void cleared() override {}
  void process(unsigned queue) override;
  void save_state(Writer&) const override {}
  Result<void> restore_state(Reader&) override { return {}; }

 private:
  Source source_;
};

}  // namespace doppel
