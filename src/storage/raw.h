#pragma once
#include <memory>
#include <mutex>

#include "storage/disk.h"
#include "storage/image_file.h"
#include "storage/sparse.h"

namespace doppel {

/// A file or block device whose bytes are the disk's. A size that is no multiple of 512 is rounded up: the rest of the
/// last sector reads as zeros, and a write to it lengthens the file, so that no byte of the user's is hidden or lost.
class RawDisk final : public Disk, public Sparse {
 public:
  /// `guessed`: the user did not name the format. Then a write that would make the file look like a format with a
  /// header fails, because next time that header would be believed, and it can name any file of the host as its backing
  /// file.
  static Result<std::unique_ptr<RawDisk>> open(std::unique_ptr<ImageFile> file, bool guessed);

  std::uint64_t size() const override { return size_; }
  bool read_only() const override { return !file_->writable(); }
  std::string_view format() const override { return "raw"; }
  std::string path() const override { return file_->path(); }
  std::vector<FileStamp> stamps() const override { return {file_->stamp()}; }
  Result<void> seal() override { return file_->become_reader(); }
  void unseal() override { file_->become_writer(); }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Result<void> readv(std::uint64_t offset, std::span<const iovec> pieces) override;
  Result<void> writev(std::uint64_t offset, std::span<const iovec> pieces) override;
  Result<void> flush() override;
  Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;
  /// Only where whole sectors are in the file. Whoever writes through it leaves the first sector to write(), which
  /// checks.
  int direct_descriptor() const override { return file_->size() == size_ ? file_->fd() : -1; }
  std::uint64_t zeros_at(std::uint64_t offset, std::uint64_t limit) override { return file_->hole_at(offset, limit); }

 private:
  RawDisk(std::unique_ptr<ImageFile> file, std::uint64_t size, bool guessed)
      : file_(std::move(file)), size_(size), guessed_(guessed) {}
  Result<void> check_change(std::uint64_t offset, std::uint64_t length) const;
  Result<void> write_first_sector(std::uint64_t offset, std::span<const std::byte> data);

  std::unique_ptr<ImageFile> file_;
  std::uint64_t size_;
  bool guessed_;
  std::mutex first_sector_;  // two halves of a magic number, written at once, are checked one after the other
};

}  // namespace doppel
