#pragma once
// A machine's configuration as text: what a captured machine is made again from, beside what was captured.
#include <span>
#include <string>

#include "base/result.h"
#include "machine/machine.h"

namespace doppel {

/// JSON. Disks are described as they were frozen, by the images that were captured: they have that in their files that
/// the images' layers lie over. Other paths become absolute. What belongs to a run and not to the machine (console,
/// engine, caches, published ports) is left out.
std::string describe_machine(const MachineConfig& config, std::span<const DiskImage> disks);

/// The same back, for Machine::create() with an image. Reads hostile text; a disk image that is gone, or was written to
/// since, is an error. Disks that kept what was written are `snapshot` no more than they were: who runs the machine
/// says whether, and where (DiskSpec::overlay).
Result<MachineConfig> machine_described(const std::string& description);

}  // namespace doppel
