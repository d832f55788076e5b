#include "guest/wasm/text/spelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

#include "guest/wasm/text/token.h"

namespace doppel::wasm::text {

namespace {

template <typename Float, typename Bits, unsigned mantissa_bits>
std::string spell_float(Bits bits) {
  constexpr Bits quiet = Bits{1} << (mantissa_bits - 1), payload_mask = (Bits{1} << mantissa_bits) - 1;
  constexpr Bits infinity = (Bits{1} << (sizeof(Bits) * 8 - 1)) - payload_mask - 1;
  const auto magnitude = bits & (infinity | payload_mask);
  if (magnitude < infinity) return fmt::format("{}", std::bit_cast<Float>(bits));
  const std::string_view sign = bits == magnitude ? "" : "-";
  if (magnitude == infinity) return fmt::format("{}inf", sign);
  if (magnitude == (infinity | quiet)) return fmt::format("{}nan", sign);
  return fmt::format("{}nan:0x{:x}", sign, magnitude & payload_mask);
}

}  // namespace

std::string quoted_string(std::string_view bytes) {
  std::string text = "\"";
  for (const char c : bytes) {
    if (c >= ' ' && c < 0x7f && c != '"' && c != '\\')
      text += c;
    else
      fmt::format_to(std::back_inserter(text), "\\{:02x}", std::uint8_t(c));
  }
  return text + '"';
}

std::string dollar_name(std::string_view name) {
  const bool plain = std::ranges::all_of(name, is_identifier_character);
  return plain ? "$" + std::string(name) : "$" + quoted_string(name);
}

std::string spell_f32(std::uint32_t bits) { return spell_float<float, std::uint32_t, 23>(bits); }
std::string spell_f64(std::uint64_t bits) { return spell_float<double, std::uint64_t, 52>(bits); }

Identifiers::Identifiers(const NameMap& names) {
  std::set<std::string_view> seen;
  for (const auto& [index, name] : names) {
    if (!name.empty() && seen.insert(name).second)
      identifiers_[index] = dollar_name(name);
    else
      annotations_[index] = fmt::format("(@name {})", quoted_string(name));
  }
}

std::string Identifiers::reference(std::uint32_t index) const {
  const auto found = identifiers_.find(index);
  return found == identifiers_.end() ? std::to_string(index) : found->second;
}

std::string Identifiers::binding(std::uint32_t index) const {
  if (const auto found = identifiers_.find(index); found != identifiers_.end()) return found->second;
  const auto annotation = annotations_.find(index);
  return annotation == annotations_.end() ? std::string() : annotation->second;
}

}  // namespace doppel::wasm::text
