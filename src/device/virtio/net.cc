#include "device/virtio/net.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "device/virtio/checksum.h"

namespace doppel {
namespace {

enum : std::uint64_t {  // 5.1.3
  VIRTIO_NET_F_CSUM = 1 << 0,
  VIRTIO_NET_F_GUEST_CSUM = 1 << 1,
  VIRTIO_NET_F_MAC = 1 << 5,
  VIRTIO_NET_F_MRG_RXBUF = 1 << 15,
  VIRTIO_NET_F_STATUS = 1 << 16,
};

constexpr std::uint16_t VIRTIO_NET_S_LINK_UP = 1;
enum : std::uint8_t { VIRTIO_NET_HDR_F_NEEDS_CSUM = 1, VIRTIO_NET_HDR_F_DATA_VALID = 2 };
constexpr std::uint8_t VIRTIO_NET_HDR_GSO_NONE = 0;
constexpr std::size_t min_frame = 14;

struct Header {  // 5.1.6
  std::uint8_t flags, gso_type;
  std::uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};
static_assert(sizeof(Header) == VirtioNet::header_bytes);

constexpr std::uint16_t queue_sizes[] = {VirtioNet::queue_size, VirtioNet::queue_size};

}  // namespace

VirtioNet::VirtioNet(VirtioHost host, std::unique_ptr<Network> network, MacAddress mac)
    : VirtioDevice(std::move(host), 1, "virtio-net", queue_sizes), network_(std::move(network)) {
  set_mac(mac);
  std::memcpy(config_.data() + 6, &VIRTIO_NET_S_LINK_UP, 2);
  network_->set_receiver([this](std::span<const std::byte> frame) { return receive(frame); });
}

void VirtioNet::set_mac(const MacAddress& mac) { std::memcpy(config_.data(), mac.data(), mac.size()); }

VirtioNet::~VirtioNet() { network_->set_receiver(nullptr); }

std::uint64_t VirtioNet::features() const {
  return VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_STATUS;
}

void VirtioNet::cleared() {
  if (std::exchange(waiting_, false)) resume_later();  // what it holds has no receiver any more
}

void VirtioNet::resume_later() {
  resuming_ = true;
  later([this] {
    resuming_ = false;
    network_->resume();
  });
}

void VirtioNet::process(unsigned queue) {
  if (queue == transmit_queue) return transmit();
  if (std::exchange(waiting_, false)) network_->resume();
}

/// The Network's receiver: false when the frame has to wait for buffers.
bool VirtioNet::receive(std::span<const std::byte> frame) {
  if (!usable(receive_queue) || frame.size() > max_frame) return true;  // as a cable without a computer at its end
  switch (gather(header_bytes + frame.size())) {
    case Gathered::never:
      give_back();
      return true;
    case Gathered::wait:
      give_back();
      waiting_ = running();
      return !waiting_;
    case Gathered::enough:
      break;
  }
  fill_gathered(frame);
  signal(receive_queue);
  return true;
}

/// Pops chains until they hold `bytes`: one where receive buffers are not mergeable.
VirtioNet::Gathered VirtioNet::gather(std::uint64_t bytes) {
  std::uint64_t room = 0;
  for (gathered_count_ = 0; room < bytes; gathered_count_++) {
    if (gathered_count_ == queues()[receive_queue].size || (gathered_count_ == 1 && !has(VIRTIO_NET_F_MRG_RXBUF)))
      return Gathered::never;
    if (gathered_.size() == gathered_count_) gathered_.emplace_back();
    auto& chain = gathered_[gathered_count_];
    if (!take(receive_queue, chain)) return Gathered::wait;
    // 5.1.6.3.1: a buffer holds at least the header. One that holds less could be offered for ever without progress.
    if (chain.writable_bytes < header_bytes) {
      fail();
      return Gathered::wait;
    }
    room += chain.writable_bytes;
  }
  return Gathered::enough;
}

void VirtioNet::give_back() { queues()[receive_queue].unpop(static_cast<std::uint16_t>(gathered_count_)); }

void VirtioNet::fill_gathered(std::span<const std::byte> frame) {
  Header header{};
  header.num_buffers = static_cast<std::uint16_t>(gathered_count_);
  if (has(VIRTIO_NET_F_GUEST_CSUM) && checksum_is_valid(frame)) header.flags = VIRTIO_NET_HDR_F_DATA_VALID;
  auto& queue = queues()[receive_queue];
  auto head = std::as_bytes(std::span(&header, 1));
  bool ok = true;
  for (std::size_t i = 0; ok && i < gathered_count_; i++) {
    auto& chain = gathered_[i];
    const auto part = frame.first(std::min<std::uint64_t>(frame.size(), chain.writable_bytes - head.size()));
    ok = write_spans(memory(), chain.writable, 0, head) && write_spans(memory(), chain.writable, head.size(), part) &&
         queue.push(memory(), chain.head, static_cast<std::uint32_t>(head.size() + part.size()));
    frame = frame.subspan(part.size());
    head = {};
  }
  // The driver must see all buffers of a frame or none.
  if (!ok || !queue.publish(memory())) fail();
}

void VirtioNet::transmit() {
  drain(transmit_queue, transmitted_, [this](const Chain& chain) {
    send(chain);
    complete(transmit_queue, chain, 0);
    return running();
  });
  signal(transmit_queue);
}

/// Sends a chain's frame; what is no frame, or asks for what was not negotiated, is dropped as a wire would.
void VirtioNet::send(const Chain& chain) {
  const auto bytes = chain.readable_bytes;
  if (bytes < header_bytes + min_frame || bytes > header_bytes + max_frame) return;
  Header header;
  frame_.resize(bytes - header_bytes);
  if (!read_spans(memory(), chain.readable, 0, std::as_writable_bytes(std::span(&header, 1))) ||
      !read_spans(memory(), chain.readable, header_bytes, frame_))
    return fail();
  if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) return;
  if (header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
    if (!has(VIRTIO_NET_F_CSUM) || !complete_checksum(frame_, header.csum_start, header.csum_offset)) return;
  }
  network_->send(frame_);
}

void VirtioNet::save_state(Writer& out) const {
  out.put<std::uint8_t>(waiting_);
  out.put<std::uint8_t>(resuming_);
  out.bytes(std::span(config_).first(std::tuple_size_v<MacAddress>));
}

Result<void> VirtioNet::restore_state(Reader& in) {
  waiting_ = in.get<std::uint8_t>() != 0;
  resuming_ = false;
  if (in.get<std::uint8_t>() != 0) resume_later();
  const auto mac = in.get<MacAddress>();
  if (in.ok() && !is_unicast(mac)) return error("the saved network card's address is not that of one card");
  if (in.ok()) set_mac(mac);
  return {};
}

}  // namespace doppel
