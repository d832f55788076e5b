#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "network/network.h"

namespace doppel {

/// The only other computer on a cable: a pure function from a frame to its answer, with no state at all. It is 10.0.2.2
/// and answers ARP, echo requests (RFC 792), DHCP (the guest gets 10.0.2.15) and, on port 7, UDP and TCP echo (RFC
/// 862); IPv4 only, no fragments.
class EchoPeer {
 public:
  static constexpr MacAddress mac = {0x52, 0x55, 0x0a, 0x00, 0x02, 0x02};
  static constexpr std::uint32_t address = 0x0a000202, guest_address = 0x0a00020f, netmask = 0xffffff00;
  static constexpr std::uint16_t echo_port = 7;

  /// The answer to a frame of any content; empty: there is none.
  static std::vector<std::byte> answer(std::span<const std::byte> frame);
};

}  // namespace doppel
