#include "storage/overlay_merge.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "storage/chain_opener.h"
#include "storage/overlay.h"

namespace doppel {
namespace {

namespace fs = std::filesystem;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }
std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// While an image has a part of an overlay in it, this file beside it has the overlay's name.
std::string mark_of(const std::string& image) { return image + ".merging"; }

/// The overlay that is being merged into an image; nothing where none is.
std::optional<std::string> marked_overlay(const std::string& image) {
  struct stat status{};
  if (stat(mark_of(image).c_str(), &status) != 0) return std::nullopt;
  auto file = ImageFile::open(mark_of(image), false);
  std::array<std::byte, 256> name;
  const auto got = file ? (*file)->read_some(0, name) : Result<std::size_t>(file.failure());
  return std::string(reinterpret_cast<const char*>(name.data()), got ? *got : 0);
}

Result<void> mark(const std::string& image, const std::string& overlay) {
  auto file = create_unfinished(mark_of(image), 0600);
  if (!file) return file.failure();
  const auto name = name_of(overlay);
  auto done = (*file)->write(0, std::as_bytes(std::span(name)));
  if (done) done = finish(**file, mark_of(image));
  if (!done) unlink((*file)->path().c_str());
  return done;
}

/// Removes a file for good: it does not come back after a power cut.
Result<void> remove_durably(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return error("cannot remove {}: {}", path, std::strerror(errno));
  return make_directory_durable(path);
}

/// What the overlay says, read without a lock: a machine may be running from it.
std::optional<OverlayBacking> peek_backing(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  auto file = fd ? ImageFile::adopt(std::move(fd), path, false) : error("cannot open");
  if (!file) return std::nullopt;
  auto backing = OverlayDisk::read_backing(**file);
  return backing ? std::optional(std::move(*backing)) : std::nullopt;
}

/// A merge that ended but for its mark: the overlay is gone. False: there was none.
Result<bool> end_of_merge(const std::string& overlay) {
  const auto folder = folder_of(overlay);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder.empty() ? "." : folder, ignored)) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(".merging")) continue;
    const auto image = folder + name.substr(0, name.size() - 8);
    if (marked_overlay(image) != name_of(overlay)) continue;
    if (auto removed = remove_durably(mark_of(image)); !removed) return removed.failure();
    return true;
  }
  return false;
}

/// That the overlay can be merged into its image at all; the image.
Result<std::string> check_mergeable(const std::string& path, const OverlayBacking& backing) {
  if (backing.name.empty() || backing.name.find('/') != std::string::npos)
    return error("{} lies over {}, which is in another folder: put both into one to merge them", path,
                 printable(backing.name));
  const auto image = folder_of(path) + backing.name;
  if (backing.format != "raw" && backing.format != "overlay")
    return error(
        "{} lies over a {} image, which Doppel only reads; doppel image convert makes a new image of the two together",
        path, printable(backing.format));
  if (const auto above = overlays_over(path); !above.empty())
    return error("{} lies over {} and would have nothing to lie over: merge it first", above[0], path);
  for (const auto& other : overlays_over(image))
    if (name_of(other) != name_of(path))
      return error("{} lies over {} too and would no longer fit: merge or remove only one of them", other, image);
  const auto marked = marked_overlay(image);
  if (marked && *marked != name_of(path))
    return error("a merge of {} into {} was cut off: run doppel disk commit {} first", printable(*marked), image,
                 folder_of(path) + printable(*marked));
  return image;
}

}  // namespace

Result<void> check_not_merging(const std::string& path) {
  const auto overlay = marked_overlay(path);
  if (!overlay) return {};
  return error("{0} has a part of {1} in it, whose merge was cut off: run doppel disk commit {1} again", path,
               folder_of(path) + printable(*overlay));
}

std::vector<std::string> overlays_over(const std::string& path) {
  const auto folder = folder_of(path), image = name_of(path);
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder.empty() ? "." : folder, ignored)) {
    const auto name = entry.path().filename().string();
    if (!name.ends_with(".overlay")) continue;
    const auto backing = peek_backing(folder + name);
    if (backing && backing->name == image) found.push_back(folder + name);
  }
  std::ranges::sort(found);
  return found;
}

Result<void> check_nothing_over(const std::string& path) {
  const auto over = overlays_over(path);
  if (over.empty()) return {};
  return error(
      "{0} lies over {1} and would no longer fit if that were written to: run from {0}, doppel disk commit it, remove "
      "it, or give {1} as {1},snapshot",
      over[0], path);
}

Result<void> merge_overlay(const std::string& path, const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  if (access(path.c_str(), F_OK) != 0) {
    const auto ended = end_of_merge(path);
    if (!ended) return ended.failure();
    return *ended ? Result<void>() : error("there is no file {}", path);
  }
  auto file = ImageFile::open(path, true);
  if (!file) return file.failure();
  const auto backing = OverlayDisk::read_backing(**file);
  if (!backing) return backing.failure();
  const auto image = check_mergeable(path, *backing);
  if (!image) return image.failure();
  ChainOpener images(true);
  auto base = images.open(*image, backing->format, true);
  if (!base) return base.failure();
  // What is partly merged has another time than when the overlay was made.
  const bool again = marked_overlay(*image).has_value();
  auto overlay = OverlayDisk::open(std::move(*file), std::move(*base), again ? backing->chain : images.chain());
  if (!overlay) return overlay.failure();
  if (!again)
    if (auto marked = mark(*image, path); !marked) return marked;
  const auto size = (*overlay)->size();
  auto merged = (*overlay)->merge_into_backing([&](std::uint64_t done) { progress(done, size); });
  if (!merged) return merged;
  if (auto removed = remove_durably(path); !removed) return removed;
  return remove_durably(mark_of(*image));
}

Result<DiskDescription> describe_disk(const std::string& path, const std::string& format) {
  DiskDescription description;
  auto found = decide_format(path, format);
  if (!found) return found.failure();
  description.format = format.empty() ? *found : format;
  ChainOpener images;
  auto disk = images.open(path, description.format, false);
  if (!disk) return disk.failure();
  description.size = (*disk)->size();
  struct stat status{};
  if (stat(path.c_str(), &status) == 0) description.occupied = std::uint64_t(status.st_blocks) * 512;
  if (const auto* overlay = dynamic_cast<const OverlayDisk*>(disk->get())) {
    const auto backing = peek_backing(path);
    if (backing) description.base = printable(backing->name), description.base_format = printable(backing->format);
    description.own = overlay->bytes_present();
  }
  description.overlays = overlays_over(path);
  return description;
}

}  // namespace doppel
