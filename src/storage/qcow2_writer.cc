#include "storage/qcow2_writer.h"

#include "storage/big_endian.h"
#include "storage/qcow2_format.h"

namespace doppel {
namespace {

constexpr std::uint64_t ceil_div(std::uint64_t a, std::uint64_t b) { return (a + b - 1) / b; }

}  // namespace

Qcow2Writer::Qcow2Writer(const ImageFile& file, std::uint64_t size)
    : file_(file), size_(size), l1_(ceil_div(size, cluster_size << l2_bits)), l2_(1 << l2_bits) {
  l1_at_ = allocate(ceil_div(l1_.size() * 8, cluster_size));
}

std::uint64_t Qcow2Writer::allocate(std::uint64_t clusters) {
  const std::uint64_t at = clusters_ << cluster_bits;
  clusters_ += clusters;
  return at;
}

Result<void> Qcow2Writer::write_table(std::uint64_t at, const std::vector<std::uint64_t>& table) {
  std::vector<std::byte> bytes(table.size() * 8);
  for (std::size_t i = 0; i < table.size(); i++) store_be64(bytes.data() + i * 8, table[i]);
  return file_.write(at, bytes);
}

Result<void> Qcow2Writer::end_l2_table() {
  if (!l2_used_) return {};
  const std::uint64_t at = allocate(1);
  if (auto put = write_table(at, l2_); !put) return put;
  l1_[l2_index_] = at | qcow2::copied;
  l2_.assign(l2_.size(), 0);
  l2_used_ = false;
  return {};
}

Result<void> Qcow2Writer::write_cluster(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint64_t cluster = offset >> cluster_bits;
  if (cluster >> l2_bits != l2_index_) {
    if (auto ended = end_l2_table(); !ended) return ended;
    l2_index_ = cluster >> l2_bits;
  }
  const std::uint64_t at = allocate(1);
  l2_[cluster & ((1 << l2_bits) - 1)] = at | qcow2::copied;
  l2_used_ = true;
  return file_.write(at, data);
}

// Every cluster of the file is used once, those of the reference counts themselves included: so their number is found
// by repeating until it no longer grows.
Result<void> Qcow2Writer::write_refcounts(std::uint64_t& table_at, std::uint64_t& table_clusters) {
  constexpr std::uint64_t counts_per_block = cluster_size / 2;  // of 16 bits
  std::uint64_t blocks = 0;
  table_clusters = 0;
  for (;;) {
    const std::uint64_t needed = ceil_div(clusters_ + blocks + table_clusters, counts_per_block);
    const std::uint64_t table_needed = ceil_div(needed * 8, cluster_size);
    if (needed == blocks && table_needed == table_clusters) break;
    blocks = needed;
    table_clusters = table_needed;
  }
  table_at = allocate(table_clusters);
  const std::uint64_t blocks_at = allocate(blocks);
  std::vector<std::uint64_t> table(table_clusters * cluster_size / 8);
  std::vector<std::byte> block(cluster_size);
  for (std::uint64_t i = 0; i < blocks; i++) {
    table[i] = blocks_at + i * cluster_size;
    for (std::uint64_t k = 0; k < counts_per_block; k++) {
      store_be16(block.data() + k * 2, i * counts_per_block + k < clusters_ ? 1 : 0);
    }
    if (auto put = file_.write(table[i], block); !put) return put;
  }
  return write_table(table_at, table);
}

Result<void> Qcow2Writer::write_header(std::uint64_t refcount_table, std::uint64_t refcount_clusters) {
  std::vector<std::byte> header(cluster_size);
  std::byte* at = header.data();
  store_be32(at, qcow2::magic);
  store_be32(at + qcow2::version_at, 3);
  store_be32(at + qcow2::cluster_bits_at, cluster_bits);
  store_be64(at + qcow2::size_at, size_);
  store_be32(at + qcow2::l1_entries_at, static_cast<std::uint32_t>(l1_.size()));
  store_be64(at + qcow2::l1_offset_at, l1_at_);
  store_be64(at + qcow2::refcount_table_at, refcount_table);
  store_be32(at + qcow2::refcount_clusters_at, static_cast<std::uint32_t>(refcount_clusters));
  store_be32(at + qcow2::refcount_order_at, 4);  // 2^4 bits
  store_be32(at + qcow2::header_length_at, qcow2::v3_header_length);
  return file_.write(0, header);
}

Result<void> Qcow2Writer::finish() {
  if (auto ended = end_l2_table(); !ended) return ended;
  std::vector<std::uint64_t> l1 = l1_;
  l1.resize(ceil_div(l1.size() * 8, cluster_size) * cluster_size / 8);
  if (auto put = write_table(l1_at_, l1); !put) return put;
  std::uint64_t table_at = 0, table_clusters = 0;
  if (auto put = write_refcounts(table_at, table_clusters); !put) return put;
  return write_header(table_at, table_clusters);
}

}  // namespace doppel
