#pragma once
// A machine's image out of what was kept of it: its state, and spaces of pages.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "memory/page_source.h"

namespace doppel {

/// "memory", or what "disk N" has over its image.
struct KeptSpace {
  std::string name;
  std::uint64_t base = 0, bytes = 0;
  std::shared_ptr<PageSource> source;
};

/// The name of the space of a disk.
std::string disk_space_name(std::size_t disk);

/// For Machine::create(). Opens the disks' images, for reading. What does not fit the configuration is an error.
Result<MachineImage> assemble_image(const MachineConfig& config, std::vector<std::byte> state,
                                    const std::vector<KeptSpace>& spaces);

}  // namespace doppel
