#include "snapshot/snapshot_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "snapshot/content_recorder.h"
#include "snapshot/file_bytes.h"
#include "snapshot/opened_snapshot.h"

namespace doppel {
namespace {

constexpr std::size_t most_indexed_pages = 16 << 20;  // 64 GiB, and a gigabyte of memory to look for pages in
constexpr std::uint32_t frames_at_once = 1024;

std::string manifest_name(const std::string& name) { return name + std::string(snapshot_ending); }

Result<void> check_name(const std::string& name) {
  if (sound_snapshot_name(name)) return {};
  return error("'{}' is no name for a snapshot: use up to 64 letters, digits, '.', '_' and '-'", name);
}

std::vector<std::string> snapshot_names(const StoreFolder& folder) {
  std::vector<std::string> out;
  for (auto& name : folder.names())
    if (name.ends_with(snapshot_ending) && sound_snapshot_name(name.substr(0, name.size() - snapshot_ending.size())))
      out.push_back(name.substr(0, name.size() - snapshot_ending.size()));
  return out;
}

bool add_pages(const Pack& pack, std::uint32_t number, PageIndex& index) {
  for (std::uint32_t first = 0; first < pack.frames(); first += frames_at_once) {
    const auto count = std::min(frames_at_once, pack.frames() - first);
    const auto hashes = pack.hashes(first, count);
    if (!hashes) return false;
    for (std::uint32_t n = 0; n < count; n++)
      for (std::uint32_t page = 0; page < pack.pages(first + n); page++)
        index.add((*hashes)[n][page], {number, (first + n) * pack_format::frame_pages + page});
  }
  return true;
}

/// The pages of all packs that are sound.
StoredPages stored_pages(const StoreFolder& folder) {
  StoredPages out;
  for (const auto& name : folder.names()) {
    const auto id = pack_id(name);
    if (!id) continue;
    const auto pack = open_pack(folder, *id);
    if (!pack || out.index.size() + std::uint64_t(pack->frames()) * pack_format::frame_pages > most_indexed_pages)
      continue;
    out.packs.push_back(*id);
    // What of a damaged one is in the index is what its sound frames have.
    add_pages(*pack, std::uint32_t(out.packs.size() - 1), out.index);
  }
  return out;
}

void sum_up(const Manifest& manifest, SnapshotSummary& summary) {
  summary.made_s = manifest.made_s;
  for (const auto& space : manifest.spaces) summary.pages += space.held(), summary.bytes += space.bytes;
}

Result<TemporaryFile> write_manifest(const StoreFolder& folder, const Manifest& manifest, std::uint64_t& bytes) {
  const auto encoded = manifest.encode();
  if (!encoded) return encoded.failure();
  auto file = folder.make_file();
  if (!file) return file;
  if (!write_at(file->descriptor(), *encoded, 0))
    return error("cannot write {}: {}; the snapshot was not made", file->path(), std::strerror(errno));
  if (auto synced = file->sync(); !synced) return synced.failure();
  bytes = encoded->size();
  return file;
}

}  // namespace

Result<SnapshotStore> SnapshotStore::open(const std::string& folder, bool may_create) {
  auto opened = StoreFolder::open(folder, may_create);
  if (!opened) return opened.failure();
  return SnapshotStore(std::move(*opened));
}

Result<SnapshotSummary> SnapshotStore::save(const std::string& name, const SnapshotContent& content,
                                            bool replace) const {
  return add(name, [&](ContentRecorder& recorder) { return recorder.record(content, false); }, replace);
}

Result<SnapshotSummary> SnapshotStore::add(const std::string& name, const Record& record, bool replace) const {
  if (auto sound = check_name(name); !sound) return sound.failure();
  clean();
  auto written = write(name, record, replace);
  if (written && replace) clean();
  return written;
}

Result<SnapshotSummary> SnapshotStore::write(const std::string& name, const Record& record, bool replace) const {
  const auto exists = [&] { return error("there is a snapshot named '{}' already: remove it, or name another", name); };
  if (!replace && folder_.exists(manifest_name(name))) return exists();
  // Until the manifest is there, which keeps the packs: nobody may remove what it will need.
  const auto lock = folder_.lock(StoreFolder::Use::sharing);
  if (!lock) return lock.failure();
  auto stored = stored_pages(folder_);
  auto pack = folder_.make_file();
  if (!pack) return pack.failure();
  ContentRecorder recorder(stored, pack->descriptor(), 0, pack->path());
  const auto manifest = record(recorder);
  if (!manifest) return manifest.failure();
  SnapshotSummary out{.name = name};
  sum_up(*manifest, out);
  auto file = write_manifest(folder_, *manifest, out.own_bytes);
  if (!file) return file.failure();
  if (recorder.has_pack()) {
    if (auto synced = pack->sync(); !synced) return synced.failure();
    if (auto done = pack->publish(pack_name(manifest->packs.back()), true); !done) return done.failure();
    if (auto synced = folder_.sync(); !synced) return synced.failure();
    out.own_bytes += recorder.pack_bytes();
  }
  if (auto done = file->publish(manifest_name(name), replace); !done)
    return folder_.exists(manifest_name(name)) ? exists() : done.failure();
  if (auto synced = folder_.sync(); !synced) return synced.failure();
  return out;
}

Result<std::unique_ptr<Snapshot>> SnapshotStore::load(const std::string& name) const {
  if (auto sound = check_name(name); !sound) return sound.failure();
  const auto lock = folder_.lock(StoreFolder::Use::sharing);
  if (!lock) return lock.failure();
  if (!folder_.exists(manifest_name(name)))
    return error("there is no snapshot named '{}': doppel snapshot ls lists those that are there", name);
  auto opened = open_snapshot(folder_, name);
  if (!opened) return opened.failure();
  return Snapshot::create(std::move(opened->manifest), std::move(opened->packs));
}

std::vector<SnapshotSummary> SnapshotStore::list() const {
  const auto lock = folder_.lock(StoreFolder::Use::sharing);
  std::vector<SnapshotSummary> out;
  std::map<Sha256, std::vector<std::size_t>> users;  // of packs, by their place in `out`
  for (auto& name : snapshot_names(folder_)) {
    auto& summary = out.emplace_back();
    const auto manifest = read_manifest(folder_, manifest_name(name), summary.own_bytes);
    summary.name = std::move(name);
    if (manifest) {
      sum_up(*manifest, summary);
      for (const auto& id : manifest->packs) users[id].push_back(out.size() - 1);
    } else {
      summary.problem = manifest.message();
    }
  }
  std::uint64_t bytes = 0;
  for (const auto& [id, who] : users)
    if (who.size() == 1 && folder_.open_file(pack_name(id), bytes)) out[who[0]].own_bytes += bytes;
  return out;
}

Result<void> SnapshotStore::remove(const std::string& name) const {
  if (auto sound = check_name(name); !sound) return sound;
  const auto lock = folder_.lock(StoreFolder::Use::cleaning);
  if (!lock) return lock.failure();
  if (!folder_.exists(manifest_name(name)))
    return error("there is no snapshot named '{}': doppel snapshot ls lists those that are there", name);
  if (!folder_.remove(manifest_name(name)))
    return error("cannot remove {}: {}", folder_.path_of(manifest_name(name)), std::strerror(errno));
  // Else a power cut might bring it back without its packs.
  if (auto synced = folder_.sync(); !synced) return synced;
  collect();
  return {};
}

/// What those left that did not come to their end, if nobody is at work.
void SnapshotStore::clean() const {
  if (const auto lock = folder_.try_lock(StoreFolder::Use::cleaning)) collect();
}

/// While cleaning. Where a manifest cannot be read, it is not known which packs it needs: then all stay.
void SnapshotStore::collect() const {
  folder_.remove_leftovers();
  std::set<Sha256> needed;
  std::uint64_t bytes = 0;
  for (const auto& name : snapshot_names(folder_)) {
    const auto manifest = read_manifest(folder_, manifest_name(name), bytes);
    if (!manifest) return;
    needed.insert(manifest->packs.begin(), manifest->packs.end());
  }
  for (const auto& name : folder_.names())
    if (const auto id = pack_id(name); id && !needed.contains(*id)) folder_.remove(name);
}

Result<void> SnapshotStore::export_to(const std::string& name, const std::string& path) const {
  if (auto sound = check_name(name); !sound) return sound;
  auto lock = folder_.lock(StoreFolder::Use::sharing);
  if (!lock) return lock.failure();
  if (!folder_.exists(manifest_name(name)))
    return error("there is no snapshot named '{}': doppel snapshot ls lists those that are there", name);
  const auto opened = open_snapshot(folder_, name);
  *lock = {};  // what is open stays
  if (!opened) return opened.failure();
  return write_exported(*opened, path);
}

Result<SnapshotSummary> SnapshotStore::import_from(const std::string& path, const std::string& name,
                                                   bool replace) const {
  const auto opened = open_exported(path);
  if (!opened) return opened.failure();
  return add(name, [&](ContentRecorder& recorder) { return recorder.record(*opened, false); }, replace);
}

}  // namespace doppel
