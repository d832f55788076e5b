#include "snapshot/content_recorder.h"

#include <algorithm>
#include <ctime>

namespace doppel {

ContentRecorder::ContentRecorder(StoredPages& stored, int file, std::uint64_t begin, std::string path)
    : stored_(stored), builder_(file, begin, std::move(path)), numbers_(stored.packs.size(), none) {}

/// So that a snapshot does not need ever more packs with ever fewer of its pages in them: those that are in further
/// ones are stored again. One number is for the new pack.
bool ContentRecorder::usable(PageLocation where) const {
  return where.pack == stored_.packs.size() || numbers_[where.pack] != none || needed_.size() < most_packs - 1;
}

std::uint32_t ContentRecorder::number_in_manifest(std::uint32_t pack) {
  if (pack == stored_.packs.size()) return most_packs;  // not known before the end
  auto& number = numbers_[pack];
  if (number == none) {
    number = std::uint32_t(needed_.size());
    needed_.push_back(pack);
  }
  return number;
}

Result<PageRun> ContentRecorder::store(std::span<const std::byte, page_size> page, std::uint32_t number, bool hot) {
  if (is_zero(page)) return PageRun{.page = number, .count = 1, .pack = PageRun::zeros, .at = 0};
  const auto hash = sha256({page});
  auto where = stored_.index.find(hash, [&](PageLocation found) { return usable(found); });
  if (!where) {
    const auto at = builder_.add(page, hash, hot);
    if (!at) return at.failure();
    where = {std::uint32_t(stored_.packs.size()), *at};
    stored_.index.add(hash, *where);
  }
  return PageRun{.page = number, .count = 1, .pack = number_in_manifest(where->pack), .at = where->at};
}

Result<void> ContentRecorder::record_space(const SpaceContent& content, SpaceManifest& space) {
  space.name = content.name, space.base = content.base, space.bytes = content.bytes;
  if (space.pages() > most_space_pages)
    return error("'{}' is too large for a snapshot: the limit is 16 TiB", space.name);
  space.hot = content.hot;
  auto sorted = content.hot;
  std::ranges::sort(sorted);
  std::uint64_t next = 0;
  return content.for_each([&](std::uint64_t page, std::span<const std::byte, page_size> bytes) -> Result<void> {
    if (page < next || page >= space.pages()) return error("page {} of '{}' is not in its place", page, space.name);
    next = page + 1;
    const auto run = store(bytes, std::uint32_t(page), std::ranges::binary_search(sorted, std::uint32_t(page)));
    if (!run) return run.failure();
    append_run(space.runs, *run);
    return {};
  });
}

Result<Manifest> ContentRecorder::record(const SnapshotContent& content, bool must_pack) {
  Manifest out;
  out.made_s = content.made_s ? content.made_s : std::int64_t(std::time(nullptr));
  out.description = content.description;
  out.state = content.state;
  for (const auto& space : content.spaces)
    if (auto done = record_space(space, out.spaces.emplace_back()); !done) return done.failure();
  return finish(std::move(out), must_pack);
}

Result<Manifest> ContentRecorder::finish(Manifest manifest, bool must_pack) {
  for (const auto pack : needed_) manifest.packs.push_back(stored_.packs[pack]);
  const auto id = builder_.finish();
  if (!id) return id.failure();
  has_pack_ = must_pack || builder_.pages() > 0;
  if (has_pack_) manifest.packs.push_back(*id);
  for (auto& space : manifest.spaces)
    for (auto& run : space.runs)
      if (run.pack == most_packs) run.pack = std::uint32_t(manifest.packs.size() - 1);
  if (!manifest.sound())
    return error("there are two spaces of one name, or hot pages outside of theirs: no snapshot was made");
  return manifest;
}

}  // namespace doppel
