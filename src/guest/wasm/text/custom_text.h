#pragma once
// Custom sections that a text asks for (core specification, A.5 and the proposals for custom annotations and branch
// hints).
#include "guest/wasm/text/assembly.h"

namespace doppel::wasm::text {

/// Takes the `(@custom …)` that stand where the cursor is, between fields.
void take_custom_texts(Assembly& assembly);

/// Says of an annotation that nobody took why that is an error.
void check_annotations(Assembly& assembly);

/// The content of the section `name`; empty if nothing has a name.
Encoder name_section(const Assembly& assembly);

/// The content of the section `metadata.code.branch_hint`; empty without hints.
Encoder branch_hint_section(const Assembly& assembly);

}  // namespace doppel::wasm::text
