#pragma once
// What is where in the memory file of a transfer; for its two ends.
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "memory/layer.h"

namespace doppel {

/// The file: this; a record of the machine (Writer), at record_at; its pages, from pages_at on, those of one space
/// after those of another, each in ascending order.
struct TransferHead {
  static constexpr std::uint64_t right = 0x3130'6d69'7070'6f64;  // "doppim01"
  std::uint64_t magic = right;
  std::uint64_t record_at = 0, record_bytes = 0, pages_at = 0;
  std::atomic<std::uint64_t> written = 0;  // pages that are there
  std::atomic<std::uint64_t> ended = 0;    // there will be no more
};

struct TransferLimits {
  static constexpr std::uint64_t bytes = 1ULL << 46, record = 256 << 20;
  static constexpr std::size_t spaces = 64, text = 1 << 20, name = 64;
};

inline std::uint64_t whole_pages(std::uint64_t bytes) { return (bytes + page_mask) & ~page_mask; }

}  // namespace doppel
