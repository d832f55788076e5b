#pragma once
// Whether ir::Code is what passes and generators rely on.
#include "base/result.h"
#include "ir/code.h"

namespace doppel::ir {

/// Checks fields and types against ops.inc and forms.inc, that values are given before they are used and not lost to
/// the interpreter meanwhile, that guest instructions come in order, and that the last operation leaves and no other
/// one does. Fails with a sentence that names the operation.
Result<void> verify(const Code& code);

/// Ends the process with the reason and the code where it is not; `maker` says whose mistake it is.
void expect_sound(const Code& code, const char* maker);

/// Whether all that is made is checked as it is made: in debug builds and under sanitizers.
#ifdef DOPPEL_VERIFY_IR
inline constexpr bool verify_always = true;
#else
inline constexpr bool verify_always = false;
#endif

}  // namespace doppel::ir
