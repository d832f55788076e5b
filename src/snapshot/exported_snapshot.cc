// The self-contained file that `doppel snapshot export` writes and import reads.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "snapshot/content_recorder.h"
#include "snapshot/file_bytes.h"
#include "snapshot/opened_snapshot.h"

namespace doppel {
namespace {

constexpr std::string_view magic = "doppelex";
constexpr std::uint32_t version = 1;

/// Begins the file. Behind it is the pack, and behind that, to the end, the manifest.
struct Header {
  std::array<char, 8> magic{};
  std::uint32_t version = 0;
  std::uint32_t zero = 0;
  std::uint64_t pack_bytes = 0, manifest_bytes = 0;
  Sha256 checksum{};  // of the fields above
};
static_assert(sizeof(Header) == 64);

Sha256 checksum_of(const Header& header) {
  return sha256({std::as_bytes(std::span(&header, 1)).first(offsetof(Header, checksum))});
}

Error unusable(const std::string& path) {
  return error("{} is damaged, or no exported snapshot: export it again, or copy the file again", path);
}

FileDescriptor open_regular(const std::string& path, std::uint64_t& bytes) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0) return {};
  bytes = std::uint64_t(status.st_size);
  if (S_ISREG(status.st_mode)) return file;
  errno = EINVAL;
  return {};
}

bool sound(const Header& header, std::uint64_t bytes) {
  return bytes >= sizeof header && header.pack_bytes <= bytes - sizeof header &&
         header.manifest_bytes == bytes - sizeof header - header.pack_bytes &&
         header.manifest_bytes <= most_manifest_bytes + (1 << 20);
}

/// Header and manifest, once pack and all are in the file.
Result<void> finish(const TemporaryFile& file, const Manifest& manifest, std::uint64_t pack_bytes) {
  const auto encoded = manifest.encode();
  if (!encoded) return encoded.failure();
  Header header{.version = version, .pack_bytes = pack_bytes, .manifest_bytes = encoded->size()};
  std::ranges::copy(magic, header.magic.begin());
  header.checksum = checksum_of(header);
  if (!write_at(file.descriptor(), *encoded, sizeof header + pack_bytes) ||
      !write_at(file.descriptor(), std::as_bytes(std::span(&header, 1)), 0))
    return error("cannot write {}: {}", file.path(), std::strerror(errno));
  return file.sync();
}

}  // namespace

Result<OpenedSnapshot> open_exported(const std::string& path) {
  std::uint64_t bytes = 0;
  auto file = open_regular(path, bytes);
  if (!file) return error("cannot open the exported snapshot {}: {}", path, std::strerror(errno));
  Header header;
  if (!read_at(file.get(), std::as_writable_bytes(std::span(&header, 1)), 0) ||
      std::string_view(header.magic.data(), header.magic.size()) != magic || header.checksum != checksum_of(header))
    return unusable(path);
  if (header.version > version) return error("{} was made by a newer Doppel: use that one", path);
  if (header.version != version || !sound(header, bytes)) return unusable(path);
  std::vector<std::byte> encoded(header.manifest_bytes);
  if (!read_at(file.get(), encoded, sizeof header + header.pack_bytes)) return unusable(path);
  auto manifest = Manifest::decode(encoded, path);
  if (!manifest) return manifest.failure();
  if (manifest->packs.size() != 1) return unusable(path);
  auto pack = Pack::open(std::move(file), {.at = sizeof header, .bytes = header.pack_bytes}, manifest->packs[0],
                         unusable(path));
  if (!pack) return pack.failure();
  OpenedSnapshot out{.manifest = std::move(*manifest), .packs = {}};
  out.packs.push_back(std::move(*pack));
  return out;
}

Result<void> write_exported(const OpenedSnapshot& snapshot, const std::string& path) {
  const std::filesystem::path name(path);
  if (!name.has_filename()) return error("'{}' names no file to export to", path);
  const auto folder = StoreFolder::open(name.has_parent_path() ? name.parent_path().string() : ".", false);
  if (!folder) return error("cannot write {}: {}", path, folder.message());
  if (folder->exists(name.filename().string())) return error("{} exists already: remove it, or name another", path);
  auto file = folder->make_file();
  if (!file) return file.failure();
  StoredPages none;
  ContentRecorder recorder(none, file->descriptor(), sizeof(Header), file->path());
  const auto manifest = recorder.record(snapshot, true);
  if (!manifest) return manifest.failure();
  if (auto done = finish(*file, *manifest, recorder.pack_bytes()); !done) return done;
  if (auto done = file->publish(name.filename().string(), false); !done) return done;
  return folder->sync();
}

}  // namespace doppel
