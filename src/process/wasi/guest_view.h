#pragma once
// The guest's memory as a function of the host's may touch it: each access is checked, and what lies outside is an
// error of the guest's (Errno::fault), never a fault of ours.
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "process/wasi/abi.h"

namespace doppel::wasi {

class GuestView {
 public:
  /// Valid until the memory grows, so for one call.
  explicit GuestView(std::span<std::uint8_t> memory) : memory_(memory) {}

  bool holds(std::uint64_t address, std::uint64_t size) const {
    return size <= memory_.size() && address <= memory_.size() - size;
  }
  /// Nothing where not all of it lies in the memory. An empty stretch may lie anywhere up to its end.
  std::optional<std::span<std::uint8_t>> bytes(std::uint64_t address, std::uint64_t size) const {
    if (!holds(address, size)) return std::nullopt;
    return memory_.subspan(address, size);
  }
  template <typename T>
    requires std::is_unsigned_v<T>
  std::optional<T> read(std::uint64_t address) const {
    const auto from = bytes(address, sizeof(T));
    if (!from) return std::nullopt;
    T value = 0;
    for (std::size_t n = sizeof(T); n-- > 0;) value = T(std::uint64_t{value} << 8 | (*from)[n]);
    return value;
  }
  template <typename T>
    requires std::is_unsigned_v<T>
  Errno write(std::uint64_t address, T value) const {
    const auto to = bytes(address, sizeof(T));
    if (!to) return Errno::fault;
    for (std::size_t n = 0; n < sizeof(T); n++) (*to)[n] = std::uint8_t(std::uint64_t{value} >> 8 * n);
    return Errno::success;
  }
  /// A copy, so that the guest cannot change it after it was checked.
  std::optional<std::string> string(std::uint32_t address, std::uint32_t size) const;

  /// Scatter and gather: the stretches that `count` iovec records at `address` name. What goes beyond the 1024 that the
  /// host takes at once, or 2^31 bytes, is left out: reads and writes may be short. Errors: fault, inval where the
  /// sizes add up to more than 2^32-1 as they may not.
  Errno vectors(std::uint32_t address, std::uint32_t count, std::vector<iovec>& out) const;

 private:
  std::span<std::uint8_t> memory_;
};

}  // namespace doppel::wasi
