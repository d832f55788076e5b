#include <arpa/inet.h>

#include <charconv>
#include <string_view>

#include "network/network.h"

namespace doppel {
namespace {

Error malformed(const std::string& text) {
  return error("'{}' is no port to publish: write [ADDRESS:]HOST:GUEST[/tcp|/udp], for instance 8080:80", text);
}

bool parse_port(std::string_view text, std::uint16_t& port) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
  return problem == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<PublishedPort> parse_published_port(const std::string& text) {
  PublishedPort port;
  std::string_view rest = text;
  if (const auto slash = rest.find('/'); slash != rest.npos) {
    const auto protocol = rest.substr(slash + 1);
    if (protocol != "tcp" && protocol != "udp") return malformed(text);
    port.udp = protocol == "udp";
    rest = rest.substr(0, slash);
  }
  const auto guest_colon = rest.rfind(':');
  if (guest_colon == rest.npos) return malformed(text);
  const auto guest = rest.substr(guest_colon + 1);
  rest = rest.substr(0, guest_colon);
  if (const auto colon = rest.rfind(':'); colon != rest.npos) {
    port.address = rest.substr(0, colon);
    rest = rest.substr(colon + 1);
    in_addr address;
    if (inet_pton(AF_INET, port.address.c_str(), &address) != 1)
      return error("'{}' in '{}' is no IPv4 address of this host, such as 127.0.0.1 or 0.0.0.0", port.address, text);
  }
  if (!parse_port(rest, port.host) || !parse_port(guest, port.guest) || port.guest == 0) return malformed(text);
  return port;
}

}  // namespace doppel
