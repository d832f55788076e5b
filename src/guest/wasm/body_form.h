#pragma once
// The form of functions' bodies as a whole.
#include "guest/wasm/module.h"

namespace doppel::wasm {

/// The first thing in the bodies of functions that is malformed (5.4, 5.5.13), in the words of the specification's
/// tests, which read a body on to its last `end` before they look at the size that it should have. Slow, for when
/// something is known to be wrong; nothing where all bodies are well formed.
std::optional<ModuleError> find_malformed_body(const Module& module);

}  // namespace doppel::wasm
