#pragma once
// From a function's bytes to ir::Function, in the pass that decodes and validates them.
#include <optional>

#include "guest/wasm/module.h"
#include "ir/function.h"

namespace doppel::wasm {

/// Translates a function of the module's own. `out` is cleared first and keeps its memory, so that one serves for many.
/// Error: the function is not valid.
std::optional<ModuleError> translate(const Module& module, std::uint32_t function, ir::Function& out);

ir::Type ir_type(ValueType type);

}  // namespace doppel::wasm
