#pragma once
// Numbers and strings as tokens write them (core specification, 6.3.1 to 6.3.3).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "guest/wasm/text/token.h"

namespace doppel::wasm::text {

/// Whether it is a number, and of which kind: natural, integer or floating; else reserved.
TokenKind number_kind(std::string_view spelling);

/// The value of a natural or integer token as `bits` bits, where negative numbers are signed ones and others may be
/// signed or unsigned; nothing if it does not fit.
std::optional<std::uint64_t> parse_integer(std::string_view spelling, unsigned bits);
/// The value of a natural token; nothing beyond 64 bits.
std::optional<std::uint64_t> parse_natural(std::string_view spelling);

/// The bits of the number nearest to any number token, or of inf, nan and nan:0x…; nothing where that would round to
/// infinity or the payload does not fit.
std::optional<std::uint32_t> parse_f32(std::string_view spelling);
std::optional<std::uint64_t> parse_f64(std::string_view spelling);

/// The length of the string at the beginning of `text`, with its quotes, or 0 and what is wrong with it.
struct StringLength {
  std::uint32_t size = 0;
  std::string_view error;
  std::uint32_t error_at = 0;
};
StringLength string_length(std::string_view text);

/// The bytes of a string token (with its quotes), appended.
void decode_string(std::string_view spelling, std::string& bytes);
std::string decode_string(std::string_view spelling);

}  // namespace doppel::wasm::text
