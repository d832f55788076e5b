#include <algorithm>
#include <array>
#include <bit>

#include "storage/big_endian.h"
#include "storage/qcow2_format.h"

namespace doppel::qcow2 {
namespace {

// The manual allows names of 1023 bytes.
constexpr std::uint32_t max_backing_name = 1023;

class HeaderReader {
 public:
  explicit HeaderReader(const ImageFile& file) : file_(file) {}
  Result<Header> read();

 private:
  std::uint32_t be32(std::size_t at) const { return load_be32(start_.data() + at); }
  std::uint64_t be64(std::size_t at) const { return load_be64(start_.data() + at); }
  Result<void> load_first_cluster();
  Result<void> read_version();
  Result<void> check_features() const;
  Result<void> read_compression();
  Result<void> read_geometry();
  Result<void> check_table(const char* name, std::uint64_t offset, std::uint64_t bytes) const;
  Result<void> read_extensions();
  Result<void> read_backing_name();

  const ImageFile& file_;
  std::vector<std::byte> start_;  // the first cluster, or as much of it as the file has
  std::size_t header_length_ = v2_header_length;
  Header header_;
};

Result<void> HeaderReader::load_first_cluster() {
  start_.resize(v2_header_length);
  const auto got = file_.read_some(0, start_);
  if (!got) return got.failure();
  if (*got < 4 || be32(0) != magic) return error("{} is not a qcow2 image", file_.path());
  if (*got < v2_header_length) return error("{} is a qcow2 image cut off within its header", file_.path());
  header_.cluster_bits = be32(cluster_bits_at);
  if (header_.cluster_bits < min_cluster_bits || header_.cluster_bits > max_cluster_bits) {
    return error("{} is a damaged qcow2 image: its cluster size of 2^{} bytes is not between 2^{} and 2^{}",
                 file_.path(), header_.cluster_bits, min_cluster_bits, max_cluster_bits);
  }
  start_.resize(std::min(file_.size(), header_.cluster_size()));
  return file_.read(0, start_);
}

Result<void> HeaderReader::read_version() {
  header_.version = be32(version_at);
  if (header_.version != 2 && header_.version != 3) {
    return error("{} is a qcow2 image of version {}; versions 2 and 3 can be read", file_.path(), header_.version);
  }
  if (header_.version == 2) return {};
  if (start_.size() < v3_header_length) return error("{} is a qcow2 image cut off within its header", file_.path());
  header_length_ = be32(header_length_at);
  if (header_length_ < v3_header_length || header_length_ > start_.size()) {
    return error("{} is a damaged qcow2 image: its header length {} is wrong", file_.path(), header_length_);
  }
  return {};
}

// A dirty image is fine: the bit says that reference counts may be stale, and reading does not look at them.
Result<void> HeaderReader::check_features() const {
  const auto& path = file_.path();
  if (be32(encryption_at) != 0) {
    return error("{} is encrypted, which Doppel cannot read; decrypt it with qemu-img convert", path);
  }
  const std::uint64_t features = header_.version == 2 ? 0 : be64(incompatible_at);
  if (features & corrupt) return error("{} is marked as corrupt; repair it with qemu-img check -r all", path);
  if (features & external_data) {
    return error("{} keeps its data in an external file, which Doppel cannot read; convert it with qemu-img convert",
                 path);
  }
  if (features & extended_l2) {
    return error("{} uses extended L2 entries, which Doppel cannot read; convert it with qemu-img convert", path);
  }
  const std::uint64_t unknown = features & ~(dirty | compression_type);
  if (unknown == 0) return {};
  return error(
      "{} uses a qcow2 feature that Doppel does not know (incompatible bit {}); convert it with qemu-img convert", path,
      std::countr_zero(unknown));
}

Result<void> HeaderReader::read_compression() {
  if (header_.version == 2) return {};
  const unsigned type = header_length_ > compression_at ? static_cast<unsigned>(start_[compression_at]) : 0;
  const bool announced = be64(incompatible_at) & compression_type;
  if (type > 1 || announced != (type != 0)) {
    return error("{} uses compression type {}, which Doppel does not know; convert it with qemu-img convert",
                 file_.path(), type);
  }
  header_.zstd = type == 1;
  return {};
}

Result<void> HeaderReader::check_table(const char* name, std::uint64_t offset, std::uint64_t bytes) const {
  const std::uint64_t size = file_.size();
  if (offset % header_.cluster_size() != 0 || offset > size || bytes > size - offset) {
    return error("{} is a damaged qcow2 image: its {} table ({} bytes at {}) is outside the file or misplaced",
                 file_.path(), name, bytes, offset);
  }
  return {};
}

Result<void> HeaderReader::read_geometry() {
  const auto& path = file_.path();
  const std::uint64_t size = be64(size_at);
  if (size == 0) return error("{} holds a disk of zero bytes", path);
  if (size > (1ULL << 62)) return error("{} is a damaged qcow2 image: its disk of {} bytes is too large", path, size);
  header_.size = (size + 511) & ~511ULL;
  const unsigned shift = header_.cluster_bits + header_.l2_bits();
  header_.l1_entries = ((header_.size - 1) >> shift) + 1;
  header_.l1_offset = be64(l1_offset_at);
  const std::uint64_t present = be32(l1_entries_at);
  if (present < header_.l1_entries) {
    return error("{} is a damaged qcow2 image: its L1 table of {} entries is too short for {} bytes", path, present,
                 size);
  }
  if (present * 8 > max_l1_bytes) return error("{} is a damaged qcow2 image: its L1 table is too long", path);
  if (auto inside = check_table("L1", header_.l1_offset, present * 8); !inside) return inside;
  // Nothing is read from the reference counts, but an image that has lost them is damaged in other places too.
  const std::uint64_t clusters = be32(refcount_clusters_at);
  return check_table("reference count", be64(refcount_table_at), clusters << header_.cluster_bits);
}

Result<void> HeaderReader::read_extensions() {
  const std::uint64_t name_at = be64(backing_offset_at);
  const std::size_t end = name_at ? std::min<std::uint64_t>(name_at, start_.size()) : start_.size();
  for (std::size_t at = header_length_; at + 8 <= end;) {
    const std::uint32_t type = be32(at), length = be32(at + 4);
    at += 8;
    if (type == extension_end) return {};
    if (length > end - at) {
      return error("{} is a damaged qcow2 image: header extension {:#x} is too long", file_.path(), type);
    }
    if (type == extension_backing_format) {
      header_.backing_format.assign(reinterpret_cast<const char*>(start_.data() + at), length);
    }
    at += (std::size_t{length} + 7) & ~std::size_t{7};
  }
  return {};
}

Result<void> HeaderReader::read_backing_name() {
  const std::uint64_t at = be64(backing_offset_at);
  const std::uint32_t length = be32(backing_length_at);
  if (at == 0) return {};
  if (length == 0 || length > max_backing_name || at > start_.size() || length > start_.size() - at) {
    return error("{} is a damaged qcow2 image: the name of its backing file ({} bytes at {}) is misplaced",
                 file_.path(), length, at);
  }
  header_.backing_name.assign(reinterpret_cast<const char*>(start_.data() + at), length);
  if (header_.backing_name.find('\0') != std::string::npos) {
    return error("{} is a damaged qcow2 image: the name of its backing file has a zero byte", file_.path());
  }
  return {};
}

Result<Header> HeaderReader::read() {
  if (auto step = load_first_cluster(); !step) return step.failure();
  if (auto step = read_version(); !step) return step.failure();
  if (auto step = check_features(); !step) return step.failure();
  if (auto step = read_compression(); !step) return step.failure();
  if (auto step = read_geometry(); !step) return step.failure();
  if (auto step = read_extensions(); !step) return step.failure();
  if (auto step = read_backing_name(); !step) return step.failure();
  return header_;
}

}  // namespace

Result<Header> read_header(const ImageFile& file) { return HeaderReader(file).read(); }

Result<std::vector<std::uint64_t>> read_l1(const ImageFile& file, const Header& header) {
  std::vector<std::uint64_t> table(header.l1_entries);
  if (auto got = file.read(header.l1_offset, std::as_writable_bytes(std::span(table))); !got) return got.failure();
  for (std::size_t i = 0; i < table.size(); i++) {
    table[i] = __builtin_bswap64(table[i]) & offset_mask;
    if (table[i] == 0) continue;
    if (table[i] % header.cluster_size() != 0 || table[i] > file.size() ||
        header.cluster_size() > file.size() - table[i]) {
      return error("{} is a damaged qcow2 image: L1 entry {} points to {}, outside the file or into a cluster",
                   file.path(), i, table[i]);
    }
  }
  return table;
}

}  // namespace doppel::qcow2
