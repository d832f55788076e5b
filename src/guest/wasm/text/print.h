#pragma once
// Modules as text.
#include <string>
#include <variant>

#include "guest/wasm/module.h"

namespace doppel::wasm::text {

/// The module as text, instructions one a line and not folded, with the names of its name section. assemble() makes the
/// same module of it, with numbers in their shortest form. Error: a body that is malformed; of one that is merely
/// not valid there is a text, which need not assemble.
std::variant<std::string, ModuleError> print(const Module& module);

}  // namespace doppel::wasm::text
