#pragma once
// Little-endian records inside files that may be cut off or lie about themselves.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace doppel {

/// True when `length` bytes at `offset` lie inside a file of `size` bytes.
constexpr bool range_in(std::uint64_t size, std::uint64_t offset, std::uint64_t length) {
  return offset <= size && length <= size - offset;
}

/// The record at `offset`, or nothing when it is not all there.
template <typename T>
  requires std::is_trivially_copyable_v<T>
std::optional<T> record_at(std::span<const std::byte> file, std::uint64_t offset) {
  if (!range_in(file.size(), offset, sizeof(T))) return {};
  T record;
  std::memcpy(&record, file.data() + offset, sizeof record);
  return record;
}

/// True when the file has exactly these bytes at `offset`.
inline bool has_magic(std::span<const std::byte> file, std::uint64_t offset, std::string_view magic) {
  return range_in(file.size(), offset, magic.size()) &&
         std::memcmp(file.data() + offset, magic.data(), magic.size()) == 0;
}

}  // namespace doppel
