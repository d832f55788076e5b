#include "network/tcp_segment.h"

#include <algorithm>
#include <cstring>

#include "network/packet.h"

namespace doppel {
namespace {

constexpr std::size_t ipv4_header = 20, ipv6_header = 40, tcp_header = 20;
constexpr std::uint8_t hop_limit = 64;

void copy_out(std::span<const std::byte> from, std::span<std::uint8_t> to) {
  std::memcpy(to.data(), from.data(), to.size());
}

void copy_in(std::span<const std::uint8_t> from, std::span<std::byte> to) {
  std::memcpy(to.data(), from.data(), from.size());
}

void read_addresses(std::span<const std::byte> both, TcpSegment& segment, bool ipv6) {
  const std::size_t size = both.size() / 2;
  segment.from = segment.to = IpAddress{.ipv6 = ipv6};
  copy_out(both.first(size), std::span(segment.from.bytes).first(size));
  copy_out(both.subspan(size), std::span(segment.to.bytes).first(size));
}

/// The TCP part of an IP packet; empty: it has none, or not all of it.
std::span<const std::byte> parse_ipv4(std::span<const std::byte> ip, TcpSegment& segment) {
  if (ip.size() < ipv4_header || std::to_integer<unsigned>(ip[0]) >> 4 != 4) return {};
  const auto header = (std::to_integer<std::size_t>(ip[0]) & 15) * 4;
  const std::size_t total = get16(ip, 2);
  const bool fragment = get16(ip, 6) & 0x3fff;
  if (header < ipv4_header || total < header || total > ip.size() || fragment) return {};
  if (std::to_integer<unsigned>(ip[9]) != protocol_tcp) return {};
  read_addresses(ip.subspan(12, 8), segment, false);
  return ip.subspan(header, total - header);
}

std::span<const std::byte> parse_ipv6(std::span<const std::byte> ip, TcpSegment& segment) {
  if (ip.size() < ipv6_header || std::to_integer<unsigned>(ip[0]) >> 4 != 6) return {};
  const std::size_t length = get16(ip, 4);
  if (length > ip.size() - ipv6_header || std::to_integer<unsigned>(ip[6]) != protocol_tcp) return {};
  read_addresses(ip.subspan(8, 32), segment, true);
  return ip.subspan(ipv6_header, length);
}

void fill_ipv4(const TcpSegment& segment, std::span<std::byte> ip) {
  ip[0] = std::byte{0x45};
  put16(ip, 2, unsigned(ip.size()));
  put16(ip, 6, 0x4000);  // not to be fragmented
  ip[8] = std::byte{hop_limit}, ip[9] = std::byte{protocol_tcp};
  copy_in(std::span(segment.from.bytes).first(4), ip.subspan(12));
  copy_in(std::span(segment.to.bytes).first(4), ip.subspan(16));
  put16(ip, 10, internet_checksum(ip.first(ipv4_header)));
}

void fill_ipv6(const TcpSegment& segment, std::span<std::byte> ip) {
  ip[0] = std::byte{0x60};
  put16(ip, 4, unsigned(ip.size() - ipv6_header));
  ip[6] = std::byte{protocol_tcp}, ip[7] = std::byte{hop_limit};
  copy_in(segment.from.bytes, ip.subspan(8));
  copy_in(segment.to.bytes, ip.subspan(24));
}

void fill_tcp(const TcpSegment& segment, std::span<const std::byte> addresses, std::span<std::byte> tcp) {
  put16(tcp, 0, segment.from_port);
  put16(tcp, 2, segment.to_port);
  put32(tcp, 4, segment.sequence);
  put32(tcp, 8, segment.acknowledged);
  tcp[12] = std::byte(tcp_header / 4 << 4), tcp[13] = std::byte{segment.flags};
  put16(tcp, 14, segment.window);
  std::ranges::copy(segment.payload, tcp.begin() + tcp_header);
  put16(tcp, 16, internet_checksum(tcp, add_words(addresses, protocol_tcp + std::uint32_t(tcp.size()))));
}

}  // namespace

bool parse_tcp_segment(std::span<const std::byte> frame, TcpSegment& segment) {
  if (frame.size() < ethernet_header_bytes) return false;
  const auto type = get16(frame, 12);
  const auto ip = frame.subspan(ethernet_header_bytes);
  const auto tcp = type == ethertype_ipv4   ? parse_ipv4(ip, segment)
                   : type == ethertype_ipv6 ? parse_ipv6(ip, segment)
                                            : std::span<const std::byte>();
  if (tcp.size() < tcp_header) return false;
  const auto header = (std::to_integer<std::size_t>(tcp[12]) >> 4) * 4;
  if (header < tcp_header || header > tcp.size()) return false;
  copy_out(frame.first(6), segment.to_mac);
  copy_out(frame.subspan(6, 6), segment.from_mac);
  segment.from_port = std::uint16_t(get16(tcp, 0)), segment.to_port = std::uint16_t(get16(tcp, 2));
  segment.sequence = get32(tcp, 4), segment.acknowledged = get32(tcp, 8);
  segment.flags = std::to_integer<std::uint8_t>(tcp[13]);
  segment.window = std::uint16_t(get16(tcp, 14));
  segment.payload = tcp.subspan(header);
  return true;
}

std::vector<std::byte> tcp_frame(const TcpSegment& segment) {
  const bool ipv6 = segment.from.ipv6;
  const auto ip_header = ipv6 ? ipv6_header : ipv4_header;
  std::vector<std::byte> frame(ethernet_header_bytes + ip_header + tcp_header + segment.payload.size());
  const std::span all(frame);
  copy_in(segment.to_mac, all);
  copy_in(segment.from_mac, all.subspan(6));
  put16(all, 12, ipv6 ? ethertype_ipv6 : ethertype_ipv4);
  const auto ip = all.subspan(ethernet_header_bytes);
  ipv6 ? fill_ipv6(segment, ip) : fill_ipv4(segment, ip);
  fill_tcp(segment, ipv6 ? ip.subspan(8, 32) : ip.subspan(12, 8), ip.subspan(ip_header));
  return frame;
}

}  // namespace doppel
