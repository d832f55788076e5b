// Making and opening overlay files.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "storage/overlay.h"

namespace doppel {
namespace {

using overlay::Header;

std::uint32_t checksum_of(Header header) {
  header.checksum = 0;
  return static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(&header), sizeof header));
}

Result<void> check_size(std::uint64_t size) {
  if (size <= overlay::max_size) return {};
  return error("a disk of {} bytes is too large for an overlay, whose limit is {} bytes", size, overlay::max_size);
}

Result<void> set_length(const ImageFile& file, std::uint64_t length) {
  if (ftruncate(file.fd(), static_cast<off_t>(length)) == 0) return {};
  return error("cannot make {} long enough for its disk ({} bytes, sparse): {}", file.path(), length,
               std::strerror(errno));
}

Header header_of(const OverlayBacking& backing, std::uint64_t size) {
  Header header{};
  std::memcpy(header.magic, overlay_magic.data(), sizeof header.magic);
  header.version = overlay::version;
  header.size = size;
  header.block_size = overlay::block_size;
  header.chain_length = static_cast<std::uint32_t>(backing.chain.size());
  std::memcpy(header.format, backing.format.data(), std::min(backing.format.size(), sizeof header.format));
  header.name_length = static_cast<std::uint32_t>(backing.name.size());
  std::memcpy(header.name, backing.name.data(), backing.name.size());
  for (std::size_t i = 0; i < backing.chain.size(); i++) {
    header.chain[i] = {backing.chain[i].size, backing.chain[i].mtime_ns};
  }
  return header;
}

Result<void> fill_new(ImageFile& file, const Header& header) {
  const std::uint64_t blocks = (header.size + overlay::block_size - 1) / overlay::block_size;
  if (auto set = set_length(file, header.data_offset + blocks * overlay::block_size); !set) return set;
  return file.write(0, std::as_bytes(std::span(&header, 1)));
}

}  // namespace

OverlayDisk::Layout OverlayDisk::layout_for(std::uint64_t size) {
  const std::uint64_t blocks = (size + overlay::block_size - 1) / overlay::block_size;
  const std::uint64_t map = overlay::header_size + OverlayMap(blocks).stored_bytes();
  // The data starts at a multiple of 1 MiB, so that the disk's own alignment holds in the file too.
  return {overlay::header_size, (map + 0xfffff) & ~0xfffffULL};
}

Result<overlay::Header> OverlayDisk::make_header(const OverlayBacking& backing, std::uint64_t size) {
  if (auto possible = check_size(size); !possible) return possible.failure();
  if (backing.name.size() > overlay::max_name || backing.chain.size() > overlay::max_chain) {
    return error("the name {} is too long for an overlay", printable(backing.name));
  }
  Header header = header_of(backing, size);
  const Layout layout = layout_for(size);
  header.map_offset = layout.map_offset;
  header.data_offset = layout.data_offset;
  header.checksum = checksum_of(header);
  return header;
}

Result<void> OverlayDisk::create(const std::string& path, const OverlayBacking& backing, std::uint64_t size,
                                 unsigned mode) {
  const auto header = make_header(backing, size);
  if (!header) return header.failure();
  auto file = create_unfinished(path, mode | 0600);
  if (!file) return error("{}; add ,snapshot or ,ro to use the image without its overlay file", file.message());
  auto filled = fill_new(**file, *header);
  if (filled) filled = finish(**file, path);
  if (!filled) unlink((*file)->path().c_str());
  return filled;
}

Result<void> OverlayDisk::create_in(ImageFile& file, const OverlayBacking& backing, std::uint64_t size) {
  const auto header = make_header(backing, size);
  if (!header) return header.failure();
  if (auto filled = fill_new(file, *header); !filled) return filled;
  return file.look_again();
}

