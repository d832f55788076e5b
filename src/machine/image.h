#pragma once
// A whole machine as a value: what one was at one moment, to go on from in any number of others.
#include <cstddef>
#include <vector>

#include "memory/guest_memory.h"
#include "storage/disk_image.h"

namespace doppel {

/// Copying one costs its state's few kilobytes; memory and disks are shared.
struct MachineImage {
  MemoryImage memory;
  std::vector<DiskImage> disks;  // in the order of MachineConfig::disks
  std::vector<std::byte> state;  // named and versioned records of harts, devices and time
};

}  // namespace doppel
