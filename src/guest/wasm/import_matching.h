#pragma once
// Whether what is there is what a module imports (core specification, 3.4 "Import Subtyping" and 4.5.1).
#include "guest/wasm/store.h"

namespace doppel::wasm {

/// Whether `there` has the kind and a type that the module's import asks for, tables and memories at their present sizes.
bool matches_import(const Store& store, Extern there, const Module& module, const Import& import);

}  // namespace doppel::wasm
