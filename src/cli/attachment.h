#pragma once
// Standard input and output as the console of a machine in the background.
#include "api/runtime_folder.h"

namespace doppel {

/// Until the user detaches (Ctrl-A D on a terminal, the end of standard input elsewhere) or the machine ends. The exit
/// status: 0, the machine's, or 128 and the number of the signal that ended it. The terminal is given back as it was.
Result<int> attach(const MachineEntry& machine);

}  // namespace doppel
