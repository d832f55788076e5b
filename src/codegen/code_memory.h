#pragma once
// Host memory for generated code: one region, mapped twice, writable at one address and executable at another, and
// never both at one (ARCHITECTURE, law 4).
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace doppel {

class CodeMemory {
 public:
  static constexpr std::size_t alignment = 16;  // of what is added
  /// `bytes` are reserved and become resident as they are used. Fails with a sentence.
  static Result<std::unique_ptr<CodeMemory>> create(std::size_t bytes);
  ~CodeMemory();
  CodeMemory(const CodeMemory&) = delete;

  /// Copies code to the next free place; null when it does not fit any more.
  const std::byte* add(std::span<const std::byte> code);
  /// Forgets everything behind the first `bytes`.
  void truncate(std::size_t bytes) { used_ = bytes; }
  /// Replaces the aligned 32-bit displacement at an executable address, as one store.
  void patch(const std::byte* at, std::int32_t displacement);

  /// Replaces the eight aligned bytes at an executable address, as one store.
  void replace(const std::byte* at, std::uint64_t bytes);

  bool contains(const void* address) const { return address >= executable_ && address < executable_ + size_; }
  std::size_t used() const { return used_; }
  std::size_t size() const { return size_; }
  const std::byte* base() const { return executable_; }

 private:
  CodeMemory(std::byte* writable, std::byte* executable, std::size_t size)
      : writable_(writable), executable_(executable), size_(size) {}
  void prepare();

  std::byte *writable_, *executable_;
  std::size_t size_, used_ = 0, prepared_ = 0;
};

}  // namespace doppel
