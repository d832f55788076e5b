#include "snapshot/opened_snapshot.h"

#include "snapshot/file_bytes.h"

namespace doppel {
namespace {

// Compressed it may be a little larger than its limit, which is for what it is unpacked.
constexpr std::uint64_t most_file_bytes = most_manifest_bytes + (1 << 20);

}  // namespace

Result<Manifest> read_manifest(const StoreFolder& folder, const std::string& file_name, std::uint64_t& bytes) {
  const auto file = folder.open_file(file_name, bytes);
  if (!file) return file.failure();
  std::vector<std::byte> content(bytes <= most_file_bytes ? bytes : 0);
  if (!read_at(file->get(), content, 0)) content.clear();
  return Manifest::decode(content, folder.path_of(file_name));
}

Result<Pack> open_pack(const StoreFolder& folder, const Sha256& id) {
  const auto name = pack_name(id);
  std::uint64_t bytes = 0;
  auto file = folder.open_file(name, bytes);
  if (!file) return file.failure();
  return Pack::open(std::move(*file), {.at = 0, .bytes = bytes}, id,
                    error("{} is damaged: remove the snapshots that need it (doppel snapshot rm), and make or import "
                          "them again",
                          folder.path_of(name)));
}

Result<OpenedSnapshot> open_snapshot(const StoreFolder& folder, const std::string& name) {
  std::uint64_t bytes = 0;
  auto manifest = read_manifest(folder, name + std::string(snapshot_ending), bytes);
  if (!manifest) return manifest.failure();
  OpenedSnapshot out{.manifest = std::move(*manifest), .packs = {}};
  for (const auto& id : out.manifest.packs) {
    auto pack = open_pack(folder, id);
    if (!pack)
      return error("the snapshot '{}' cannot be used: {}; remove it (doppel snapshot rm) and make or import it again",
                   name, pack.message());
    out.packs.push_back(std::move(*pack));
  }
  return out;
}

}  // namespace doppel
