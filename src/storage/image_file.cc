#include "storage/image_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "base/file_size_limit.h"

namespace doppel {
namespace {

Error open_error(const std::string& path, bool writable) {
  const int why = errno;
  if (why == EBUSY) return error("{} is in use on this computer (is it mounted?)", path);
  if (writable && (why == EACCES || why == EPERM || why == EROFS)) {
    return error("cannot open {} for writing: {} (add ,ro or ,snapshot to leave the file as it is)", path,
                 std::strerror(why));
  }
  return error("cannot open {}: {}", path, std::strerror(why));
}

int rename_to_free_name(const char* from, const char* to) {
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return -1;
  // A file system without RENAME_NOREPLACE: link() also fails where the name is taken.
  if (link(from, to) != 0) return -1;
  return unlink(from);
}

/// preadv or pwritev, past the C library: the memory may be a running guest's, which stores to it at the same time if
/// it likes, and a sanitizer that looks at what those functions are given would take that for a race of ours.
ssize_t transfer(long call, int fd, const iovec* pieces, int count, std::uint64_t at) {
  return ::syscall(call, fd, pieces, count, at, 0UL);
}

/// Calls `many` for as many pieces as the kernel takes at once. Where it transferred less, by an interruption, the end
/// of the file or an error, `one` does the rest of the piece, and tells what was wrong.
template <typename Many, typename One>
Result<void> for_each_transfer(std::uint64_t offset, std::span<const iovec> pieces, Many&& many, One&& one) {
  while (!pieces.empty()) {
    auto left = std::max<ssize_t>(many(pieces.data(), int(std::min<std::size_t>(pieces.size(), IOV_MAX)), offset), 0);
    offset += std::uint64_t(left);
    const auto before = pieces.size();
    while (!pieces.empty() && std::size_t(left) >= pieces[0].iov_len) {
      left -= ssize_t(pieces[0].iov_len);
      pieces = pieces.subspan(1);
    }
    if (pieces.empty() || (left == 0 && pieces.size() != before)) continue;
    const std::span rest(static_cast<std::byte*>(pieces[0].iov_base) + left, pieces[0].iov_len - std::size_t(left));
    if (auto done = one(offset, rest); !done) return done;
    offset += rest.size();
    pieces = pieces.subspan(1);
  }
  return {};
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(out.begin(), out.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return out;
}

Result<std::unique_ptr<ImageFile>> ImageFile::open(const std::string& path, bool writable) {
  ignore_file_size_signal();
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return open_error(path, false);
  if (S_ISDIR(status.st_mode)) return error("{} is a directory, not a disk image", path);
  // Looked at before opening: to open a FIFO would wait, to open a tape would move it.
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    return error("{} is neither a file nor a block device", path);
  }
  int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
  if (writable && S_ISBLK(status.st_mode)) flags |= O_EXCL;  // not while the host has it mounted
  FileDescriptor fd(::open(path.c_str(), flags));
  if (!fd) return open_error(path, writable);
  auto file = std::unique_ptr<ImageFile>(new ImageFile(std::move(fd), path, writable));
  // The lock first: a writer that ends between the two would leave an old size.
  if (auto locked = file->take_lock(); !locked) return locked.failure();
  if (auto known = file->inspect(); !known) return known.failure();
  return file;
}

Result<std::unique_ptr<ImageFile>> ImageFile::adopt(FileDescriptor fd, std::string path, bool writable) {
  ignore_file_size_signal();
  auto file = std::unique_ptr<ImageFile>(new ImageFile(std::move(fd), std::move(path), writable));
  if (auto known = file->inspect(); !known) return known.failure();
  return file;
}

Result<void> ImageFile::inspect() {
  struct stat status{};
  if (fstat(fd_.get(), &status) != 0) return error("cannot examine {}: {}", path_, std::strerror(errno));
  block_device_ = S_ISBLK(status.st_mode);
  mode_ = status.st_mode & 0777;
  stamp_.size = static_cast<std::uint64_t>(status.st_size);
  stamp_.device = status.st_dev;
  stamp_.inode = status.st_ino;
  if (!block_device_) {
    stamp_.mtime_ns = status.st_mtim.tv_sec * 1'000'000'000LL + status.st_mtim.tv_nsec;
    return {};
  }
  // The time of a device node says nothing about the content.
  if (ioctl(fd_.get(), BLKGETSIZE64, &stamp_.size) != 0) {
    return error("cannot get the size of {}: {}", path_, std::strerror(errno));
  }
  return {};
}

Result<void> ImageFile::become_reader() {
  if (!writable_) return {};
  if (auto synced = sync(); !synced) return synced;
  writable_ = false;
  if (auto locked = take_lock(); !locked) return locked;
  return inspect();
}

void ImageFile::become_writer() {
  writable_ = true;
  if (!take_lock()) writable_ = false;  // somebody reads it already
}

Result<void> ImageFile::take_lock() const {
  struct flock lock{};
  lock.l_type = writable_ ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  if (fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0) return {};
  if (errno != EAGAIN && errno != EACCES) return {};  // a file system without locks
  if (writable_) return error("cannot write to {}: another program has it open (is a machine running from it?)", path_);
  return error("cannot read {}: another program is writing to it (is a machine running from it?)", path_);
}

Result<std::size_t> ImageFile::read_some(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto got = pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error("cannot read {} at byte {}: {}", path_, offset + done, std::strerror(errno));
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<void> ImageFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  const auto got = read_some(offset, out);
  if (!got) return got.failure();
  if (*got < out.size()) return error("{} ends at byte {}, but more is needed", path_, offset + *got);
  return {};
}

Result<void> ImageFile::readv(std::uint64_t offset, std::span<const iovec> pieces) const {
  return for_each_transfer(
      offset, pieces,
      [&](const iovec* from, int count, std::uint64_t at) { return transfer(SYS_preadv, fd_.get(), from, count, at); },
      [&](std::uint64_t at, std::span<std::byte> rest) { return read(at, rest); });
}

Result<void> ImageFile::writev(std::uint64_t offset, std::span<const iovec> pieces) const {
  return for_each_transfer(
      offset, pieces,
      [&](const iovec* from, int count, std::uint64_t at) { return transfer(SYS_pwritev, fd_.get(), from, count, at); },
      [&](std::uint64_t at, std::span<std::byte> rest) { return write(at, rest); });
}

Result<void> ImageFile::write(std::uint64_t offset, std::span<const std::byte> data) const {
  while (!data.empty()) {
    const auto put = pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return error("cannot write {} at byte {}: {}", path_, offset, std::strerror(put ? errno : ENOSPC));
    offset += static_cast<std::uint64_t>(put);
    data = data.subspan(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> ImageFile::sync() {
  if (sync_failed_) return error("cannot make {} durable: writing it to the storage device failed before", path_);
  int status;
  do {
    status = fdatasync(fd_.get());
  } while (status != 0 && errno == EINTR);
  if (status == 0) return {};
  sync_failed_ = true;
  return error("cannot make {} durable: {}", path_, std::strerror(errno));
}

Result<bool> ImageFile::allocate(int mode, std::uint64_t offset, std::uint64_t length) const {
  if (length == 0) return true;
  int status;
  do {
    status = fallocate(fd_.get(), mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  } while (status != 0 && errno == EINTR);
  if (status == 0) return true;
  // EINVAL: a block device whose blocks are larger than the range is aligned to.
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == ENODEV || errno == EPERM) return false;
  return error("cannot clear {} at byte {}: {}", path_, offset, std::strerror(errno));
}

Result<bool> ImageFile::punch_hole(std::uint64_t offset, std::uint64_t length) const {
  return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

Result<bool> ImageFile::zero_range(std::uint64_t offset, std::uint64_t length) const {
  return allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
}

Result<void> ImageFile::write_zeros(std::uint64_t offset, std::uint64_t length) const {
  static constexpr std::array<std::byte, 256 << 10> zeros{};
  while (length > 0) {
    const auto part = std::min<std::uint64_t>(length, zeros.size());
    if (auto written = write(offset, std::span(zeros).first(part)); !written) return written;
    offset += part;
    length -= part;
  }
  return {};
}

std::uint64_t ImageFile::hole_at(std::uint64_t offset, std::uint64_t limit) const {
  if (block_device_) return 0;
  const auto data = lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? limit : 0;
  return std::min(limit, static_cast<std::uint64_t>(data) - offset);
}

Result<void> make_directory_durable(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const FileDescriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems do not sync directories; they make names durable in their own way.
  if (!fd || (fsync(fd.get()) != 0 && errno != EINVAL)) {
    return error("cannot make the name {} durable: {}", path, std::strerror(errno));
  }
  return {};
}

Result<std::unique_ptr<ImageFile>> create_unfinished(const std::string& path, unsigned mode) {
  const std::string name = fmt::format("{}.new-{}", path, getpid());
  unlink(name.c_str());  // of a process that had this number and was killed
  FileDescriptor fd(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd) return error("cannot create {}: {}", name, std::strerror(errno));
  return ImageFile::adopt(std::move(fd), name, true);
}

Result<void> finish(ImageFile& file, const std::string& path) {
  if (auto synced = file.sync(); !synced) return synced;
  if (rename_to_free_name(file.path().c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return error("{} exists already; remove it or choose another name", path);
    return error("cannot create {}: {}", path, std::strerror(errno));
  }
  return make_directory_durable(path);
}

}  // namespace doppel
