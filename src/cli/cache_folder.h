#pragma once
// Where in the user's cache folder Doppel keeps what it can make again.
#include <filesystem>

#include "base/result.h"
#include "machine/machine.h"

namespace doppel {

/// $XDG_CACHE_HOME/doppel, or .cache/doppel in the home folder; it need not be there. Fails where neither is known.
Result<std::filesystem::path> cache_folder();
/// Keeps translated code there by default; where the folder cannot be made, opening it will say so.
void use_code_cache(MachineConfig& config);

}  // namespace doppel
