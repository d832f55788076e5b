#pragma once
// A linear memory (core specification, 4.2.8): address space of the host, reserved to the memory's largest size with no
// access behind its end, so that what is behind faults.
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "guest/wasm/module.h"

namespace doppel::wasm {

class LinearMemory {
 public:
  /// Reserved behind a memory with 32-bit addresses of 64 KiB pages: no address and offset of 32 bits lead beyond.
  static constexpr std::uint64_t guarded_bytes = (1ULL << 33) + 65536;

  /// Zeros of the type's minimal size. Error: there is no room.
  static Result<LinearMemory> create(const MemoryType& type);
  LinearMemory(LinearMemory&& other) noexcept;
  LinearMemory& operator=(LinearMemory&& other) noexcept;
  ~LinearMemory();

  const MemoryType& type() const { return type_; }
  std::uint8_t* data() const { return base_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t pages() const { return bytes_ >> type_.page_shift; }
  /// The old size in pages, or nothing where the limits or the host do not allow it. `data()` may change for
  /// memories that are not reserved in full (64-bit addresses).
  std::optional<std::uint64_t> grow(std::uint64_t pages);
  /// Whether `size` bytes from `address` on lie in it.
  bool holds(std::uint64_t address, std::uint64_t size) const { return size <= bytes_ && address <= bytes_ - size; }
  /// Bytes of address space from `data()` on that nothing else lies in, of which those behind the memory's last host
  /// page fault.
  std::uint64_t reserved() const { return reserved_; }

 private:
  explicit LinearMemory(const MemoryType& type) : type_(type) {}
  bool reserve(std::uint64_t bytes);
  bool make_room(std::uint64_t bytes);
  bool open(std::uint64_t bytes);
  void release();
  MemoryType type_;
  std::uint8_t* base_ = nullptr;
  std::uint64_t bytes_ = 0, reserved_ = 0;
};

}  // namespace doppel::wasm
