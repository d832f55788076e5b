#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/archive.h"
#include "base/event_loop.h"
#include "base/result.h"

namespace doppel {

using MacAddress = std::array<std::uint8_t, 6>;

/// Reads XX:XX:XX:XX:XX:XX, the address of one card; an error shows how to write it.
Result<MacAddress> parse_mac_address(const std::string& text);
/// Whether it can be the address of one card: not of a group, and not all zeros.
bool is_unicast(const MacAddress& mac);

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

  /// What it is, for messages and as its record's name.
  virtual std::string_view kind() const = 0;
  /// What a copy of the guest has to know of it.
  virtual void save(Writer& out) const = 0;
  /// Is for the guest that was saved from now on: no frame, connection or address of the guest of before is left. Reads
  /// hostile bytes. The receiver is not called from inside.
  virtual Result<void> restore(Reader& in) = 0;
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
