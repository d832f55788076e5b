#pragma once
#include <functional>

#include "program.h"

namespace doppel::differential::engines {

/// A smaller program of which `fails` still holds, as it does of the given one.
Program shrink(Program program, const std::function<bool(const Program&)>& fails);

}  // namespace doppel::differential::engines