Result<Header> OverlayDisk::read_header(const ImageFile& file) {
  Header header;
  const auto got = file.read_some(0, std::as_writable_bytes(std::span(&header, 1)));
  if (!got) return got.failure();
  if (*got < sizeof header || std::memcmp(header.magic, overlay_magic.data(), sizeof header.magic) != 0) {
    return error("{} is not an overlay of Doppel's", file.path());
  }
  if (header.version != overlay::version) {
    return error("{} is an overlay of version {}; this Doppel reads version {}", file.path(), header.version,
                 overlay::version);
  }
  if (header.checksum != checksum_of(header))
    return error("{} is damaged: its header has a wrong checksum", file.path());
  // From here on only a file made on purpose can be wrong.
  const bool sound = header.size != 0 && header.size <= overlay::max_size && header.block_size == overlay::block_size &&
                     header.chain_length >= 1 && header.chain_length <= overlay::max_chain &&
                     header.name_length <= overlay::max_name;
  if (!sound) return error("{} is damaged: its header makes no sense", file.path());
  const Layout expected = layout_for(header.size);
  if (header.map_offset != expected.map_offset || header.data_offset != expected.data_offset) {
    return error("{} is damaged: its header makes no sense", file.path());
  }
  if (file.size() < header.data_offset || file.size() - header.data_offset < header.size) {
    return error("{} is damaged: it is shorter than its header says", file.path());
  }
  return header;
}

Result<OverlayBacking> OverlayDisk::read_backing(const ImageFile& file) {
  const auto header = read_header(file);
  if (!header) return header.failure();
  OverlayBacking backing;
  backing.name.assign(header->name, header->name_length);
  backing.format.assign(header->format, strnlen(header->format, sizeof header->format));
  for (std::size_t i = 0; i < header->chain_length; i++) {
    backing.chain.push_back({.size = header->chain[i].size, .mtime_ns = header->chain[i].mtime_ns});
  }
  return backing;
}

Result<std::unique_ptr<OverlayDisk>> OverlayDisk::open(std::unique_ptr<ImageFile> file, std::shared_ptr<Disk> backing,
                                                       const std::vector<FileStamp>& chain) {
  const auto recorded = read_backing(*file);
  if (!recorded) return recorded.failure();
  const bool same = std::ranges::equal(recorded->chain, chain, &FileStamp::same_content);
  const auto header = read_header(*file);
  if (!header) return header.failure();
  if (!same || header->size != backing->size()) {
    return error(
        "{0} has changed since its overlay {1} was made, so the two no longer fit; put the old image back (a copy has "
        "to "
        "keep its time, cp -p), or remove {1} to start afresh from the image",
        printable(recorded->name), file->path());
  }
  const Layout layout{header->map_offset, header->data_offset};
  auto disk = std::unique_ptr<OverlayDisk>(new OverlayDisk(std::move(file), std::move(backing), layout));
  if (auto loaded = disk->map_.load(*disk->file_, layout.map_offset); !loaded) return loaded.failure();
  return disk;
}

std::string overlay_path(const std::string& disk, const std::string& machine) {
  return fmt::format("{}.{}.overlay", disk, machine);
}

Result<FileDescriptor> make_overlay_file(const std::string& path, const std::string& base) {
  struct stat status{};
  const mode_t mode = stat(base.c_str(), &status) == 0 ? status.st_mode & 0666 : 0;
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode | 0600));
  if (!file) return error("cannot create {}: {}", path, std::strerror(errno));
  struct flock whole{};
  whole.l_type = F_WRLCK;
  const bool locked = fcntl(file.get(), F_OFD_SETLK, &whole) == 0 || (errno != EAGAIN && errno != EACCES);
  if (!locked || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != 0)
    return error(
        "{} is there already: it has what another machine of this name kept, so commit it (doppel disk commit) or "
        "remove "
        "it, or take another name",
        path);
  if (auto durable = make_directory_durable(path); !durable) return durable.failure();
  return file;
}

void drop_overlay_file(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0) unlink(path.c_str());
}

}  // namespace doppel
