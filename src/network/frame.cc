#include "network/frame.h"

#include <cstdint>

#include "network/packet.h"

namespace doppel {
namespace {

constexpr std::size_t ethernet_header = ethernet_header_bytes, ipv6_header = 40, tcp_flags = 13;
constexpr unsigned tcp_syn = 2;

}  // namespace

bool may_open_socket(std::span<const std::byte> frame) {
  const auto byte = [&](std::size_t at) { return at < frame.size() ? std::to_integer<unsigned>(frame[at]) : 0; };
  const unsigned ethertype = byte(12) << 8 | byte(13);
  if (ethertype != ethertype_ipv4 && ethertype != ethertype_ipv6) return false;
  const bool ipv4 = ethertype == ethertype_ipv4;
  const unsigned protocol = byte(ethernet_header + (ipv4 ? 9 : 6));
  if (protocol != protocol_tcp) return true;
  const std::size_t header = ipv4 ? (byte(ethernet_header) & 15) * 4 : ipv6_header;
  const std::size_t flags = ethernet_header + header + tcp_flags;
  return flags >= frame.size() || (byte(flags) & tcp_syn);
}

}  // namespace doppel
