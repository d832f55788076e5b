#pragma once
// Types in the text format (core specification, 6.4).
#include <cstdint>

#include "guest/wasm/text/assembly.h"

namespace doppel::wasm::text {

/// Whether a value type comes next.
bool at_value_type(const Cursor& cursor);
TypeCode value_type(Assembly& assembly);
/// A value type that is a reference.
TypeCode reference_type(Assembly& assembly);
/// A heap type's number: a type's index or, negative, an abstract type.
std::int64_t heap_type(Assembly& assembly);
/// `(mut t)` or `t`; with the flag that the binary format has behind it.
void global_type(Assembly& assembly, Encoder& out);

/// What becomes of the identifiers of parameters.
struct ParameterNames {
  bool allowed = false;
  IndexSpace* space = nullptr;  ///< if there is one, parameters become the next in it
};

/// `(param …)* (result …)*`.
Signature signature(Assembly& assembly, ParameterNames names);

/// `(type x)? (param …)* (result …)*`, the index of the type (6.4.7).
std::uint32_t type_use(Assembly& assembly, ParameterNames names);
/// The same as the type of a block, in its shortest form.
void block_type(Assembly& assembly, Encoder& out);

}  // namespace doppel::wasm::text
