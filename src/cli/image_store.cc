#include "cli/image_store.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/cache_folder.h"
#include "cli/command.h"

extern char** environ;

namespace doppel {
namespace fs = std::filesystem;
namespace {

bool sound_name(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), allowed);
}

/// The script that makes an image: beside an installed program, in the source tree of a built one, or where CMake put
/// it.
Result<fs::path> build_script(const std::string& name) {
  std::error_code ignored;
  const auto program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const fs::path& folder :
       {program / "../share/doppel/image", program / "../share/image", fs::path(DOPPEL_DATADIR) / "image"}) {
    const auto script = folder / (name + ".sh");
    if (fs::exists(script, ignored)) return fs::canonical(script, ignored);
  }
  return error("there is no image named '{}' and none that could be made: the known one is {}", name, default_image);
}

/// A file of the image, which must lie inside its folder.
Result<std::string> member(const fs::path& folder, const nlohmann::json& description, const char* key) {
  const auto found = description.find(key);
  if (found == description.end() || !found->is_string())
    return error("the image in {} is damaged: image.json has no {}", folder.string(), key);
  const auto name = found->get<std::string>();
  if (!sound_name(name))
    return error("the image in {} is damaged: image.json names '{}' as its {}", folder.string(), name, key);
  const auto path = folder / name;
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    return error("the image in {} is damaged: {} is missing; make it again with doppel image rm and build",
                 folder.string(), name);
  return path.string();
}

}  // namespace

Result<fs::path> image_folder() {
  auto cache = cache_folder();
  if (!cache) return error("it is not known where images are kept: set HOME or XDG_CACHE_HOME");
  return *cache / "images";
}

Result<fs::path> image_path(const std::string& name) {
  if (!sound_name(name)) return error("'{}' is no image name: use letters, digits, '.', '_' and '-'", name);
  auto folder = image_folder();
  if (!folder) return folder;
  return *folder / name;
}

bool image_exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "image.json", ignored);
}

std::vector<std::string> image_names() {
  std::vector<std::string> names;
  const auto folder = image_folder();
  std::error_code ignored;
  if (folder)
    for (const auto& entry : fs::directory_iterator(*folder, ignored))
      if (sound_name(entry.path().filename().string()) && image_exists(entry.path()))
        names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> build_image(const std::string& name) {
  const auto path = image_path(name);
  if (!path) return path.failure();
  if (image_exists(*path)) return {};
  const auto script = build_script(name);
  if (!script) return script.failure();
  std::error_code failed;
  fs::create_directories(path->parent_path(), failed);
  if (failed) return error("cannot make the folder {}: {}", path->parent_path().string(), failed.message());
  auto shell = std::string("bash"), file = script->string(), output = path->string();
  char* arguments[] = {shell.data(), file.data(), output.data(), nullptr};
  pid_t child;
  if (const int code = posix_spawnp(&child, "bash", nullptr, nullptr, arguments, environ); code != 0)
    return error("cannot start bash: {}", std::strerror(code));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == exit_usage) return Error{};  // the script has said why
  if (!image_exists(*path)) return error("the image '{}' could not be made", name);
  return {};
}

Result<void> use_image(const std::string& name, MachineConfig& config) {
  const auto chosen = name.empty() ? std::string(default_image) : name;
  const auto folder = image_path(chosen);
  if (!folder) return folder.failure();
  if (!image_exists(*folder)) {
    if (!name.empty() && name != default_image)
      return error("there is no image named '{}': doppel image ls lists those that are there", name);
    if (auto built = build_image(chosen); !built) return built;
  }
  std::ifstream file(*folder / "image.json");
  const auto description = nlohmann::json::parse(file, nullptr, false);
  if (!description.is_object()) return error("the image in {} is damaged: image.json cannot be read", folder->string());
  const auto kernel = member(*folder, description, "kernel"), initrd = member(*folder, description, "initrd"),
             disk = member(*folder, description, "disk");
  for (const auto* part : {&kernel, &initrd, &disk})
    if (!*part) return part->failure();
  config.kernel = *kernel;
  if (config.initrd.empty()) config.initrd = *initrd;
  if (config.append.empty()) config.append = description.value("append", std::string());
  DiskSpec spec;
  spec.path = *disk;
  spec.format = description.value("format", std::string("raw"));
  config.disks.insert(config.disks.begin(), spec);
  return {};
}

}  // namespace doppel
