#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace doppel {

/// Unpacks gzip data (RFC 1952, all members). More than `limit` bytes, a cut-off stream or a bad checksum is an error
/// that names `path`; bytes after the last member are ignored, as gzip does.
Result<std::vector<std::byte>> unpack_gzip(std::span<const std::byte> packed, std::string_view path,
                                           std::uint64_t limit);

/// The same for zstd frames (RFC 8878).
Result<std::vector<std::byte>> unpack_zstd(std::span<const std::byte> packed, std::string_view path,
                                           std::uint64_t limit);

}  // namespace doppel
