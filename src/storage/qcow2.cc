#include "storage/qcow2.h"

#include <algorithm>
#include <cstring>

namespace doppel {
namespace {

constexpr std::uint64_t max_slice_entries = 512;  // 4 KiB
constexpr std::uint64_t l2_cache_bytes = 4 << 20;
constexpr std::uint64_t unpacked_cache_bytes = 4 << 20;

std::uint64_t slice_entries(const qcow2::Header& header) {
  return std::min<std::uint64_t>(max_slice_entries, 1ULL << header.l2_bits());
}

}  // namespace

Result<std::unique_ptr<Qcow2Disk>> Qcow2Disk::open(std::unique_ptr<ImageFile> file, const BackingOpener& open_backing) {
  auto header = qcow2::read_header(*file);
  if (!header) return header.failure();
  auto l1 = qcow2::read_l1(*file, *header);
  if (!l1) return l1.failure();
  std::unique_ptr<Disk> backing;
  if (!header->backing_name.empty()) {
    auto opened = open_backing(header->backing_name, header->backing_format);
    if (!opened) return opened.failure();
    backing = std::move(*opened);
  }
  return std::unique_ptr<Qcow2Disk>(
      new Qcow2Disk(std::move(file), std::move(*header), std::move(*l1), std::move(backing)));
}

Qcow2Disk::Qcow2Disk(std::unique_ptr<ImageFile> file, qcow2::Header header, Table l1, std::unique_ptr<Disk> backing)
    : file_(std::move(file)),
      header_(std::move(header)),
      l1_(std::move(l1)),
      backing_(std::move(backing)),
      slice_entries_(slice_entries(header_)),
      l2_cache_(l2_cache_bytes / (slice_entries_ * 8)),
      unpacked_cache_(std::clamp<std::uint64_t>(unpacked_cache_bytes / header_.cluster_size(), 2, 64)) {}

Result<std::shared_ptr<const Qcow2Disk::Table>> Qcow2Disk::l2_slice(std::uint64_t table, std::uint64_t entry) {
  const std::uint64_t at = table + entry / slice_entries_ * slice_entries_ * 8;
  if (auto cached = l2_cache_.find(at)) return cached;
  auto slice = std::make_shared<Table>(slice_entries_);
  if (auto got = file_->read(at, std::as_writable_bytes(std::span(*slice))); !got) return got.failure();
  for (auto& value : *slice) value = __builtin_bswap64(value);
  l2_cache_.insert(at, slice);
  return std::shared_ptr<const Table>(std::move(slice));
}

// Manual, "Cluster mapping": what one L2 entry says.
Result<Qcow2Disk::Extent> Qcow2Disk::cluster_at(std::uint64_t l2_entry) const {
  const std::uint64_t bytes = header_.cluster_size();
  if (l2_entry & qcow2::compressed) return Extent{Kind::compressed, bytes, l2_entry};
  const std::uint64_t host = l2_entry & qcow2::offset_mask;
  if (l2_entry & qcow2::reads_zero) {
    if (header_.version == 2) {
      return error("{} is a damaged qcow2 image: an L2 entry has a bit of version 3", file_->path());
    }
    return Extent{Kind::zero, bytes, 0};
  }
  if (host == 0) return Extent{Kind::unallocated, bytes, 0};
  if (host % bytes != 0 || host >= file_->size()) {
    return error("{} is a damaged qcow2 image: an L2 entry points to {}, outside the file or into a cluster",
                 file_->path(), host);
  }
  return Extent{Kind::data, bytes, host};
}

Result<Qcow2Disk::Extent> Qcow2Disk::extent_at(std::uint64_t offset, std::uint64_t limit) {
  const unsigned l1_shift = header_.cluster_bits + header_.l2_bits();
  const std::uint64_t in_cluster = offset & (header_.cluster_size() - 1);
  const std::uint64_t table = l1_[offset >> l1_shift];
  if (table == 0) {
    const std::uint64_t rest = (1ULL << l1_shift) - (offset & ((1ULL << l1_shift) - 1));
    return Extent{Kind::unallocated, std::min(limit, rest), 0};
  }
  const std::uint64_t entry = (offset >> header_.cluster_bits) & ((1ULL << header_.l2_bits()) - 1);
  const auto slice = l2_slice(table, entry);
  if (!slice) return slice.failure();
  const Table& entries = **slice;
  std::size_t i = entry % slice_entries_;
  auto first = cluster_at(entries[i]);
  if (!first) return first.failure();
  Extent extent = *first;
  // Clusters that follow in the file too are one extent, so that they are one read.
  while (extent.kind != Kind::compressed && extent.length - in_cluster < limit && ++i < entries.size()) {
    const auto next = cluster_at(entries[i]);
    if (!next || next->kind != extent.kind) break;
    if (extent.kind == Kind::data && next->host != extent.host + extent.length) break;
    extent.length += next->length;
  }
  if (extent.kind == Kind::data) extent.host += in_cluster;
  extent.length = std::min(limit, extent.length - in_cluster);
  return extent;
}

// Manual, "Compressed Clusters Descriptor": the low x bits are a byte offset, the others count further 512-byte
// sectors.
Result<std::shared_ptr<const Qcow2Disk::Cluster>> Qcow2Disk::unpacked(std::uint64_t l2_entry) {
  if (auto cached = unpacked_cache_.find(l2_entry)) return cached;
  const unsigned x = 62 - (header_.cluster_bits - 8);
  const std::uint64_t at = l2_entry & ((1ULL << x) - 1);
  const std::uint64_t sectors = ((l2_entry & (qcow2::compressed - 1)) >> x) + 1;
  if (at >= file_->size()) {
    return error("{} is a damaged qcow2 image: a compressed cluster at {} is outside the file", file_->path(), at);
  }
  Cluster packed(std::min(sectors * 512 - at % 512, file_->size() - at));  // the file may end within the last sector
  if (auto got = file_->read(at, packed); !got) return got.failure();
  auto cluster = std::make_shared<Cluster>(header_.cluster_size());
  if (!qcow2::decompress(packed, *cluster, header_.zstd)) {
    return error("{} is a damaged qcow2 image: the compressed cluster at {} cannot be unpacked", file_->path(), at);
  }
  unpacked_cache_.insert(l2_entry, cluster);
  return std::shared_ptr<const Cluster>(std::move(cluster));
}

Result<void> Qcow2Disk::read_backing(std::uint64_t offset, std::span<std::byte> out) {
  const std::uint64_t size = backing_ ? backing_->size() : 0;  // it may be shorter than this disk
  const auto there = out.first(offset < size ? std::min<std::uint64_t>(out.size(), size - offset) : 0);
  std::memset(out.data() + there.size(), 0, out.size() - there.size());
  return there.empty() ? Result<void>{} : backing_->read(offset, there);
}

// The last cluster of a file need not be complete; what is missing is zero.
Result<void> Qcow2Disk::read_data(std::uint64_t host, std::span<std::byte> out) {
  const auto got = file_->read_some(host, out);
  if (!got) return got.failure();
  if (host + out.size() > ((file_->size() + header_.cluster_size() - 1) & ~(header_.cluster_size() - 1))) {
    return error("{} is a damaged qcow2 image: a data cluster is outside the file", file_->path());
  }
  std::memset(out.data() + *got, 0, out.size() - *got);
  return {};
}

Result<void> Qcow2Disk::read_extent(const Extent& extent, std::uint64_t offset, std::span<std::byte> out) {
  switch (extent.kind) {
    case Kind::unallocated:
      return read_backing(offset, out);
    case Kind::zero:
      std::memset(out.data(), 0, out.size());
      return {};
    case Kind::data:
      return read_data(extent.host, out);
    case Kind::compressed: {
      const auto cluster = unpacked(extent.host);
      if (!cluster) return cluster.failure();
      std::memcpy(out.data(), (*cluster)->data() + (offset & (header_.cluster_size() - 1)), out.size());
      return {};
    }
  }
  return {};
}

Result<void> Qcow2Disk::read(std::uint64_t offset, std::span<std::byte> out) {
  if (auto inside = check_range(*this, offset, out.size()); !inside) return inside;
  while (!out.empty()) {
    const auto extent = extent_at(offset, out.size());
    if (!extent) return extent.failure();
    if (auto got = read_extent(*extent, offset, out.first(extent->length)); !got) return got;
    offset += extent->length;
    out = out.subspan(extent->length);
  }
  return {};
}

std::uint64_t Qcow2Disk::zeros_at(std::uint64_t offset, std::uint64_t limit) {
  const auto extent = extent_at(offset, limit);
  if (!extent || extent->kind == Kind::data || extent->kind == Kind::compressed) return 0;
  if (extent->kind == Kind::zero || !backing_ || offset >= backing_->size()) return extent->length;
  return doppel::zeros_at(*backing_, offset, std::min(extent->length, backing_->size() - offset));
}

Error Qcow2Disk::read_only_error() const {
  return error("{} is open for reading only: writes go to an overlay", file_->path());
}
Result<void> Qcow2Disk::write(std::uint64_t, std::span<const std::byte>) { return read_only_error(); }
Result<void> Qcow2Disk::discard(std::uint64_t, std::uint64_t) { return read_only_error(); }
Result<void> Qcow2Disk::write_zeroes(std::uint64_t, std::uint64_t, bool) { return read_only_error(); }

}  // namespace doppel
