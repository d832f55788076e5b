#pragma once
// assemble() for a part of a text.
#include <cstdint>
#include <variant>

#include "guest/wasm/text/assemble.h"
#include "guest/wasm/text/token.h"

namespace doppel::wasm::text {

/// Where a module stands: alone, or in a script, where `(module definition …)` is one too.
enum class ModulePlace : std::uint8_t { text, script };

/// The tokens [begin, end) are a module, `(module …)` or only its fields.
std::variant<AssembledModule, TextError> assemble_tokens(const TokenList& list, std::uint32_t begin, std::uint32_t end,
                                                         ModulePlace place);

}  // namespace doppel::wasm::text
