#include "device/virtio/checksum.h"

#include <cstring>

namespace doppel {
namespace {

constexpr std::size_t ethernet_header = 14;
constexpr std::uint8_t tcp = 6, udp = 17;

/// The sum of 16-bit words in the host's order (RFC 1071, 2 (B): the order of bytes does not matter until the end).
std::uint64_t sum_words(std::span<const std::byte> data) {
  std::uint64_t sum = 0;
  std::size_t i = 0;
  for (; i + 4 <= data.size(); i += 4) {
    std::uint32_t word;
    std::memcpy(&word, data.data() + i, 4);
    sum += word;
  }
  std::uint32_t rest = 0;
  std::memcpy(&rest, data.data() + i, data.size() - i);
  return sum + rest;
}

std::uint16_t fold(std::uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

std::uint16_t big16(std::span<const std::byte> data, std::size_t at) {
  return std::to_integer<std::uint16_t>(data[at]) << 8 | std::to_integer<std::uint16_t>(data[at + 1]);
}

/// The two addresses, the protocol and the payload of an IP packet; an empty payload: nothing that can be checked.
struct Packet {
  std::span<const std::byte> addresses, payload;
  std::uint8_t protocol = 0;
};

Packet parse_ipv4(std::span<const std::byte> ip) {
  if (ip.size() < 20) return {};
  const auto header = (std::to_integer<std::size_t>(ip[0]) & 15) * 4;
  const std::size_t total = big16(ip, 2);
  const bool fragment = big16(ip, 6) & 0x3fff;
  if (header < 20 || total <= header || total > ip.size() || fragment) return {};
  return {ip.subspan(12, 8), ip.subspan(header, total - header), std::to_integer<std::uint8_t>(ip[9])};
}

Packet parse_ipv6(std::span<const std::byte> ip) {
  if (ip.size() < 40) return {};
  const std::size_t length = big16(ip, 4);
  if (length == 0 || length > ip.size() - 40) return {};
  return {ip.subspan(8, 32), ip.subspan(40, length), std::to_integer<std::uint8_t>(ip[6])};
}

Packet parse(std::span<const std::byte> frame) {
  if (frame.size() < ethernet_header) return {};
  const auto type = big16(frame, 12);
  const auto ip = frame.subspan(ethernet_header);
  return type == 0x0800 ? parse_ipv4(ip) : type == 0x86dd ? parse_ipv6(ip) : Packet{};
}

}  // namespace

bool complete_checksum(std::span<std::byte> frame, std::size_t start, std::size_t offset) {
  if (start > frame.size() || offset + 2 > frame.size() - start) return false;
  std::uint16_t checksum = ~fold(sum_words(frame.subspan(start)));
  if (checksum == 0) checksum = 0xffff;  // 0 means "none" in UDP (RFC 768), and is the same number in the others
  std::memcpy(frame.data() + start + offset, &checksum, 2);
  return true;
}

bool checksum_is_valid(std::span<const std::byte> frame) {
  const auto packet = parse(frame);
  const bool is_tcp = packet.protocol == tcp && packet.payload.size() >= 20;
  const bool is_udp = packet.protocol == udp && packet.payload.size() >= 8;
  if (!is_tcp && !is_udp) return false;
  if (is_udp && big16(packet.payload, 6) == 0) return false;
  const std::uint32_t length = packet.payload.size();
  const std::uint64_t pseudo = __builtin_bswap16(packet.protocol) + std::uint64_t{__builtin_bswap32(length)};
  return fold(sum_words(packet.payload) + sum_words(packet.addresses) + pseudo) == 0xffff;
}

}  // namespace doppel
