#pragma once
#include <array>
#include <vector>

#include "device/virtio/device.h"

namespace doppel {

/// The traditional memory balloon device (Virtio 1.2, 5.5): what the driver puts in the balloon, or reports as free, is
/// zeros from then on, and the host has its memory back until the guest writes there again. It needs no leave for that,
/// so the driver may take pages out of the balloon as it likes.
class VirtioBalloon : public VirtioDevice {
 public:
  explicit VirtioBalloon(VirtioHost host);

  /// How many pages of 4 KiB the driver is asked to put in the balloon.
  void set_target(std::uint32_t pages);
  struct Counters {
    std::uint32_t target = 0, inflated = 0;  // pages; the second by the driver's word
    std::uint64_t discarded = 0;             // pages that were given back, each time that they were
  };
  const Counters& counters() const { return counters_; }

  std::span<const std::byte> config() const override { return config_; }
  void write_config(std::uint64_t offset, std::span<const std::byte> data) override;

 protected:
  std::uint64_t features() const override;
  void cleared() override;
  void process(unsigned queue) override;
  void save_state(Writer& out) const override;
  Result<void> restore_state(Reader& in) override;

 private:
  bool inflate(const Chain& chain);
  bool discard(std::span<const GuestSpan> spans);
  void show();

  std::array<std::byte, 8> config_{};
  Counters counters_;
  std::vector<GuestSpan> spans_;
};

}  // namespace doppel
