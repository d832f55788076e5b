#pragma once
// A function as text, for people and tests: a line for each operation, the names of ops and types as in their tables.
#include <string>

#include "ir/function.h"

namespace doppel::ir {

std::string print(const Function& function);
/// One operation.
std::string print(const Function& function, Value value);

}  // namespace doppel::ir
