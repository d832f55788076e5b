#include "machine/byte_size.h"

#include <cctype>
#include <exception>
#include <string_view>

namespace doppel {

Result<std::uint64_t> parse_byte_size(const std::string& text) {
  std::size_t used = 0;
  std::uint64_t number = 0;
  try {
    if (!text.empty() && text[0] != '-') number = std::stoull(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const auto suffix = text.substr(used);
  const std::string_view units = "KMGT";
  const bool plain = suffix.empty();
  const auto unit = plain ? 0 : units.find(char(std::toupper(suffix[0])));
  const bool known = plain || (unit != std::string_view::npos &&
                               (suffix.size() == 1 || suffix.substr(1) == "iB" || suffix.substr(1) == "B"));
  const unsigned shift = plain ? 0 : 10 * (unsigned(unit) + 1);
  if (used == 0 || !known || (number << shift >> shift) != number)
    return error("'{}' is not a size: write for instance 512M or 2G", text);
  return number << shift;
}

}  // namespace doppel
