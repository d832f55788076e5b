#pragma once
// What a snapshot is, but for the bytes of its pages: where these are, the state, the description.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"

namespace doppel {

inline constexpr std::uint32_t manifest_version = 1;
inline constexpr std::size_t most_packs = 64;  // that a snapshot may need: each is an open file
inline constexpr std::uint64_t most_manifest_bytes = 64 << 20;
inline constexpr std::uint64_t most_space_pages = 1ULL << 32;

/// Pages of a space that follow one another, and so do what they are in a pack; or are all zero.
struct PageRun {
  static constexpr std::uint32_t zeros = ~0U;
  std::uint32_t page = 0, count = 0;
  std::uint32_t pack = 0;  // a number in Manifest::packs, or zeros
  std::uint32_t at = 0;    // the first one's number in the pack
  std::uint64_t end() const { return std::uint64_t(page) + count; }
  bool operator==(const PageRun&) const = default;
};

/// Adds a run behind the others, or makes the last one longer.
void append_run(std::vector<PageRun>& runs, const PageRun& run);

struct SpaceManifest {
  std::string name;                // of letters, digits and what is between them in "disk 0"
  std::uint64_t base = 0;          // what the caller wanted to know again
  std::uint64_t bytes = 0;         // at most most_space_pages pages
  std::vector<PageRun> runs;       // ascending, without overlap
  std::vector<std::uint32_t> hot;  // pages, the hottest first
  std::uint64_t pages() const;
  std::uint64_t held() const;  // pages in runs
  bool operator==(const SpaceManifest&) const = default;
};

struct Manifest {
  std::int64_t made_s = 0;  // when, in seconds since 1970
  std::string description;
  std::vector<std::byte> state;
  std::vector<Sha256> packs;  // ids
  std::vector<SpaceManifest> spaces;
  bool operator==(const Manifest&) const = default;

  /// The file's content: ends with its own SHA-256. Fails with a sentence when there is too much of it.
  Result<std::vector<std::byte>> encode() const;
  /// Reads hostile bytes, of any version up to ours. `path` is for the sentence of a failure.
  static Result<Manifest> decode(std::span<const std::byte> file, const std::string& path);
  /// Whether everything in it is as its description above says; what decode() gives is.
  bool sound() const;
};

}  // namespace doppel
