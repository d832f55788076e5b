#pragma once
// What a machine did, for people.
#include <cstdio>

#include "machine/machine.h"

namespace doppel {

/// A line a counter.
void print_statistics(std::FILE* to, const MachineStatistics& statistics);

}  // namespace doppel
