#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "storage/image_file.h"

namespace doppel {

/// Writes a new qcow2 image, version 3, with clusters of 64 KiB and nothing compressed, from the first byte of the disk
/// to the last. Clusters that were not written read as zeros.
class Qcow2Writer {
 public:
  static constexpr unsigned cluster_bits = 16;
  static constexpr std::uint64_t cluster_size = 1 << cluster_bits;

  /// `size`: of the disk, in bytes, a multiple of 512, at most 2^61.
  Qcow2Writer(const ImageFile& file, std::uint64_t size);
  /// Writes one cluster, or the shorter last one. `offset` is a multiple of cluster_size and rises from call to call.
  Result<void> write_cluster(std::uint64_t offset, std::span<const std::byte> data);
  /// Writes the tables and, last, the header.
  Result<void> finish();

 private:
  static constexpr unsigned l2_bits = cluster_bits - 3;
  std::uint64_t allocate(std::uint64_t clusters);
  Result<void> end_l2_table();
  Result<void> write_table(std::uint64_t at, const std::vector<std::uint64_t>& table);
  Result<void> write_refcounts(std::uint64_t& table_at, std::uint64_t& table_clusters);
  Result<void> write_header(std::uint64_t refcount_table, std::uint64_t refcount_clusters);

  const ImageFile& file_;
  std::uint64_t size_;
  std::uint64_t clusters_ = 1;  // in use; the first is the header
  std::vector<std::uint64_t> l1_;
  std::uint64_t l1_at_;
  std::vector<std::uint64_t> l2_;  // the table being filled, l2_index_ its place in l1_
  std::uint64_t l2_index_ = 0;
  bool l2_used_ = false;
};

}  // namespace doppel
