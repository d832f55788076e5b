#pragma once
// ir::Code from the text that print.h describes: for tests, and for who wants to try what a change would make of code.
#include <string_view>

#include "base/result.h"
#include "ir/code.h"

namespace doppel::ir {

/// The numbers of values are names here: they may have gaps. Whether what is said makes sense verify() tells, not this.
/// Fails with a sentence that begins with the line's number.
Result<Code> parse(std::string_view text);

}  // namespace doppel::ir
