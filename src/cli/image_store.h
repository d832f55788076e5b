#pragma once
// Images that `doppel image` manages: a folder each, with a kernel, an initrd, a disk and image.json.
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/machine.h"

namespace doppel {

inline constexpr std::string_view default_image = "debian";

/// $XDG_CACHE_HOME/doppel/images, or .cache/doppel/images in the home folder.
Result<std::filesystem::path> image_folder();
/// Where the image of this name is or would be; names are letters, digits, '.', '_' and '-'.
Result<std::filesystem::path> image_path(const std::string& name);
bool image_exists(const std::filesystem::path& path);
std::vector<std::string> image_names();

/// Makes the image with the script of its name (installed under share/doppel/image), replacing none that is there. An
/// error without a message is one that the script has printed.
Result<void> build_image(const std::string& name);

/// Fills in kernel, initrd, command line and disk of the image (empty: the default one, made when it is not there).
Result<void> use_image(const std::string& name, MachineConfig& config);

}  // namespace doppel
