#include "guest/wasm/text/encoder.h"

#include <algorithm>
#include <bit>

namespace doppel::wasm::text {

void Encoder::unsigned_leb(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) byte(0x80 | unsigned(value & 0x7f));
  byte(unsigned(value));
}

void Encoder::signed_leb(std::int64_t value) {
  for (; value < -0x40 || value >= 0x40; value >>= 7) byte(0x80 | unsigned(value & 0x7f));
  byte(unsigned(value & 0x7f));
}

void Encoder::little_endian(std::uint64_t value, unsigned count) {
  for (unsigned n = 0; n < count; n++) byte(unsigned(value >> 8 * n & 0xff));
}

void Encoder::sized(std::string_view more) {
  unsigned_leb(more.size());
  raw(more);
}

void Encoder::sized(std::span<const std::uint8_t> more) {
  unsigned_leb(more.size());
  raw(more);
}

std::uint32_t leb_size(std::uint64_t value) { return std::max(1U, (std::uint32_t(std::bit_width(value)) + 6) / 7); }

}  // namespace doppel::wasm::text
