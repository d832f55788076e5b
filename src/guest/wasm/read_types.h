#pragma once
// Types in a module's bytes (core specification, 5.3), as sections and bodies have them.
#include <span>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/types.h"

namespace doppel::wasm {

/// `types` are the module's that may be named. What is no type, or none of these, is a failure of the reader's.
HeapType read_heap_type(ByteReader& reader, std::span<const TypeId> types);
ValueType read_value_type(ByteReader& reader, std::span<const TypeId> types);

}  // namespace doppel::wasm
