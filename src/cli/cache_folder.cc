#include "cli/cache_folder.h"

#include <cstdlib>

namespace doppel {

Result<std::filesystem::path> cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::filesystem::path(cache) / "doppel";
  if (const char* home = std::getenv("HOME"); home && *home) return std::filesystem::path(home) / ".cache/doppel";
  return error("it is not known where your cache folder is: set HOME or XDG_CACHE_HOME");
}

void use_code_cache(MachineConfig& config) {
  const auto cache = cache_folder();
  if (!cache) return;
  std::error_code ignored;
  std::filesystem::create_directories(*cache, ignored);
  config.code_store.folder = *cache / "code";
}

}  // namespace doppel
