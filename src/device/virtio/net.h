#pragma once
#include <array>
#include <memory>
#include <vector>

#include "device/virtio/device.h"
#include "network/network.h"

namespace doppel {

/// The network device (Virtio 1.2, 5.1) with one pair of queues, mergeable receive buffers and checksum offload:
/// outgoing checksums are completed here, incoming ones are verified here, so that the guest need not do either.
class VirtioNet : public VirtioDevice {
 public:
  static constexpr std::uint16_t queue_size = 256;
  static constexpr std::size_t header_bytes = 12;  // 5.1.6: struct virtio_net_hdr, always with num_buffers since 1.0
  static constexpr std::size_t max_frame = 65550;

  VirtioNet(VirtioHost host, std::unique_ptr<Network> network, MacAddress mac);
  ~VirtioNet() override;

  std::span<const std::byte> config() const override { return config_; }
  /// The card's address from now on: a driver reads it when it starts. It is saved state.
  void set_mac(const MacAddress& mac);
  /// What is at the other end of the cable.
  Network& network() { return *network_; }

 protected:
  std::uint64_t features() const override;
  void cleared() override;
  void process(unsigned queue) override;
  void save_state(Writer& out) const override;
  Result<void> restore_state(Reader& in) override;

 private:
  enum : unsigned { receive_queue = 0, transmit_queue = 1 };
  enum class Gathered { enough, wait, never };

  bool receive(std::span<const std::byte> frame);
  Gathered gather(std::uint64_t bytes);
  void give_back();
  void fill_gathered(std::span<const std::byte> frame);
  void resume_later();
  void transmit();
  void send(const Chain& chain);

  std::unique_ptr<Network> network_;
  std::array<std::byte, 12> config_{};
  bool waiting_ = false;   // the network holds a frame until the driver adds receive buffers
  bool resuming_ = false;  // it will be told that it need not, for there is no driver

  // Room to work in, kept to save allocations.
  std::vector<Chain> gathered_;
  std::size_t gathered_count_ = 0;
  Chain transmitted_;
  std::vector<std::byte> frame_;
};

}  // namespace doppel
