#pragma once
// What a snapshot is made of.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Takes one page; what it fails with ends the walk. The bytes need not stay after the call.
using PageVisit = std::function<Result<void>(std::uint64_t page, std::span<const std::byte, page_size> bytes)>;

/// A memory, or what a disk has over its base image, by 4 KiB units.
struct SpaceContent {
  std::string name;         // 1 to 64 letters, digits, spaces, '-', '_', '.'; unique in the snapshot
  std::uint64_t base = 0;   // given back as it is: a memory's guest-physical address
  std::uint64_t bytes = 0;  // of the whole space, at most 16 TiB; what is behind a last page that it cuts is zeros
  /// Calls `visit` for the pages that the snapshot shall hold, in ascending order, and returns what that failed with.
  /// A page of zeros that is visited is held, and takes no room: memories leave theirs out.
  std::function<Result<void>(const PageVisit& visit)> for_each;
  std::vector<std::uint32_t> hot;  // pages that will be wanted first, the hottest first
};

struct SnapshotContent {
  std::string description;  // JSON, which nobody looks into here
  std::vector<std::byte> state;
  std::vector<SpaceContent> spaces;
  std::int64_t made_s = 0;  // seconds since 1970; 0: now
};

bool is_zero(std::span<const std::byte, page_size> page);

/// The pages of a memory that are not zero. The image is kept as long as the content is.
SpaceContent memory_content(const MemoryImage& image, std::vector<std::uint32_t> hot = {});

}  // namespace doppel
