#pragma once
// Where a program was when it was stopped, for people.
#include <span>
#include <string>
#include <string_view>

#include "guest/wasm/execution.h"

namespace doppel {

/// A line for each activation, the innermost first, each with a newline before it: the function's name, or its number
/// where the module has no names, and the byte of the module that is next there. Activations that are alike are one
/// line; of very many those in the middle are left out, so that it is short whatever a program has done.
std::string backtrace(const wasm::Module& module, const wasm::Store& store, std::span<const wasm::Frame> frames);

/// What a module calls something, so that it takes one line and steers no terminal.
std::string one_line(std::string_view name);

}  // namespace doppel
