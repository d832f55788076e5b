#pragma once
#include <cstdint>
#include <string>

#include "base/result.h"

namespace doppel {

/// A number of bytes as users write it: the largest unit that it fills, rounded up ("300 MiB", "4 KiB", "17 bytes").
inline std::string byte_size_text(std::uint64_t bytes) {
  constexpr std::uint64_t kib = 1 << 10, mib = 1 << 20, gib = 1 << 30;
  if (bytes >= gib && bytes % gib == 0) return fmt::format("{} GiB", bytes / gib);
  if (bytes >= mib) return fmt::format("{} MiB", bytes / mib + (bytes % mib != 0));
  if (bytes >= kib) return fmt::format("{} KiB", bytes / kib + (bytes % kib != 0));
  return fmt::format("{} bytes", bytes);
}

/// 512M, 2G, 2GiB, 1048576: bytes, with a power-of-two suffix.
Result<std::uint64_t> parse_byte_size(const std::string& text);

}  // namespace doppel
