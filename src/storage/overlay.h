#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/overlay_format.h"
#include "storage/overlay_map.h"
#include "storage/sparse.h"

namespace doppel {

/// Which image an overlay lies over.
struct OverlayBacking {
  std::string name;              // as the overlay says it: relative to the overlay's folder
  std::string format;            // "raw", "qcow2" or "overlay"
  std::vector<FileStamp> chain;  // of the image and of its backing images
};

/// What was written over a backing image, in a file of Doppel's own (overlay_format.h). After kill -9 or a power cut at
/// any instant it opens with everything that was flushed.
class OverlayDisk final : public Disk, public Sparse {
 public:
  /// Makes an empty overlay of `size` bytes; fails where `path` exists. `mode`: permission bits.
  static Result<void> create(const std::string& path, const OverlayBacking& backing, std::uint64_t size, unsigned mode);
  /// The same in an empty file that is open already and has its name. It is durable with the first flush.
  static Result<void> create_in(ImageFile& file, const OverlayBacking& backing, std::uint64_t size);
  /// What the header of an overlay says.
  static Result<OverlayBacking> read_backing(const ImageFile& file);
  /// Opens an overlay over `backing`, whose files are `chain`: an image that has changed since is an error.
  static Result<std::unique_ptr<OverlayDisk>> open(std::unique_ptr<ImageFile> file, std::shared_ptr<Disk> backing,
                                                   const std::vector<FileStamp>& chain);
  ~OverlayDisk() override;
  /// Writes all that is in the overlay into the backing image, which must be open for writing, and makes it durable.
  /// `progress` gets the bytes of the disk that are behind it.
  Result<void> merge_into_backing(const std::function<void(std::uint64_t done)>& progress);
  /// Bytes of the disk that are in the overlay.
  std::uint64_t bytes_present() const;

  std::uint64_t size() const override { return size_; }
  bool read_only() const override { return !file_->writable(); }
  std::string_view format() const override { return "overlay"; }
  std::string path() const override { return file_->path(); }
  std::vector<FileStamp> stamps() const override { return stamps_above(file_->stamp(), backing_.get()); }
  Result<void> seal() override;
  void unseal() override { file_->become_writer(); }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Result<void> readv(std::uint64_t offset, std::span<const iovec> pieces) override;
  Result<void> writev(std::uint64_t offset, std::span<const iovec> pieces) override;
  Result<void> flush() override;
  Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;
  std::uint64_t zeros_at(std::uint64_t offset, std::uint64_t limit) override;

 private:
  struct Layout {
    std::uint64_t map_offset = 0, data_offset = 0;
  };
  OverlayDisk(std::unique_ptr<ImageFile> file, std::shared_ptr<Disk> backing, Layout layout);
  static Layout layout_for(std::uint64_t size);
  static Result<overlay::Header> make_header(const OverlayBacking& backing, std::uint64_t size);
  static Result<overlay::Header> read_header(const ImageFile& file);
  Result<void> check_change(std::uint64_t offset, std::uint64_t length) const;
  bool present(std::uint64_t offset, std::uint64_t length) const;
  Result<void> write_first(std::uint64_t offset, std::span<const std::byte> data);
  Result<std::vector<std::byte>> old_bytes(std::uint64_t from, std::uint64_t to);
  Result<bool> punch(std::uint64_t first_block, std::uint64_t blocks);
  Result<void> write_zeros(std::uint64_t offset, std::uint64_t length);
  Result<std::uint64_t> merge_part(std::uint64_t offset, std::uint64_t length, std::span<std::byte> buffer);

  std::unique_ptr<ImageFile> file_;
  std::shared_ptr<Disk> backing_;
  std::uint64_t size_;
  Layout layout_;
  OverlayMap map_;
  std::mutex first_writes_;  // whoever brings a block into the overlay, or copies the map, holds it
  std::mutex flushing_;      // taken before first_writes_
};

/// Where what a machine of this name writes to a disk is kept once it was copied, or is a copy: PATH.MACHINE.overlay.
std::string overlay_path(const std::string& disk, const std::string& machine);
/// An empty file for OverlayDisk::create_in(), locked as one that is written to. Something in it that is there already
/// is an error. Who may read and write it is as with the file `base`.
Result<FileDescriptor> make_overlay_file(const std::string& path, const std::string& base);
/// Removes the file if nothing came to be in it.
void drop_overlay_file(const std::string& path);

}  // namespace doppel
