#pragma once
#include "guest/wasm/module.h"

namespace doppel::wasm {

/// Whether the types of a module that declare a supertype are subtypes of it (core specification, 3.2.12).
std::optional<ModuleError> validate_types(const Module& module);

}  // namespace doppel::wasm
