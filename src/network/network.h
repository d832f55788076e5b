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

/// HOST:GUEST[/udp] with an optional host address: [ADDRESS:]HOST:GUEST[/tcp|/udp]; ports 1 to 65535 (HOST 0: the host
/// picks one).
struct PublishedPort {
  std::string address = "127.0.0.1";
  std::uint16_t host = 0, guest = 0;
  bool udp = false;
};

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
  /// The ports that it publishes, with the ones that the host picked filled in.
  virtual std::vector<PublishedPort> published_ports() const { return {}; }
};

/// Reads what the user wrote; an error shows how to write it.
Result<PublishedPort> parse_published_port(const std::string& text);

/// libslirp's user-mode stack: 10.0.2.0/24, gateway 10.0.2.2, name server 10.0.2.3, the guest gets 10.0.2.15 by DHCP,
/// and fd00::/64 with router advertisements. Published ports are bound before it returns; one in use is an error with
/// its number. Call it under the device lock or before the loop runs; the loop must outlive the network. The receiver
/// runs on the loop's thread, never inside send() or resume(). SIGPIPE is ignored from then on (libslirp writes to
/// sockets that peers close).
Result<std::unique_ptr<Network>> make_user_network(EventLoop& loop, const std::vector<PublishedPort>& ports);

}  // namespace doppel
