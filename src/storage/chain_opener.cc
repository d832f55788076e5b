#include "storage/chain_opener.h"

#include <algorithm>
#include <array>

#include "storage/overlay.h"
#include "storage/overlay_merge.h"
#include "storage/probe.h"
#include "storage/qcow2.h"
#include "storage/raw.h"

namespace doppel {
namespace {

Result<std::string> probe_file(const ImageFile& file) {
  std::array<std::byte, probe_length> start;
  const auto got = file.read_some(0, start);
  if (!got) return got.failure();
  return probe_format(std::span(start).first(*got));
}

}  // namespace

// A guess may be wrong where a guest wrote the file: RawDisk says what is done about it.
Result<std::string> decide_format(const std::string& path, const std::string& wanted) {
  auto file = ImageFile::open(path, false);
  if (!file) return file.failure();
  auto found = probe_file(**file);
  if (!found) return found;
  const bool known = *found == "raw" || *found == "qcow2" || *found == "overlay";
  if (wanted.empty() && !known) {
    return error(
        "{} is a {} image, which Doppel cannot read; convert it with qemu-img, or add format=raw to use its bytes "
        "as they are",
        path, *found);
  }
  return found;
}

Result<void> ChainOpener::remember(const ImageFile& file) {
  for (const auto& before : chain_) {
    if (before.same_file(file.stamp())) {
      return error("{} is its own backing file, directly or through others", file.path());
    }
  }
  if (chain_.size() == overlay::max_chain) {
    return error("{} is behind more than {} backing files; join them with qemu-img convert", file.path(),
                 overlay::max_chain - 1);
  }
  chain_.push_back(file.stamp());
  return {};
}

Result<std::unique_ptr<Disk>> ChainOpener::open(const std::string& path, std::string format, bool writable) {
  const bool guessed = format.empty();
  if (guessed) {
    auto found = decide_format(path, format);
    if (!found) return found.failure();
    format = std::move(*found);
  }
  // An overlay behind another image is one where that image says so, never by its first bytes.
  if (format != "raw" && format != "qcow2" && (format != "overlay" || guessed))
    return error("{} cannot be a backing file: its format is {}", path, printable(format));
  auto file = ImageFile::open(path, writable && format != "qcow2");
  if (!file) return file.failure();
  if (auto whole = check_not_merging(path); !whole && !(merging_ && chain_.empty())) return whole.failure();
  if (auto fits = remember(**file); !fits) return fits.failure();
  if (chain_.size() == 1) {
    format_ = format;
    mode_ = (*file)->mode();
  }
  if (format == "qcow2") return open_qcow2(std::move(*file));
  if (format == "overlay") return open_overlay(std::move(*file));
  auto raw = RawDisk::open(std::move(*file), guessed);
  if (!raw) return raw.failure();
  return std::unique_ptr<Disk>(std::move(*raw));
}

Result<std::unique_ptr<Disk>> ChainOpener::open_qcow2(std::unique_ptr<ImageFile> file) {
  const std::string path = file->path();
  auto disk = Qcow2Disk::open(std::move(file), [&](const std::string& name, const std::string& format) {
    return open_backing(path, name, format);
  });
  if (!disk) return disk.failure();
  return std::unique_ptr<Disk>(std::move(*disk));
}

Result<std::unique_ptr<Disk>> ChainOpener::open_overlay(std::unique_ptr<ImageFile> file) {
  const auto below = chain_.size();
  const auto backing = OverlayDisk::read_backing(*file);
  if (!backing) return backing.failure();
  auto image = open_backing(file->path(), backing->name, backing->format);
  if (!image) return image;
  auto disk =
      OverlayDisk::open(std::move(file), std::move(*image), {chain_.begin() + std::ptrdiff_t(below), chain_.end()});
  if (!disk) return disk.failure();
  return std::unique_ptr<Disk>(std::move(*disk));
}

// Names are relative to the image that has them. "json:…" and "nbd://…" are names of QEMU's that mean no file.
Result<std::unique_ptr<Disk>> ChainOpener::open_backing(const std::string& of, const std::string& name,
                                                        const std::string& format, bool writable) {
  std::string path = name.starts_with("file:") ? name.substr(5) : name;
  if (path.empty() || path.find('\0') != std::string::npos ||
      path.substr(0, path.find('/')).find(':') != std::string::npos) {
    return error("the backing file {} of {} is not a file on this computer", printable(name), of);
  }
  if (path[0] != '/') path = of.substr(0, of.rfind('/') + 1) + path;
  auto disk = open(path, format, writable);
  if (!disk) return error("{} (a backing file of {})", printable(disk.message()), of);
  return disk;
}

}  // namespace doppel
