#pragma once
#include <cstdint>

namespace doppel {

/// What tells one state of an image file from another: a file that was written since has another time or size.
struct FileStamp {
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t device = 0, inode = 0;
  bool same_file(const FileStamp& other) const { return device == other.device && inode == other.inode; }
  bool same_content(const FileStamp& other) const { return size == other.size && mtime_ns == other.mtime_ns; }
};

}  // namespace doppel
