#pragma once
// UTF-8, the encoding of texts and of names (core specification, 5.2.4).
#include <cstdint>
#include <string>
#include <string_view>

namespace doppel::wasm::text {

/// The length in bytes of the character at the beginning of `text`; 0 if it is none (too long, a surrogate, cut off).
unsigned utf8_character(std::string_view text);

/// Appends the scalar value `character`, which is below 0x110000 and no surrogate.
void append_utf8(std::string& text, std::uint32_t character);

}  // namespace doppel::wasm::text
