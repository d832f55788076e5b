#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace doppel {

/// Writes the Internet checksum (RFC 1071) of frame[start..] at start + offset, where the sender left the sum of the
/// pseudo header: what VIRTIO_NET_HDR_F_NEEDS_CSUM asks for. False when the two do not lie in the frame.
bool complete_checksum(std::span<std::byte> frame, std::size_t start, std::size_t offset);

/// Whether the frame is unfragmented TCP or UDP over IPv4 or IPv6, without IPv6 extension headers, with a right
/// checksum.
bool checksum_is_valid(std::span<const std::byte> frame);

}  // namespace doppel
