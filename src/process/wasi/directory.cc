// What lies in a folder.
#include <dirent.h>
#include <sys/syscall.h>

#include <array>
#include <cstring>

#include "process/wasi/context.h"

namespace doppel::wasi {
namespace {

struct Entry {
  std::uint64_t next =
      0;  ///< the cookie behind it: what the host's file system calls it, which holds while others come and go
  std::uint64_t inode = 0;
  FileType type = FileType::unknown;
  std::string_view name;
};

/// A folder's entries from a cookie on. The host's place in the folder is its own business: each call begins with a
/// seek.
class Listing {
 public:
  explicit Listing(int folder) : folder_(folder) {}

  Errno begin(std::uint64_t cookie) {
    if (cookie > INT64_MAX || lseek(folder_, off_t(cookie), SEEK_SET) < 0) return Errno::inval;
    return Errno::success;
  }
  /// The next entry, valid until the next call; false at the end or on an error.
  bool next(Entry& out) {
    if (at_ >= size_) {
      const long got = syscall(SYS_getdents64, folder_, buffer_.data(), buffer_.size());
      error_ = got < 0 ? errno_of_host(errno) : Errno::success;
      size_ = got > 0 ? std::size_t(got) : 0;
      at_ = 0;
      if (size_ == 0) return false;
    }
    // linux_dirent64: inode, offset, the record's size in 16 bits, the type in 8, the name and a NUL
    const char* record = buffer_.data() + at_;
    std::uint16_t size = 0;
    std::memcpy(&out.inode, record, 8);
    std::memcpy(&out.next, record + 8, 8);
    std::memcpy(&size, record + 16, 2);
    out.name = record + 19;
    out.type = type_of(std::uint8_t(record[18]), record + 19);
    at_ += size;
    return true;
  }
  Errno error() const { return error_; }

 private:
  FileType type_of(std::uint8_t host, const char* name) const {
    struct stat status{};
    if (host != DT_UNKNOWN) status.st_mode = DTTOIF(host);
    if (host == DT_UNKNOWN && fstatat(folder_, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return FileType::unknown;
    return file_type_of(status);
  }

  const int folder_;
  std::array<char, 32768> buffer_;
  std::size_t at_ = 0, size_ = 0;
  Errno error_ = Errno::success;
};

/// Appends as much of it as there is room for.
void append(std::span<std::uint8_t> out, std::size_t& used, const void* bytes, std::size_t size) {
  const std::size_t fits = std::min(size, out.size() - used);
  std::memcpy(out.data() + used, bytes, fits);
  used += fits;
}

void append(std::span<std::uint8_t> out, std::size_t& used, const Entry& entry) {
  std::array<std::uint8_t, sizes::dirent> header{};
  const GuestView view(header);
  view.write<std::uint64_t>(0, entry.next);
  view.write<std::uint64_t>(8, entry.inode);
  view.write<std::uint32_t>(16, std::uint32_t(entry.name.size()));
  header[20] = std::uint8_t(entry.type);
  append(out, used, header.data(), header.size());
  append(out, used, entry.name.data(), entry.name.size());
}

bool same_file(int folder, const GrantedFolder& grant) {
  struct stat status{};
  return fstat(folder, &status) == 0 && status.st_ino == grant.inode && status.st_dev == grant.device;
}

}  // namespace

Errno Context::fd_readdir(Memory memory, u32 fd, u32 buffer, u32 size, u64 cookie, u32 used) {
  const Found found = find(fd, rights::fd_readdir);
  if (!found) return found.error;
  const auto out = memory.bytes(buffer, size);
  if (!out || !memory.holds(used, 4)) return Errno::fault;
  Listing listing(found.host());
  if (const Errno bad = listing.begin(cookie); bad != Errno::success) return bad;
  found->cookie = cookie;
  // What lies above a grant is none of the guest's business, not even by its number.
  const auto& grant = grants[found->source];
  const bool top = same_file(found.host(), grant);
  std::size_t filled = 0;
  Entry entry;
  while (filled < out->size() && listing.next(entry)) {
    if (top && entry.name == "..") entry.inode = grant.inode;
    append(*out, filled, entry);
  }
  if (filled == 0 && listing.error() != Errno::success) return listing.error();
  return memory.write<u32>(used, u32(filled));
}

}  // namespace doppel::wasi
