#include "guest/wasm/byte_reader.h"

#include <array>

namespace doppel::wasm {

void ByteReader::fail_at(std::uint32_t offset, std::string message) {
  if (failed_) return;
  failed_ = true;
  failure_offset_ = offset;
  message_ = std::move(message);
  end_ = at_;
}

void ByteReader::refuse_at(std::uint32_t offset, std::string message) {
  if (!failed_) refused_ = true;
  fail_at(offset, std::move(message));
}

std::uint8_t ByteReader::end_of_bytes() {
  fail_at(std::uint32_t(end_ - base_), "unexpected end of section or function");
  return 0;
}

// The last byte that a number may have holds only the bits that are left: the others are 0, or copies of the sign.
std::uint64_t ByteReader::unsigned_leb(unsigned bits) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < bits; shift += 7) {
    const std::uint8_t b = byte();
    if (bits - shift < 7 && (b & 0x7f) >> (bits - shift) != 0) return fail_at(offset() - 1, "integer too large"), 0;
    value |= std::uint64_t(b & 0x7f) << shift;
    if (b < 0x80) return failed_ ? 0 : value;
  }
  return fail("integer representation too long"), 0;
}

std::int64_t ByteReader::signed_leb(unsigned bits) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < bits; shift += 7) {
    const std::uint8_t b = byte();
    if (const unsigned left = bits - shift; left < 7) {
      const unsigned sign_bits = 0x7fU & ~0U << (left - 1);
      if ((b & sign_bits) != 0 && (b & sign_bits) != sign_bits) return fail_at(offset() - 1, "integer too large"), 0;
    }
    value |= std::uint64_t(b & 0x7f) << shift;
    if (b >= 0x80) continue;
    if (failed_) return 0;
    const unsigned unused = shift + 7 < 64 ? 64 - (shift + 7) : 0;
    return std::int64_t(value << unused) >> unused;
  }
  return fail("integer representation too long"), 0;
}

std::string_view ByteReader::name() {
  const std::uint32_t size = u32();
  const std::uint32_t at = offset();
  if (size > left() && !failed_) return fail("length out of bounds"), std::string_view{};
  const std::uint8_t* from = skip(size);
  if (from == nullptr || failed_) return {};
  const std::string_view text(reinterpret_cast<const char*>(from), size);
  if (!is_utf8(text)) return fail_at(at, "malformed UTF-8 encoding"), std::string_view{};
  return text;
}

namespace {

// What may follow a first byte: how many bytes, and the range of the first of them (Unicode, table 3-7); the others are
// 80 to bf.
struct Utf8Row {
  std::uint8_t first, last, more, least, most;
};
constexpr std::array<Utf8Row, 9> utf8_rows = {{{0x00, 0x7f, 0, 0, 0},
                                               {0xc2, 0xdf, 1, 0x80, 0xbf},
                                               {0xe0, 0xe0, 2, 0xa0, 0xbf},
                                               {0xe1, 0xec, 2, 0x80, 0xbf},
                                               {0xed, 0xed, 2, 0x80, 0x9f},
                                               {0xee, 0xef, 2, 0x80, 0xbf},
                                               {0xf0, 0xf0, 3, 0x90, 0xbf},
                                               {0xf1, 0xf3, 3, 0x80, 0xbf},
                                               {0xf4, 0xf4, 3, 0x80, 0x8f}}};

// Bytes of the character that `text` begins with; 0 if it is none.
std::size_t character_size(std::string_view text) {
  const auto at = [&](std::size_t n) { return std::uint8_t(text[n]); };
  for (const Utf8Row& row : utf8_rows) {
    if (at(0) < row.first || at(0) > row.last) continue;
    if (text.size() <= row.more) return 0;
    if (row.more > 0 && (at(1) < row.least || at(1) > row.most)) return 0;
    for (std::size_t n = 2; n <= row.more; n++)
      if (at(n) < 0x80 || at(n) > 0xbf) return 0;
    return row.more + std::size_t{1};
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace doppel::wasm
