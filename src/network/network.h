#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"

namespace doppel {

using MacAddress = std::array<std::uint8_t, 6>;

/// The far end of a machine's network cable. Functions are called under the device lock; so is the receiver.
class Network {
 public:
  virtual ~Network() = default;
  /// An Ethernet frame from the guest (14 to 65,550 bytes, without FCS; others are dropped).
  virtual void send(std::span<const std::byte> frame) = 0;
  /// Who gets frames for the guest; it returns false when it has no room, and then calls resume() when it has.
  using Receiver = std::function<bool(std::span<const std::byte> frame)>;
  virtual void set_receiver(Receiver receiver) = 0;
  virtual void resume() = 0;
};

/// HOST:GUEST[/udp] with an optional host address: [ADDRESS:]HOST:GUEST[/tcp|/udp]; ports 1 to 65535 (HOST 0: the host picks one).
struct PublishedPort {
  std::string address = "127.0.0.1";
  std::uint16_t host = 0, guest = 0;
  bool udp = false;
};
Result<PublishedPort> parse_published_port(const std::string& text);

/// libslirp's user-mode stack: 10.0.2.0/24, gateway 10.0.2.2, name server 10.0.2.3, the guest gets 10.0.2.15 by DHCP, and
/// fd00::/64 with router advertisements. Published ports are bound before it returns; one in use is an error with its number.
Result<std::unique_ptr<Network>> make_user_network(EventLoop& loop, const std::vector<PublishedPort>& ports);

}  // namespace doppel
