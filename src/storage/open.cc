// From what a user names to an open disk.
#include <sys/stat.h>

#include <algorithm>

#include "storage/chain_opener.h"
#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/layered_disk.h"
#include "storage/overlay.h"
#include "storage/overlay_merge.h"

namespace doppel {
namespace {

Result<std::unique_ptr<Disk>> open_overlay(const std::string& path, std::unique_ptr<Disk> backing,
                                           const ChainOpener& images, bool writable) {
  auto file = ImageFile::open(path, writable);
  if (!file) return file.failure();
  auto disk = OverlayDisk::open(std::move(*file), std::move(backing), images.chain());
  if (!disk) return disk.failure();
  return std::unique_ptr<Disk>(std::move(*disk));
}

// A qcow2 and what was written over it before.
Result<std::unique_ptr<Disk>> open_written_qcow2(const std::string& qcow2, std::unique_ptr<Disk> image,
                                                 const ChainOpener& images, bool writable) {
  const std::string path = qcow2 + ".overlay";
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) {
    if (!writable) return image;
    const std::string name = qcow2.substr(qcow2.rfind('/') + 1);
    auto made = OverlayDisk::create(path, {name, images.format(), images.chain()}, image->size(), images.mode() & 0666);
    if (!made) return made.failure();
  }
  if (writable)
    if (auto free = check_nothing_over(path); !free) return free.failure();
  return open_overlay(path, std::move(image), images, writable);
}

Result<std::unique_ptr<Disk>> open_image(const DiskSpec& spec, bool writable) {
  auto format = spec.format;
  if (format.empty()) {
    auto found = decide_format(spec.path, format);
    if (!found) return found.failure();
    if (*found == "overlay") format = *std::move(found);
  }
  ChainOpener images;
  auto image = images.open(spec.path, format, writable);
  if (!image) return image;
  if (images.format() == "qcow2") return open_written_qcow2(spec.path, std::move(*image), images, writable);
  if (writable)
    if (auto free = check_nothing_over(spec.path); !free) return free.failure();
  return image;
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
  auto image = open_image(spec, spec.keeps());
  if (!image || spec.read_only || !spec.snapshot) return image;
  auto scratch = ScratchFile::of_process();
  if (!scratch) return scratch.failure();
  return std::unique_ptr<Disk>(
      std::make_unique<LayeredDisk>(DiskImage{*std::move(image), nullptr}, false, *std::move(scratch)));
}

Result<std::unique_ptr<Disk>> open_frozen_disk(const std::string& path, const std::string& format) {
  return ChainOpener().open(path, format, false);
}

}  // namespace doppel
