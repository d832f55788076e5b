#pragma once
// Room for sections of the code store that are read: large host pages, because to touch as much in small ones takes
// longer than to read it.
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>

namespace doppel {

/// Some bytes, which live as long as whoever holds them.
struct RecordBytes {
  std::shared_ptr<std::byte> bytes;
  std::size_t size = 0;
  explicit operator bool() const { return bytes != nullptr; }
  bool operator==(const RecordBytes&) const = default;
  std::span<std::byte> span() const { return {bytes.get(), size}; }
};

/// Any thread.
class RecordMemory {
 public:
  /// Not initialised; empty where the host has no memory left. What is taken together goes back to the host together.
  RecordBytes take(std::size_t size);
  /// Nothing more is taken for a while: what is left over is not kept for it.
  void rest();

 private:
  std::mutex lock_;
  std::shared_ptr<std::byte> chunk_;
  std::size_t used_ = 0;
};

}  // namespace doppel
