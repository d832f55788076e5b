#pragma once
// Reading and writing all of a range of a file.
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace doppel {

/// False where the file ends before, or cannot be read.
inline bool read_at(int file, std::span<std::byte> out, std::uint64_t at) {
  while (!out.empty()) {
    const auto count = ::pread(file, out.data(), out.size(), off_t(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    out = out.subspan(std::size_t(count)), at += std::uint64_t(count);
  }
  return true;
}

/// False, with errno set, where not all could be written.
inline bool write_at(int file, std::span<const std::byte> bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const auto count = ::pwrite(file, bytes.data(), bytes.size(), off_t(at));
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = ENOSPC;
    if (count <= 0) return false;
    bytes = bytes.subspan(std::size_t(count)), at += std::uint64_t(count);
  }
  return true;
}

}  // namespace doppel
