#include <algorithm>
#include <charconv>

#include "network/network.h"

namespace doppel {

bool is_unicast(const MacAddress& mac) { return !(mac[0] & 1) && mac != MacAddress{}; }

Result<MacAddress> parse_mac_address(const std::string& text) {
  MacAddress mac{};
  bool sound = text.size() == 3 * mac.size() - 1;
  for (std::size_t n = 0; sound && n < mac.size(); n++) {
    const auto* digits = text.data() + 3 * n;
    const auto [end, problem] = std::from_chars(digits, digits + 2, mac[n], 16);
    sound = problem == std::errc() && end == digits + 2 && (n + 1 == mac.size() || *end == ':');
  }
  if (!sound) return error("'{}' is no network address: write six bytes, for instance 52:54:00:12:34:56", text);
  if (!is_unicast(mac))
    return error("'{}' is not the address of one card: the first byte must be even, and not all may be 0", text);
  return mac;
}

}  // namespace doppel
