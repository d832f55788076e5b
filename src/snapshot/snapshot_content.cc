#include "snapshot/snapshot_content.h"

#include <cstring>

namespace doppel {

bool is_zero(std::span<const std::byte, page_size> page) {
  std::uint64_t first;
  std::memcpy(&first, page.data(), sizeof first);
  return first == 0 && std::memcmp(page.data(), page.data() + 8, page_size - 8) == 0;
}

SpaceContent memory_content(const MemoryImage& image, std::vector<std::uint32_t> hot) {
  const auto walk = [image](const PageVisit& visit) -> Result<void> {
    for (std::uint64_t page = 0; page < image.size >> page_shift; page++) {
      const std::span<const std::byte, page_size> bytes(image.page(page), page_size);
      if (is_zero(bytes)) continue;
      if (auto taken = visit(page, bytes); !taken) return taken;
    }
    return {};
  };
  return {.name = "memory", .base = image.base, .bytes = image.size, .for_each = walk, .hot = std::move(hot)};
}

}  // namespace doppel
