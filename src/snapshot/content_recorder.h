#pragma once
// From what a snapshot is made of to a manifest and a pack of the pages that are stored nowhere yet.
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/manifest.h"
#include "snapshot/opened_snapshot.h"
#include "snapshot/pack_builder.h"
#include "snapshot/page_index.h"
#include "snapshot/snapshot_content.h"

namespace doppel {

/// Packs that pages may be taken from, and what is in them.
struct StoredPages {
  std::vector<Sha256> packs;
  PageIndex index;  // PageLocation::pack is a number in `packs`
};

class ContentRecorder {
 public:
  /// New pages go to `file`, from `begin` on; those of `stored` are referred to. `path` is for sentences.
  ContentRecorder(StoredPages& stored, int file, std::uint64_t begin, std::string path);
  /// One of these, once. The new pack is the last of the manifest's; without `must_pack` there is none if it would be
  /// empty. Of a snapshot all pages that it needs are checked. What that costs is bounded by the size of its files.
  Result<Manifest> record(const SnapshotContent& content, bool must_pack);
  Result<Manifest> record(const OpenedSnapshot& snapshot, bool must_pack);
  /// Whether there is a new pack, and what it takes.
  bool has_pack() const { return has_pack_; }
  std::uint64_t pack_bytes() const { return builder_.bytes(); }

 private:
  Result<void> record_space(const SpaceContent& content, SpaceManifest& space);
  /// Where the page is, or is put: as a run of this one page.
  Result<PageRun> store(std::span<const std::byte, page_size> page, std::uint32_t number, bool hot);
  Result<Manifest> finish(Manifest manifest, bool must_pack);
  std::uint32_t number_in_manifest(std::uint32_t pack);
  bool usable(PageLocation where) const;

  static constexpr std::uint32_t none = ~0U;
  StoredPages& stored_;
  PackBuilder builder_;
  std::vector<std::uint32_t> numbers_;  // of the packs in the manifest, by those in `stored`
  std::vector<std::uint32_t> needed_;   // the other way round
  bool has_pack_ = false;
};

}  // namespace doppel
