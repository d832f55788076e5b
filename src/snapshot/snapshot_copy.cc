// A snapshot's pages into other packs, and what refers to them changed to match. Its manifest may refer to one page any
// number of times: so each page is looked at once, and runs of pages are never taken apart into single ones.
#include <algorithm>

#include "snapshot/content_recorder.h"

namespace doppel {
namespace {

constexpr std::size_t most_runs = 16 << 20;

/// Which pages of a pack are needed, and which of these are hot.
struct Needs {
  std::vector<std::uint32_t> begin, end;  // how many runs begin at the page, and ended before it
  std::vector<bool> hot;
};

std::vector<Needs> needs_of(const OpenedSnapshot& snapshot) {
  std::vector<Needs> out;
  for (const auto& pack : snapshot.packs) {
    const std::size_t pages = std::size_t(pack.frames()) * pack_format::frame_pages;
    out.push_back({.begin = std::vector<std::uint32_t>(pages + 1),
                   .end = std::vector<std::uint32_t>(pages + 1),
                   .hot = std::vector<bool>(pages)});
  }
  for (const auto& space : snapshot.manifest.spaces) {
    for (const auto& run : space.runs)
      if (run.pack != PageRun::zeros) out[run.pack].begin[run.at]++, out[run.pack].end[run.at + run.count]++;
    for (const auto page : space.hot) {
      const auto run = std::ranges::upper_bound(space.runs, page, {}, &PageRun::end);
      if (run != space.runs.end() && run->page <= page && run->pack != PageRun::zeros)
        out[run->pack].hot[run->at + (page - run->page)] = true;
    }
  }
  return out;
}

/// What a run of pages of a pack has become: `moved` has runs by their numbers in the old pack.
bool append_moved(const PageRun& run, const std::vector<PageRun>& moved, std::vector<PageRun>& out) {
  auto piece = std::ranges::upper_bound(moved, run.at, {}, &PageRun::end);
  for (std::uint32_t done = 0; done < run.count; piece++) {
    const auto at = run.at + done;
    if (piece == moved.end() || piece->page > at || out.size() > most_runs) return false;
    const auto skipped = at - piece->page, count = std::min(run.count - done, piece->count - skipped);
    const auto to = piece->pack == PageRun::zeros ? 0 : piece->at + skipped;
    append_run(out, {.page = run.page + done, .count = count, .pack = piece->pack, .at = to});
    done += count;
  }
  return true;
}

bool append_all_moved(std::vector<PageRun>& runs, const std::vector<std::vector<PageRun>>& moved) {
  std::vector<PageRun> out;
  for (const auto& run : runs) {
    if (run.pack == PageRun::zeros)
      append_run(out, run);
    else if (!append_moved(run, moved[run.pack], out))
      return false;
  }
  runs = std::move(out);
  return true;
}

}  // namespace

Result<Manifest> ContentRecorder::record(const OpenedSnapshot& snapshot, bool must_pack) {
  for (const auto& space : snapshot.manifest.spaces)
    for (const auto& run : space.runs)
      if (run.pack != PageRun::zeros && !snapshot.packs[run.pack].holds(run.at + run.count - 1))
        return snapshot.packs[run.pack].damaged();
  const auto needs = needs_of(snapshot);
  PackReader reader(snapshot.packs);
  std::vector<std::vector<PageRun>> moved(snapshot.packs.size());
  for (std::uint32_t pack = 0; pack < snapshot.packs.size(); pack++) {
    std::uint64_t users = 0;
    for (std::uint32_t at = 0; at < needs[pack].hot.size(); at++) {
      users += needs[pack].begin[at], users -= needs[pack].end[at];
      if (users == 0) continue;
      const auto bytes = reader.read(pack, at);
      if (!bytes) return bytes.failure();
      const auto run = store(std::span<const std::byte, page_size>(*bytes, page_size), at, needs[pack].hot[at]);
      if (!run) return run.failure();
      append_run(moved[pack], *run);
    }
  }
  auto manifest = snapshot.manifest;
  manifest.packs.clear();
  for (auto& space : manifest.spaces)
    if (!append_all_moved(space.runs, moved))
      return error("the snapshot's pages are in too many places: the limit is {}", most_runs);
  return finish(std::move(manifest), must_pack);
}

}  // namespace doppel
