#pragma once
// The words of the text format.
#include <string_view>

#include "guest/wasm/opcode.h"

namespace doppel::wasm::text {

/// The first instruction in opcodes.inc of this name; Opcode::count if there is none. Of `select`, `ref.test` and
/// `ref.cast` the operands tell which of two it is.
Opcode find_opcode(std::string_view name);

/// Whether the word means something anywhere in a module or a script; else it is an "unknown operator".
bool is_keyword(std::string_view word);

}  // namespace doppel::wasm::text
