// From what a user names to an open disk.
#include <sys/stat.h>

#include <algorithm>

#include "storage/chain_opener.h"
#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/overlay.h"

namespace doppel {
namespace {

Result<std::unique_ptr<Disk>> with_temporary_overlay(Result<std::unique_ptr<Disk>> disk) {
  if (!disk) return disk;
  auto overlay = OverlayDisk::temporary(std::move(*disk));
  if (!overlay) return overlay.failure();
  return std::unique_ptr<Disk>(std::move(*overlay));
}

Result<std::unique_ptr<Disk>> open_overlay(const std::string& path, std::unique_ptr<Disk> backing,
                                           const ChainOpener& images, bool writable) {
  auto file = ImageFile::open(path, writable);
  if (!file) return file.failure();
  auto disk = OverlayDisk::open(std::move(*file), std::move(backing), images.chain());
  if (!disk) return disk.failure();
  return std::unique_ptr<Disk>(std::move(*disk));
}

// A qcow2 and what was written over it before.
Result<std::unique_ptr<Disk>> open_written_qcow2(const DiskSpec& spec, std::unique_ptr<Disk> image,
                                                 const ChainOpener& images) {
  const std::string path = spec.path + ".overlay";
  const bool writable = !spec.read_only && !spec.snapshot;
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (!writable) return image;
    const std::string name = spec.path.substr(spec.path.rfind('/') + 1);
    auto made = OverlayDisk::create(path, {name, images.format(), images.chain()}, image->size(), images.mode() & 0666);
    if (!made) return made.failure();
  }
  return open_overlay(path, std::move(image), images, writable);
}

Result<std::unique_ptr<Disk>> open_as_is(const DiskSpec& spec) {
  if (spec.format.empty()) {
    const auto format = decide_format(spec.path, spec.format);
    if (!format) return format.failure();
    if (*format == "overlay") return ChainOpener().open(spec.path, *format, !spec.read_only && !spec.snapshot);
  }
  ChainOpener images;
  auto image = images.open(spec.path, spec.format, !spec.read_only && !spec.snapshot);
  if (!image || images.format() != "qcow2") return image;
  return open_written_qcow2(spec, std::move(*image), images);
}

// Splits at single commas; two stand for one of the text.
std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); i++) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

}  // namespace

Result<DiskSpec> parse_disk_spec(const std::string& text) {
  const auto parts = split_at_commas(text);
  DiskSpec spec;
  spec.path = parts[0];
  if (spec.path.empty()) return error("--disk {} names no file", text.empty() ? "''" : text);
  for (const auto& option : std::span(parts).subspan(1)) {
    if (option == "ro") {
      spec.read_only = true;
    } else if (option == "snapshot") {
      spec.snapshot = true;
    } else if (option == "format=raw" || option == "format=qcow2") {
      spec.format = option.substr(7);
    } else {
      return error(
          "--disk {}: '{}' is not an option of a disk (ro, snapshot, format=raw, format=qcow2; "
          "a comma in a file's name is written twice)",
          text, option);
    }
  }
  return spec;
}

Result<std::unique_ptr<Disk>> open_disk(const DiskSpec& spec) {
  const bool snapshot = spec.snapshot && !spec.read_only;
  auto disk = open_as_is(spec);
  return snapshot ? with_temporary_overlay(std::move(disk)) : std::move(disk);
}

}  // namespace doppel
