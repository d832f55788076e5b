#pragma once
// A machine's configuration as text: what a captured machine is made again from, beside what was captured.
#include <string>

#include "base/result.h"
#include "machine/machine.h"

namespace doppel {

/// JSON. Paths become absolute, and disks are described as they are on disk now. What belongs to a run and not to the
/// machine (console, engine, caches, published ports) is left out.
std::string describe_machine(const MachineConfig& config);

/// The same back, for Machine::create() with an image. Reads hostile text; a disk image that is gone, or was written to
/// since, is an error.
Result<MachineConfig> machine_described(const std::string& description);

}  // namespace doppel
