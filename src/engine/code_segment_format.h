#pragma once
// The files of the code store (docs/translator.md): a header, and behind it sections that are only ever appended. A
// section is its header, its index and its records. Numbers are the host's, which is little-endian; what does not have
// the right hash does not exist.
#include <array>
#include <cstdint>
#include <string_view>

#include "base/sha256.h"

namespace doppel::code_segment {

inline constexpr std::string_view magic = "doppelcc";
inline constexpr std::uint32_t version = 2;
inline constexpr std::uint32_t section_magic = 0x74636573;  // "sect"

/// Begins a file.
struct FileHeader {
  std::array<char, 8> magic{};
  std::uint32_t version = 0;
  std::uint32_t zero = 0;
  Sha256 identity{};  // of what made the code: code_identity()
  Sha256 checksum{};  // of the fields above
  // Not under the checksum, because they change:
  std::uint64_t reserved = 0;  // bytes that the process which appends may let the file grow to
  std::uint64_t uses = 0;      // counted up by whoever loads code; the writing makes the file a young one
  std::array<std::byte, 32> padding{};
};
static_assert(sizeof(FileHeader) == 128);

/// XXH3's of 128 bits, with a seed of chance that no guest knows: it tells what was damaged from what was written, and
/// takes a twentieth of a SHA-256's time. What code belongs to which guest bytes is not left to it: those are compared.
using Check = std::array<std::uint64_t, 2>;

/// Begins a section, at a multiple of section_alignment in the file.
struct SectionHeader {
  std::uint32_t magic = 0;
  std::uint32_t objects = 0;     // entries in the index
  std::uint32_t data_bytes = 0;  // of records
  std::uint32_t zero = 0;
  std::uint64_t seed = 0;
  Check data{};      // of the records
  Check checksum{};  // of the file's identity, the fields above and the index
  std::array<std::byte, 72> padding{};
};
static_assert(sizeof(SectionHeader) == 128);
inline constexpr std::uint64_t section_alignment = 128;
inline constexpr std::uint32_t most_objects = 1 << 16, most_data_bytes = 16 << 20;  // of one section

/// One object in the index. The hashes are XXH3's: they say where to look, and all bytes are compared there.
struct IndexEntry {
  std::uint32_t first = 0;   // of key and the first range's first bytes: 16, 8, 4, 2 or 1 of them
  std::uint32_t whole = 0;   // of the first range's bytes
  std::uint32_t rest = 0;    // of the further ranges and their bytes
  std::uint32_t length = 0;  // of the first range
  std::uint32_t at = 0;      // the record, in bytes from the first one; a multiple of record_alignment
};
static_assert(sizeof(IndexEntry) == 20);

/// An object. Behind it: the ranges, the links, and the bytes of source, code and extra.
struct Record {
  std::uint8_t kind = 0;
  std::uint8_t zero = 0;
  std::uint16_t ranges = 0;
  std::uint32_t mode = 0;
  std::uint32_t guest_count = 0;
  std::uint32_t links = 0;
  std::uint32_t source_bytes = 0, code_bytes = 0, extra_bytes = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(Record) == 32);
inline constexpr std::uint32_t record_alignment = 8;
inline constexpr std::uint32_t most_record_bytes = 4 << 20;

}  // namespace doppel::code_segment
