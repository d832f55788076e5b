#pragma once
#include <memory>

#include "device/device.h"
#include "device/virtio/device.h"

namespace doppel {

/// The register window of one virtio device, "modern" (Virtio 1.2, 4.2.2). Without a device it is an empty slot:
/// DeviceID 0.
class VirtioMmio : public Device, private VirtioTransport {
 public:
  /// Bits of Status (2.1).
  enum : std::uint32_t {
    ACKNOWLEDGE = 1,
    DRIVER = 2,
    DRIVER_OK = 4,
    FEATURES_OK = 8,
    DEVICE_NEEDS_RESET = 64,
    FAILED = 128,
  };

  /// `device` may be null; `irq` is level-triggered.
  VirtioMmio(std::unique_ptr<VirtioDevice> device, InterruptLine irq);

  VirtioDevice* device() const { return device_.get(); }

  std::string_view name() const override { return "virtio-mmio"; }
  std::uint64_t window() const override { return 0x200; }
  void reset() override;
  /// Registers take aligned accesses of 4 bytes (4.2.2.2), the configuration space any; others read zero and are
  /// ignored.
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override;
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  void save(Writer& out) const override;
  Result<void> restore(Reader& in) override;
  /// VirtioDevice::resume().
  void resume() {
    if (device_) device_->resume();
  }

 private:
  struct Register;
  static const Register* find(std::uint64_t offset, unsigned size);
  template <std::uint64_t Queue::* address, unsigned shift>
  static void set_address(VirtioMmio& m, std::uint32_t value);

  void queue_interrupt() override { raise(1); }
  void config_interrupt() override;
  void needs_reset() override;
  void raise(std::uint32_t cause);
  Queue* selected();
  void set_driver_features(std::uint32_t value);
  void set_queue_ready(std::uint32_t value);
  void set_status(std::uint32_t value);
  bool features_acceptable() const;
  bool running() const { return (status_ & DRIVER_OK) && !(status_ & DEVICE_NEEDS_RESET); }

  std::unique_ptr<VirtioDevice> device_;
  InterruptLine irq_;
  // The state.
  std::uint32_t device_features_sel_ = 0, driver_features_sel_ = 0, queue_sel_ = 0;
  std::uint64_t driver_features_ = 0;
  std::uint32_t interrupt_status_ = 0, status_ = 0, config_generation_ = 0;
};

}  // namespace doppel
