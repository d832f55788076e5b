#pragma once
// Doppel's copy-on-write overlay, version 1. All numbers are little-endian.
//
//   0            header, 4 KiB, written once before the file gets its name
//   map_offset   map: two 4 KiB slots for each MapPage
//   data_offset  data: byte N of the disk is at data_offset + N; the file is sparse
//
// A bit of the map says whether a 4 KiB block of the disk is in this file or still in the backing image. Bits are only
// ever set, and a flush writes them after an fdatasync of the data they speak of. The two slots of a page are written
// in turn, so that a write that a power cut tears leaves the older one, which is what was flushed last; the valid slot
// with the higher generation counts. A block that is set reads as what the file has there, zeros where the file has a
// hole: so a discard needs nothing but a hole, a block that was flushed once is rewritten with a single fdatasync, and
// allocation is left to the file system.
#include <array>
#include <cstdint>
#include <string_view>

namespace doppel {

using namespace std::string_view_literals;
inline constexpr std::string_view overlay_magic = "DOPPELOV"sv;

namespace overlay {

inline constexpr std::uint32_t version = 1;
inline constexpr std::uint64_t block_size = 4096, slot_size = 4096, header_size = 4096;
/// Identity-mapped files of more than this are beyond most file systems.
inline constexpr std::uint64_t max_size = 64ULL << 40;
/// Images in a backing chain, the first one included.
inline constexpr std::size_t max_chain = 32;
inline constexpr std::size_t max_name = 2048;

/// What a backing image looked like when the overlay was made.
struct BackingStamp {
  std::uint64_t size;
  std::int64_t mtime_ns;
};

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t checksum;  // CRC-32 of the 4 KiB with this field zero
  std::uint64_t size;      // of the disk, in bytes
  std::uint64_t map_offset, data_offset;
  std::uint32_t block_size;
  std::uint32_t chain_length;
  char format[8];  // of the backing image: "raw", "qcow2" or "overlay", padded with zeros; it is never guessed again
  std::uint32_t name_length;
  std::uint32_t reserved;
  BackingStamp chain[max_chain];  // the backing image and its own backing images
  char name[max_name];            // of the backing image, relative to the overlay's folder
  std::array<std::uint8_t, header_size - 64 - max_chain * sizeof(BackingStamp) - max_name> padding;
};
static_assert(sizeof(Header) == header_size);

inline constexpr std::size_t words_per_page = (slot_size - 32) / 8;
inline constexpr std::uint64_t blocks_per_page = words_per_page * 64;

/// The map of blocks_per_page blocks (127 MiB), block 0 in bit 0 of words[0].
struct MapPage {
  std::uint32_t magic;
  std::uint32_t checksum;  // CRC-32 of the 4 KiB with this field zero
  std::uint64_t generation;
  std::uint64_t index;
  std::uint64_t reserved;
  std::array<std::uint64_t, words_per_page> words;
};
static_assert(sizeof(MapPage) == slot_size);
inline constexpr std::uint32_t map_magic = 0x50414d44;  // "DMAP"

}  // namespace overlay
}  // namespace doppel
