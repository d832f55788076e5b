#pragma once
// The file of a pack (docs/snapshots.md): a header, frames, the hashes of their pages, the table of frames, a footer.
// Never changed once it has its name, which is its id. Numbers are the host's, which is little-endian.
#include <zstd.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "base/sha256.h"
#include "memory/guest_memory.h"

namespace doppel::pack_format {

inline constexpr std::string_view magic = "doppelpk", end_magic = "kpleppod";
inline constexpr std::uint32_t version = 2;

struct Header {
  std::array<char, 8> magic{};
  std::uint32_t version = 0;
  std::uint32_t zero = 0;
};
static_assert(sizeof(Header) == 16);

/// Pages that are compressed together. With 16 of them a pack of Debian's memory would be 1.5 % smaller, and bringing
/// one page, which unpacks a frame, take three to four times as long.
inline constexpr std::uint32_t frame_pages = 4;
inline constexpr std::uint64_t frame_bytes = frame_pages * page_size;
inline constexpr std::uint32_t most_packed_bytes = ZSTD_COMPRESSBOUND(frame_bytes);
inline constexpr std::uint32_t most_frames = 1 << 22;  // 64 GiB of pages

/// One frame: a zstd frame of `pages` pages. Page `at` of a pack is page `at % frame_pages` of frame `at /
/// frame_pages`.
struct FrameEntry {
  std::uint64_t at = 0;     // in bytes from the pack's beginning
  std::uint32_t bytes = 0;  // compressed
  std::uint32_t pages = 0;  // 1 to frame_pages
  std::uint64_t check = 0;  // XXH3 of the compressed bytes: tells, at a tenth of the cost, what was damaged by chance
  Sha256 hashes{};          // of its PageHashes
};
static_assert(sizeof(FrameEntry) == 56);

/// The same in packs of version 1, whose pages are compared with their hashes instead.
struct FrameEntry1 {
  std::uint64_t at = 0;
  std::uint32_t bytes = 0;
  std::uint32_t pages = 0;
  Sha256 hashes{};
};
static_assert(sizeof(FrameEntry1) == 48);

/// The SHA-256 of each page of a frame, zeros behind the last: what tells which pages are there already.
using PageHashes = std::array<Sha256, frame_pages>;

/// Ends the file. The PageHashes of all frames begin at `hashes_at`, behind them is the table, behind that this. The
/// pack's id is the SHA-256 of header, footer and table: who knows it can tell whether any page is what was stored.
struct Footer {
  std::uint64_t frames = 0;
  std::uint64_t hashes_at = 0;
  std::uint64_t zero = 0;
  std::array<char, 8> magic{};
};
static_assert(sizeof(Footer) == 32);

}  // namespace doppel::pack_format
