#pragma once
// What packets are made of: big-endian numbers and the Internet checksum.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace doppel {

inline constexpr std::size_t ethernet_header_bytes = 14;
inline constexpr unsigned ethertype_ipv4 = 0x0800, ethertype_arp = 0x0806, ethertype_ipv6 = 0x86dd;
inline constexpr unsigned protocol_icmp = 1, protocol_tcp = 6, protocol_udp = 17;

inline unsigned get16(std::span<const std::byte> bytes, std::size_t at) {
  return std::to_integer<unsigned>(bytes[at]) << 8 | std::to_integer<unsigned>(bytes[at + 1]);
}
inline std::uint32_t get32(std::span<const std::byte> bytes, std::size_t at) {
  return get16(bytes, at) << 16 | get16(bytes, at + 2);
}
inline void put16(std::span<std::byte> bytes, std::size_t at, unsigned value) {
  bytes[at] = std::byte(value >> 8);
  bytes[at + 1] = std::byte(value);
}
inline void put32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) {
  put16(bytes, at, value >> 16);
  put16(bytes, at + 2, value & 0xffff);
}

/// The sum of RFC 1071 so far, not folded: of bytes at an even offset, at most 64 KiB, added to `sum`.
inline std::uint32_t add_words(std::span<const std::byte> bytes, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += get16(bytes, i);
  if (bytes.size() % 2 != 0) sum += std::to_integer<unsigned>(bytes.back()) << 8;
  return sum;
}

/// The Internet checksum (RFC 1071) of bytes and of what was added to `sum` before; of bytes with a right one, it is 0.
inline unsigned internet_checksum(std::span<const std::byte> bytes, std::uint32_t sum = 0) {
  sum = add_words(bytes, sum);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

}  // namespace doppel
