#pragma once
#include "program.h"

namespace doppel::differential::engines {

/// The program that a seed stands for.
Program generate(U64 seed);

}  // namespace doppel::differential::engines
