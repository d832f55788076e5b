#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/lru_cache.h"
#include "storage/qcow2_format.h"
#include "storage/sparse.h"

namespace doppel {

/// Opens the backing file that an image names, `name` as it stands in the image; `format` is empty where the image
/// names none.
using BackingOpener = std::function<Result<std::unique_ptr<Disk>>(const std::string& name, const std::string& format)>;

/// A qcow2 image, version 2 or 3, for reading. Memory is bounded: the L1 table, 4 MiB of L2 tables, 4 MiB of unpacked
/// clusters.
class Qcow2Disk final : public Disk, public Sparse {
 public:
  static Result<std::unique_ptr<Qcow2Disk>> open(std::unique_ptr<ImageFile> file, const BackingOpener& open_backing);

  std::uint64_t size() const override { return header_.size; }
  bool read_only() const override { return true; }
  std::string_view format() const override { return "qcow2"; }
  std::string path() const override { return file_->path(); }
  std::vector<FileStamp> stamps() const override { return stamps_above(file_->stamp(), backing_.get()); }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Result<void> flush() override { return {}; }
  Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;
  std::uint64_t zeros_at(std::uint64_t offset, std::uint64_t limit) override;

 private:
  enum class Kind { unallocated, zero, data, compressed };
  /// Bytes of the disk that are in one piece in one place.
  struct Extent {
    Kind kind = Kind::unallocated;
    std::uint64_t length = 0;
    std::uint64_t host = 0;  // data: offset in the file; compressed: the L2 entry
  };
  using Table = std::vector<std::uint64_t>;
  using Cluster = std::vector<std::byte>;

  Qcow2Disk(std::unique_ptr<ImageFile> file, qcow2::Header header, Table l1, std::unique_ptr<Disk> backing);
  Result<std::shared_ptr<const Table>> l2_slice(std::uint64_t table, std::uint64_t entry);
  Result<Extent> cluster_at(std::uint64_t l2_entry) const;
  Result<Extent> extent_at(std::uint64_t offset, std::uint64_t limit);
  Result<std::shared_ptr<const Cluster>> unpacked(std::uint64_t l2_entry);
  Result<void> read_extent(const Extent& extent, std::uint64_t offset, std::span<std::byte> out);
  Result<void> read_backing(std::uint64_t offset, std::span<std::byte> out);
  Result<void> read_data(std::uint64_t host, std::span<std::byte> out);
  Error read_only_error() const;

  std::unique_ptr<ImageFile> file_;
  qcow2::Header header_;
  Table l1_;  // offsets of L2 tables, 0 for none
  std::unique_ptr<Disk> backing_;
  std::uint64_t slice_entries_;  // L2 tables are cached in pieces of this many entries
  LruCache<std::uint64_t, Table> l2_cache_;
  LruCache<std::uint64_t, Cluster> unpacked_cache_;
};

}  // namespace doppel
