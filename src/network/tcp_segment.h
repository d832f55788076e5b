#pragma once
// TCP as it goes over the cable.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "network/network.h"

namespace doppel {

/// An IPv4 address is in the first four bytes.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  bool ipv6 = false;
  bool operator==(const IpAddress&) const = default;
};

/// One TCP segment, over IPv4 or over IPv6 without extension headers (RFC 9293 3.1). The options are left out.
struct TcpSegment {
  enum : std::uint8_t { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16 };

  MacAddress from_mac{}, to_mac{};
  IpAddress from, to;  // of one family
  std::uint16_t from_port = 0, to_port = 0;
  std::uint32_t sequence = 0, acknowledged = 0;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;
  std::span<const std::byte> payload;

  /// How far it moves the sequence numbers on.
  std::uint32_t length() const { return std::uint32_t(payload.size()) + (flags & syn ? 1 : 0) + (flags & fin ? 1 : 0); }
  bool is(std::uint8_t flag) const { return flags & flag; }
};

/// Reads a frame of any content; `segment` looks into it then. False: it is no whole TCP segment. The checksum is not
/// looked at.
bool parse_tcp_segment(std::span<const std::byte> frame, TcpSegment& segment);

/// The Ethernet frame with right lengths and checksums; the payload is at most 65,000 bytes.
std::vector<std::byte> tcp_frame(const TcpSegment& segment);

}  // namespace doppel
