#pragma once
// The qcow2 file format, by the specification in QEMU's docs/interop/qcow2.txt ("the manual" here).
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/image_file.h"

namespace doppel::qcow2 {

inline constexpr std::uint32_t magic = 0x514649fb;  // "QFI" 0xfb
inline constexpr unsigned min_cluster_bits = 9, max_cluster_bits = 21;
inline constexpr std::size_t v2_header_length = 72, v3_header_length = 104;
/// The longest L1 table that QEMU accepts.
inline constexpr std::uint64_t max_l1_bytes = 32 << 20;

// Fields of the header, by offset (manual, "Header").
inline constexpr std::size_t version_at = 4, backing_offset_at = 8, backing_length_at = 16, cluster_bits_at = 20,
                             size_at = 24, encryption_at = 32, l1_entries_at = 36, l1_offset_at = 40,
                             refcount_table_at = 48, refcount_clusters_at = 56, incompatible_at = 72,
                             refcount_order_at = 96, header_length_at = 100, compression_at = 104;

// Incompatible feature bits.
inline constexpr std::uint64_t dirty = 1 << 0, corrupt = 1 << 1, external_data = 1 << 2, compression_type = 1 << 3,
                               extended_l2 = 1 << 4;

// L1 and L2 entries (manual, "Cluster mapping").
inline constexpr std::uint64_t offset_mask = 0x00ff'ffff'ffff'fe00, copied = 1ULL << 63, compressed = 1ULL << 62,
                               reads_zero = 1;

inline constexpr std::uint32_t extension_end = 0, extension_backing_format = 0xe2792aca,
                               extension_external_data = 0x44415441;

/// What reading needs to know of a header, checked: the L1 table is inside the file and covers the disk.
struct Header {
  unsigned version = 0, cluster_bits = 0;
  std::uint64_t size = 0;  // of the disk, in bytes
  std::uint64_t l1_offset = 0, l1_entries = 0;
  bool zstd = false;
  std::string backing_name, backing_format;  // empty where there is none
  std::uint64_t cluster_size() const { return 1ULL << cluster_bits; }
  /// One L2 table fills one cluster with 8-byte entries.
  unsigned l2_bits() const { return cluster_bits - 3; }
};

/// Reads and checks the header of an image; every failure is one sentence with the file's name.
Result<Header> read_header(const ImageFile& file);

/// Reads and checks the L1 table: every L2 table that it names is inside the file.
Result<std::vector<std::uint64_t>> read_l1(const ImageFile& file, const Header& header);

/// Unpacks one compressed cluster of exactly out.size() bytes; false where the data is damaged.
bool decompress(std::span<const std::byte> in, std::span<std::byte> out, bool zstd);

}  // namespace doppel::qcow2
