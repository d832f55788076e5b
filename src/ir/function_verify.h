#pragma once
// Whether a function is what ir/function.h says: for tests and fuzzers of frontends and passes.
#include "base/result.h"
#include "ir/function.h"

namespace doppel::ir {

/// Error: the operation and what is wrong with it.
Result<void> verify(const Function& function);

}  // namespace doppel::ir
