#pragma once
// What is kept of a path besides its translation: what it was made from, and what becomes of its ways out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace doppel {

struct Translation;

/// Bytes of one page that a path was made from.
struct PathPart {
  std::uint64_t physical = 0;  // of the page
  std::int32_t page = 0;       // in pages from the path's first one
  std::uint16_t offset = 0;
  std::vector<std::byte> source;
};

/// What a path was made from, or is to be found by.
struct PathSource {
  std::uint64_t address = 0;  // virtual, of the first instruction
  std::uint32_t guest_count = 0;
  bool goes_round = false;
  std::vector<PathPart> parts;
};

struct Path {
  Translation* translation = nullptr;
  std::vector<PathPart> parts;
  /// The pages besides the first that must be mapped as they were.
  struct Page {
    std::int32_t number;
    std::uint64_t physical;
    bool operator==(const Page&) const = default;
  };
  std::vector<Page> others;
  /// Of each of its links, how often the stub was taken, and when first, in the hart's steps.
  struct Way {
    std::uint32_t taken = 0;
    std::uint64_t since = 0;
  };
  std::vector<Way> ways;
  std::uint32_t check = 0;  // its ir::PathCheck; 0: it lies on one page

  std::uint64_t physical_page(std::int32_t page) const {
    return std::ranges::find(parts, page, &PathPart::page)->physical;
  }
};

}  // namespace doppel
