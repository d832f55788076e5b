#pragma once
// The rows of opcodes.inc.
#include <array>
#include <cstdint>
#include <string_view>

namespace doppel::wasm {

enum class Opcode : std::uint16_t {
#define OP(name, text, prefix, code, immediates, signature, feature) name,
#include "guest/wasm/opcodes.inc"
  count
};
inline constexpr std::size_t opcode_count = std::size_t(Opcode::count);

/// What an instruction needs.
enum class Feature : std::uint8_t { mvp, gc, exceptions };

struct OpcodeRow {
  std::string_view text;
  std::uint8_t prefix;
  std::uint16_t code;
  std::string_view immediates, signature;
  Feature feature;
};

namespace detail {
inline constexpr std::array<OpcodeRow, opcode_count> opcode_rows = {{
#define OP(name, text, prefix, code, immediates, signature, feature) \
  {text, prefix, code, immediates, signature, Feature::feature},
#include "guest/wasm/opcodes.inc"
}};

/// The largest code behind each prefix decides the size of its table.
inline constexpr std::size_t table_size = 0x120;
constexpr std::array<Opcode, table_size> decode_table(std::uint8_t prefix) {
  std::array<Opcode, table_size> table{};
  table.fill(Opcode::count);
  for (std::size_t n = 0; n < opcode_count; n++)
    if (opcode_rows[n].prefix == prefix) table[opcode_rows[n].code] = Opcode(n);
  return table;
}
inline constexpr auto plain_opcodes = decode_table(0), aggregate_opcodes = decode_table(0xfb),
                      miscellaneous_opcodes = decode_table(0xfc), vector_opcodes = decode_table(0xfd);
}  // namespace detail

constexpr const OpcodeRow& row(Opcode opcode) { return detail::opcode_rows[std::size_t(opcode)]; }

/// Whether the byte is followed by a code in LEB128.
constexpr bool is_prefix(std::uint8_t byte) { return byte >= 0xfb && byte <= 0xfd; }

/// The instruction of `code` behind `prefix` (0: none); Opcode::count where there is none.
constexpr Opcode decode(std::uint8_t prefix, std::uint32_t code) {
  if (code >= detail::table_size) return Opcode::count;
  switch (prefix) {
    case 0:
      return detail::plain_opcodes[code];
    case 0xfb:
      return detail::aggregate_opcodes[code];
    case 0xfc:
      return detail::miscellaneous_opcodes[code];
    case 0xfd:
      return detail::vector_opcodes[code];
    default:
      return Opcode::count;
  }
}

}  // namespace doppel::wasm
