#pragma once
// Disk images as byte arrays, whatever format is behind.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/file_stamp.h"

namespace doppel {

/// One open disk image. Functions may be called from several threads at once, for disjoint or overlapping ranges;
/// overlapping concurrent writes land in some order, sector by sector. Offsets and lengths are bytes; the caller keeps
/// them inside size().
class Disk {
 public:
  virtual ~Disk() = default;
  virtual std::uint64_t size() const = 0;
  virtual bool read_only() const = 0;
  virtual std::string_view format() const = 0;  // "raw", "qcow2", "overlay"
  virtual Result<void> read(std::uint64_t offset, std::span<std::byte> out) = 0;
  virtual Result<void> write(std::uint64_t offset, std::span<const std::byte> data) = 0;
  /// The same for memory in several pieces (scatter/gather), which a running guest may be changing meanwhile. The base
  /// goes through a buffer.
  virtual Result<void> readv(std::uint64_t offset, std::span<const iovec> pieces);
  virtual Result<void> writev(std::uint64_t offset, std::span<const iovec> pieces);
  /// Everything written before is durable when it returns (fdatasync).
  virtual Result<void> flush() = 0;
  /// The range may read as zeros afterwards and its space is given back where the format can (punching holes).
  virtual Result<void> discard(std::uint64_t offset, std::uint64_t length) = 0;
  /// The range reads as zeros afterwards.
  virtual Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) = 0;
  /// The descriptor behind, where byte N of the disk is byte N of the file (raw), so that io_uring can go straight to
  /// it; else -1.
  virtual int direct_descriptor() const { return -1; }
  /// Its file, as it was opened, and what tells that file and those behind it from their later states. Empty for what
  /// has none.
  virtual std::string path() const { return {}; }
  virtual std::vector<FileStamp> stamps() const { return {}; }
  /// From now on it is only read, by any number of programs. No request is under way.
  virtual Result<void> seal() { return {}; }
  /// As it was before seal(), which nobody has made use of.
  virtual void unseal() {}
};

/// The bytes of all pieces together.
std::uint64_t size_of(std::span<const iovec> pieces);

/// Of a file and of what the disk lies on; null: nothing.
std::vector<FileStamp> stamps_above(const FileStamp& file, const Disk* below);

/// What a user wrote after --disk.
struct DiskSpec {
  std::string path;
  bool read_only = false;
  bool snapshot = false;  // writes go to a private overlay that is thrown away
  std::string format;     // "raw", "qcow2", or empty: look at the file's first bytes
  /// Of a machine that goes on from an image: the file, which is made, that what is flushed is kept in. Empty: it keeps
  /// nothing.
  std::string overlay = {};
  /// Whether what the guest writes is there afterwards.
  bool keeps() const { return !read_only && !snapshot; }
};

/// Parses FILE[,ro][,snapshot][,format=raw|qcow2]; a comma in FILE is written twice.
Result<DiskSpec> parse_disk_spec(const std::string& text);

/// Opens a disk; with `snapshot` what is written goes to a scratch file that is thrown away. A qcow2 that is to be
/// written gets an overlay of Doppel's own beside it (PATH.overlay), reused when it is there already. A file that is
/// written is locked against a second writer, and refused where an overlay lies over it.
Result<std::unique_ptr<Disk>> open_disk(const DiskSpec& spec);
/// The image that a frozen disk was (Disk::path(), Disk::format()), for reading: without the overlay beside a qcow2.
Result<std::unique_ptr<Disk>> open_frozen_disk(const std::string& path, const std::string& format);

/// Copies the image `from` into a new file `to` in `format` ("raw" or "qcow2"), sparse, through a temporary file that
/// is renamed when complete. `progress` gets bytes done and all bytes.
Result<void> convert_disk(const DiskSpec& from, const std::string& to, const std::string& format,
                          const std::function<void(std::uint64_t, std::uint64_t)>& progress);

}  // namespace doppel
