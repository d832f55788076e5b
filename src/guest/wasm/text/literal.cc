#include "guest/wasm/text/literal.h"

#include <locale.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "guest/wasm/text/utf8.h"

namespace doppel::wasm::text {

namespace {

unsigned digit_value(char c) {
  if (c >= '0' && c <= '9') return unsigned(c - '0');
  if (c >= 'a' && c <= 'f') return unsigned(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return unsigned(c - 'A') + 10;
  return 16;
}

/// Takes digits of the base from the front, single underscores between them; false if there is none or an underscore
/// stands elsewhere.
bool skip_digits(std::string_view& text, unsigned base) {
  bool digit_before = false;
  std::size_t n = 0;
  for (; n < text.size(); n++) {
    const bool digit = digit_value(text[n]) < base;
    if (!digit && (text[n] != '_' || !digit_before)) break;
    digit_before = digit;
  }
  text.remove_prefix(n);
  return digit_before;
}

bool skip_sign(std::string_view& text) {
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return false;
  text.remove_prefix(1);
  return true;
}

bool skip_hex_prefix(std::string_view& text) {
  if (!text.starts_with("0x")) return false;
  text.remove_prefix(2);
  return true;
}

/// The fraction and exponent behind the digits of a number; false if what is there is neither.
bool skip_float_rest(std::string_view& text, bool hex) {
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!text.empty() && digit_value(text[0]) < (hex ? 16 : 10) && !skip_digits(text, hex ? 16 : 10)) return false;
  }
  if (text.empty()) return true;
  const char mark = char(text[0] | 0x20);
  if (mark != (hex ? 'p' : 'e')) return false;
  text.remove_prefix(1);
  skip_sign(text);
  return skip_digits(text, 10);
}

bool is_nan_payload(std::string_view text) {
  if (!text.starts_with("nan:0x")) return false;
  text.remove_prefix(6);
  return skip_digits(text, 16) && text.empty();
}

/// The absolute value of an integer without its sign.
std::optional<std::uint64_t> magnitude(std::string_view digits) {
  const unsigned base = skip_hex_prefix(digits) ? 16 : 10;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c == '_') continue;
    if (__builtin_mul_overflow(value, std::uint64_t{base}, &value)) return {};
    if (__builtin_add_overflow(value, std::uint64_t{digit_value(c)}, &value)) return {};
  }
  return value;
}

/// The C library rounds correctly whatever the number of digits; it shall not use the user's decimal point.
locale_t c_locale() {
  static const locale_t locale = newlocale(LC_ALL_MASK, "C", nullptr);
  return locale;
}
double nearest(const char* text, double) { return strtod_l(text, nullptr, c_locale()); }
float nearest(const char* text, float) { return strtof_l(text, nullptr, c_locale()); }

template <typename Float, typename Bits, unsigned mantissa_bits>
std::optional<Bits> parse_float(std::string_view spelling) {
  constexpr Bits sign_bit = Bits{1} << (sizeof(Bits) * 8 - 1), payload_end = Bits{1} << mantissa_bits;
  constexpr Bits infinity = sign_bit - payload_end;
  const Bits sign = spelling.starts_with('-') ? sign_bit : 0;
  skip_sign(spelling);
  if (spelling == "inf") return sign | infinity;
  if (spelling == "nan") return sign | infinity | payload_end >> 1;
  if (spelling.starts_with("nan:")) {
    const auto payload = magnitude(spelling.substr(4));
    if (!payload || *payload == 0 || *payload >= payload_end) return {};
    return sign | infinity | Bits(*payload);
  }
  std::string digits(spelling);
  std::erase(digits, '_');
  const Float value = nearest(digits.c_str(), Float{});
  if (std::isinf(value)) return {};
  return sign | std::bit_cast<Bits>(value);
}

/// An escape sequence behind its backslash: length and value. Length 0: it is none.
struct Escape {
  std::uint32_t size = 0, character = 0;
  bool byte = false;  ///< two hexadecimal digits, not a character
};

