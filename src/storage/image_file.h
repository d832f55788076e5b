#pragma once
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "storage/file_stamp.h"

namespace doppel {

/// An open image file or block device, locked: any number of readers or one writer at a time (open file description
/// locks over the whole file, which QEMU's own locks conflict with too). All functions may be called from several
/// threads.
class ImageFile {
 public:
  /// Opens a regular file or a block device and takes the lock. Never creates. Errors name the path.
  static Result<std::unique_ptr<ImageFile>> open(const std::string& path, bool writable);
  /// Wraps a descriptor that is open already, without a lock.
  static Result<std::unique_ptr<ImageFile>> adopt(FileDescriptor fd, std::string path, bool writable);
  ImageFile(const ImageFile&) = delete;

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  bool writable() const { return writable_; }
  bool block_device() const { return block_device_; }
  /// Bytes, when it was opened or last looked at again.
  std::uint64_t size() const { return stamp_.size; }
  const FileStamp& stamp() const { return stamp_; }
  /// Size and stamp as they are now.
  Result<void> look_again() { return inspect(); }
  /// Makes what was written durable and becomes one of any number of readers. Nobody else may be using it.
  Result<void> become_reader();
  /// Again, of what was one before.
  void become_writer();
  /// The permission bits of the file.
  unsigned mode() const { return mode_; }

  /// Reads all of `out`; the end of the file in it is an error.
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Reads to the end of `out` or of the file; returns the number of bytes.
  Result<std::size_t> read_some(std::uint64_t offset, std::span<std::byte> out) const;
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) const;
  /// The same for memory in several pieces.
  Result<void> readv(std::uint64_t offset, std::span<const iovec> pieces) const;
  Result<void> writev(std::uint64_t offset, std::span<const iovec> pieces) const;
  /// fdatasync. Once it has failed it fails for ever: the kernel drops what it could not write and reports that once
  /// only.
  Result<void> sync();
  /// Makes the range a hole that reads as zeros; false where the file system cannot.
  Result<bool> punch_hole(std::uint64_t offset, std::uint64_t length) const;
  /// The range reads as zeros and keeps its space; false where the file system cannot.
  Result<bool> zero_range(std::uint64_t offset, std::uint64_t length) const;
  /// Writes zeros, the slow way that always works.
  Result<void> write_zeros(std::uint64_t offset, std::uint64_t length) const;
  /// How many of the `limit` bytes from `offset` are in a hole of the file.
  std::uint64_t hole_at(std::uint64_t offset, std::uint64_t limit) const;

 private:
  ImageFile(FileDescriptor fd, std::string path, bool writable)
      : fd_(std::move(fd)), path_(std::move(path)), writable_(writable) {}
  Result<void> inspect();
  Result<void> take_lock() const;
  Result<bool> allocate(int mode, std::uint64_t offset, std::uint64_t length) const;

  FileDescriptor fd_;
  std::string path_;
  bool writable_ = false, block_device_ = false;
  unsigned mode_ = 0;
  FileStamp stamp_;
  std::atomic<bool> sync_failed_ = false;
};

/// Creates PATH.new-PID with permission `mode`, for a file that gets its name when it is complete.
Result<std::unique_ptr<ImageFile>> create_unfinished(const std::string& path, unsigned mode);
/// Syncs an unfinished file, gives it the name `path`, which must be free, and makes the name durable.
Result<void> finish(ImageFile& file, const std::string& path);

/// Makes what was made or removed under the name `path` durable.
Result<void> make_directory_durable(const std::string& path);

/// Text from an image file, fit for a message on a terminal.
std::string printable(std::string_view text);

}  // namespace doppel
