#pragma once
#include <cstdint>

#include "storage/disk.h"

namespace doppel {

/// A disk that knows where it is empty, so that copying it takes time by its content and not by its size.
class Sparse {
 public:
  virtual ~Sparse() = default;
  /// How many of the `limit` bytes from `offset` on certainly read as zeros; 0 where that is not known.
  virtual std::uint64_t zeros_at(std::uint64_t offset, std::uint64_t limit) = 0;
};

/// The same for any disk: 0 where the disk cannot tell.
inline std::uint64_t zeros_at(Disk& disk, std::uint64_t offset, std::uint64_t limit) {
  auto* sparse = dynamic_cast<Sparse*>(&disk);
  return sparse ? sparse->zeros_at(offset, limit) : 0;
}

/// Callers keep ranges inside the disk; this makes a mistake there an error of one request and nothing worse.
inline Result<void> check_range(const Disk& disk, std::uint64_t offset, std::uint64_t length) {
  if (offset > disk.size() || length > disk.size() - offset) {
    return error("bytes {} to {} are outside the disk of {} bytes", offset, offset + length, disk.size());
  }
  return {};
}

}  // namespace doppel
