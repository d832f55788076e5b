#pragma once
// Values in scripts: arguments, and patterns of results.
#include "guest/wasm/text/cursor.h"
#include "guest/wasm/text/script.h"

namespace doppel::wasm::text {

/// `(i32.const 1)`, `(v128.const i8x16 …)`, `(ref.null func)`, `(ref.extern 1)` and so on.
ScriptValue argument_value(Cursor& cursor);

/// The same, or a pattern: NaNs of a kind, references of a kind, `(either …)`.
ScriptValue expected_value(Cursor& cursor);

}  // namespace doppel::wasm::text
