#pragma once
// Values of WebAssembly as words on a command line.
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "guest/wasm/value.h"

namespace doppel {

/// A number of the type: integers decimal or hexadecimal, signed or not; floating-point numbers as in C, nan and inf.
/// Error: it is none, or does not fit; references cannot be written.
Result<wasm::Cell> parse_value(wasm::ValueType type, std::string_view word);

/// Integers as signed decimals, floating-point numbers with as many digits as tell them from all others, a v128 as
/// 0x and 32 digits, references as null, func or extern.
std::string value_text(wasm::ValueType type, wasm::Cell value);

}  // namespace doppel
