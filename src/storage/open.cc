// From what a user names to an open disk.
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/overlay.h"
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

/// Opens one image and the images behind it, for reading except where it is a raw one to be written.
class ChainOpener {
 public:
  /// `format` may be empty: then the first bytes decide.
  Result<std::unique_ptr<Disk>> open(const std::string& path, std::string format, bool writable);
  /// An image named by another one.
  Result<std::unique_ptr<Disk>> open_backing(const std::string& of, const std::string& name, const std::string& format);
  const std::vector<FileStamp>& chain() const { return chain_; }
  /// What the last open() of the first image found.
  const std::string& format() const { return format_; }
  unsigned mode() const { return mode_; }

 private:
  Result<void> remember(const ImageFile& file);
  Result<std::unique_ptr<Disk>> open_qcow2(std::unique_ptr<ImageFile> file);

  std::vector<FileStamp> chain_;
  std::string format_;
  unsigned mode_ = 0;
};

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

Result<std::unique_ptr<Disk>> ChainOpener::open(const std::string& path, std::string format, bool writable) {
  const bool guessed = format.empty();
  if (guessed) {
    auto found = decide_format(path, format);
    if (!found) return found.failure();
    format = std::move(*found);
  }
  if (format != "raw" && format != "qcow2")
    return error("{} cannot be a backing file: its format is {}", path, printable(format));
  auto file = ImageFile::open(path, writable && format == "raw");
  if (!file) return file.failure();
  if (auto fits = remember(**file); !fits) return fits.failure();
  if (chain_.size() == 1) {
    format_ = format;
    mode_ = (*file)->mode();
  }
  if (format == "qcow2") return open_qcow2(std::move(*file));
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

// Names are relative to the image that has them. "json:…" and "nbd://…" are names of QEMU's that mean no file.
Result<std::unique_ptr<Disk>> ChainOpener::open_backing(const std::string& of, const std::string& name,
                                                        const std::string& format) {
  std::string path = name.starts_with("file:") ? name.substr(5) : name;
  if (path.empty() || path.find('\0') != std::string::npos ||
      path.substr(0, path.find('/')).find(':') != std::string::npos) {
    return error("the backing file {} of {} is not a file on this computer", printable(name), of);
  }
  if (path[0] != '/') path = of.substr(0, of.rfind('/') + 1) + path;
  auto disk = open(path, format, false);
  if (!disk) return error("{} (a backing file of {})", printable(disk.message()), of);
  return disk;
}

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

// The user named the overlay itself.
Result<std::unique_ptr<Disk>> open_named_overlay(const DiskSpec& spec) {
  Result<OverlayBacking> backing = error("unread");
  {
    auto file = ImageFile::open(spec.path, false);
    if (!file) return file.failure();
    backing = OverlayDisk::read_backing(**file);
    if (!backing) return backing.failure();
  }
  ChainOpener images;
  auto image = images.open_backing(spec.path, backing->name, backing->format);
  if (!image) return image;
  return open_overlay(spec.path, std::move(*image), images, !spec.read_only && !spec.snapshot);
}

Result<std::unique_ptr<Disk>> open_as_is(const DiskSpec& spec) {
  if (spec.format.empty()) {
    const auto format = decide_format(spec.path, spec.format);
    if (!format) return format.failure();
    if (*format == "overlay") return open_named_overlay(spec);
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
