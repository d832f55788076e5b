#pragma once
// Copies of bytes that another thread may be changing at the same time, as a guest's harts do to what a device reads.
// An aligned 1, 2, 4 or 8 bytes are one access, as on a bus; of longer ranges each byte is some value that was stored.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace doppel {

template <typename T>
void racing_copy_as(std::byte* to, const std::byte* from) {
  const auto value = __atomic_load_n(reinterpret_cast<const T*>(from), __ATOMIC_RELAXED);
  __atomic_store_n(reinterpret_cast<T*>(to), value, __ATOMIC_RELAXED);
}

/// Copies `length` bytes that do not overlap. The thread sanitizer knows no other race without blame than one between
/// atomics, so under it every byte is one.
inline void racing_copy(std::byte* to, const std::byte* from, std::uint64_t length) {
  const auto places = reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from);
  if (length <= 8 && std::has_single_bit(length) && places % length == 0) {
    switch (length) {
      case 1:
        return racing_copy_as<std::uint8_t>(to, from);
      case 2:
        return racing_copy_as<std::uint16_t>(to, from);
      case 4:
        return racing_copy_as<std::uint32_t>(to, from);
      default:
        return racing_copy_as<std::uint64_t>(to, from);
    }
  }
#if __has_feature(thread_sanitizer)
  for (; length >= 8 && places % 8 == 0; length -= 8, to += 8, from += 8) racing_copy_as<std::uint64_t>(to, from);
  for (std::uint64_t n = 0; n < length; n++) racing_copy_as<std::uint8_t>(to + n, from + n);
#else
  std::memcpy(to, from, length);
#endif
}

/// Sets `length` bytes.
inline void racing_fill(std::byte* to, std::uint8_t value, std::uint64_t length) {
#if __has_feature(thread_sanitizer)
  const auto word = 0x0101010101010101 * value;
  for (; length >= 8 && reinterpret_cast<std::uintptr_t>(to) % 8 == 0; length -= 8, to += 8)
    __atomic_store_n(reinterpret_cast<std::uint64_t*>(to), word, __ATOMIC_RELAXED);
  for (std::uint64_t n = 0; n < length; n++)
    __atomic_store_n(reinterpret_cast<std::uint8_t*>(to + n), value, __ATOMIC_RELAXED);
#else
  std::memset(to, value, length);
#endif
}

}  // namespace doppel