Escape unicode_escape(std::string_view text) {
  auto digits = text.substr(2);
  if (!skip_digits(digits, 16) || !digits.starts_with('}')) return {};
  const auto size = std::uint32_t(text.size() - digits.size());
  std::uint64_t value = 0;
  for (const char c : text.substr(2, size - 2))
    if (c != '_') value = std::min<std::uint64_t>(value << 4 | digit_value(c), 0x110000);
  if (value >= 0x110000 || (value >= 0xd800 && value < 0xe000)) return {};
  return {size + 1, std::uint32_t(value), false};
}

Escape escape(std::string_view text) {
  constexpr std::string_view letters = "tnr\"'\\", meanings = "\t\n\r\"'\\";
  if (text.empty()) return {};
  if (const auto n = letters.find(text[0]); n != letters.npos) return {1, std::uint32_t(meanings[n]), false};
  if (text.starts_with("u{")) return unicode_escape(text);
  if (text.size() < 2) return {};
  const auto high = digit_value(text[0]), low = digit_value(text[1]);
  if (high > 15 || low > 15) return {};
  return {2, high << 4 | low, true};
}

}  // namespace

TokenKind number_kind(std::string_view text) {
  const bool sign = skip_sign(text);
  if (text == "inf" || text == "nan" || is_nan_payload(text)) return TokenKind::floating;
  const bool hex = skip_hex_prefix(text);
  if (!skip_digits(text, hex ? 16 : 10)) return TokenKind::reserved;
  if (text.empty()) return sign ? TokenKind::integer : TokenKind::natural;
  return skip_float_rest(text, hex) && text.empty() ? TokenKind::floating : TokenKind::reserved;
}

std::optional<std::uint64_t> parse_natural(std::string_view spelling) { return magnitude(spelling); }

std::optional<std::uint64_t> parse_integer(std::string_view spelling, unsigned bits) {
  const bool negative = spelling.starts_with('-');
  skip_sign(spelling);
  const auto value = magnitude(spelling);
  const std::uint64_t mask = ~0ULL >> (64 - bits);
  if (!value || *value > (negative ? mask / 2 + 1 : mask)) return {};
  return (negative ? 0 - *value : *value) & mask;
}

std::optional<std::uint32_t> parse_f32(std::string_view spelling) {
  return parse_float<float, std::uint32_t, 23>(spelling);
}
std::optional<std::uint64_t> parse_f64(std::string_view spelling) {
  return parse_float<double, std::uint64_t, 52>(spelling);
}

StringLength string_length(std::string_view text) {
  std::uint32_t n = 1;
  while (n < text.size() && text[n] != '"') {
    const auto c = std::uint8_t(text[n]);
    if (c == '\n') return {0, "unclosed string", n};
    if (c < 0x20 || c == 0x7f) return {0, "illegal control character", n};
    unsigned size = 0;
    if (c == '\\') {
      const auto e = escape(text.substr(n + 1));
      if (e.size == 0) return {0, "illegal escape", n};
      size = e.size + 1;
    } else {
      size = utf8_character(text.substr(n));
      if (size == 0) return {0, "malformed UTF-8 encoding", n};
    }
    n += size;
  }
  if (n >= text.size()) return {0, "unclosed string", std::uint32_t(text.size())};
  return {n + 1, {}, 0};
}

void decode_string(std::string_view spelling, std::string& bytes) {
  auto rest = spelling.substr(1, spelling.size() - 2);
  while (!rest.empty()) {
    const auto run = std::min(rest.find('\\'), rest.size());
    bytes += rest.substr(0, run);
    rest.remove_prefix(run);
    if (rest.empty()) break;
    const auto e = escape(rest.substr(1));
    if (e.byte)
      bytes += char(e.character);
    else
      append_utf8(bytes, e.character);
    rest.remove_prefix(e.size + 1);
  }
}

std::string decode_string(std::string_view spelling) {
  std::string bytes;
  decode_string(spelling, bytes);
  return bytes;
}

}  // namespace doppel::wasm::text
