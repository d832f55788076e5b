#include "guest/wasm/text/utf8.h"

namespace doppel::wasm::text {

namespace {

/// A row of the Unicode standard's table 3-7: what the second byte may be after this first one. The others are 80 to
/// bf.
struct Form {
  std::uint8_t first, last, second_low, second_high, length;
};
constexpr Form forms[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
    {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

bool has_form(std::string_view text, const Form& form) {
  if (text.size() < form.length) return false;
  const auto second = std::uint8_t(text[1]);
  if (second < form.second_low || second > form.second_high) return false;
  for (unsigned n = 2; n < form.length; n++)
    if ((std::uint8_t(text[n]) & 0xc0) != 0x80) return false;
  return true;
}

}  // namespace

unsigned utf8_character(std::string_view text) {
  if (text.empty()) return 0;
  const auto first = std::uint8_t(text[0]);
  if (first < 0x80) return 1;
  for (const auto& form : forms)
    if (first >= form.first && first <= form.last) return has_form(text, form) ? form.length : 0;
  return 0;
}

void append_utf8(std::string& text, std::uint32_t character) {
  if (character < 0x80) {
    text += char(character);
    return;
  }
  const unsigned following = character < 0x800 ? 1 : character < 0x10000 ? 2 : 3;
  constexpr std::uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
  text += char(leads[following] | character >> 6 * following);
  for (unsigned n = following; n-- > 0;) text += char(0x80 | (character >> 6 * n & 0x3f));
}

}  // namespace doppel::wasm::text
