#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "storage/image_file.h"
#include "storage/overlay_format.h"

namespace doppel {

/// Which blocks of a disk are in its overlay. Asking is free of locks; setting, take_dirty() and mark_dirty() need the
/// caller's lock; load() and store() are for one thread at a time.
class OverlayMap {
 public:
  explicit OverlayMap(std::uint64_t blocks);

  struct Run {
    bool present = false;
    std::uint64_t blocks = 0;
  };
  /// How many of the `limit` blocks from `first` on are alike, at least 1, and whether they are present.
  Run run_at(std::uint64_t first, std::uint64_t limit) const;
  bool all_present(std::uint64_t first, std::uint64_t count) const;
  void set_present(std::uint64_t first, std::uint64_t count);

  /// Bytes of the map in a file.
  std::uint64_t stored_bytes() const { return pages_.size() * 2 * overlay::slot_size; }
  /// Reads the newest state of each page. Hostile content gives an error or some map.
  Result<void> load(const ImageFile& file, std::uint64_t map_offset);
  /// The pages that changed since the last call, as they are now.
  std::vector<overlay::MapPage> take_dirty();
  /// For pages that could not be stored.
  void mark_dirty(const std::vector<overlay::MapPage>& pages);
  /// Writes pages into their older slots. They count when the file has been synced.
  Result<void> store(const ImageFile& file, std::uint64_t map_offset, std::vector<overlay::MapPage>& pages);

 private:
  struct Page {
    std::array<std::atomic<std::uint64_t>, overlay::words_per_page> words{};
    std::uint64_t generation = 0;  // of the newest slot in the file; 0: none
  };
  Page& page(std::uint64_t index);
  Result<void> load_page(const ImageFile& file, std::uint64_t map_offset, std::uint64_t index);

  std::vector<std::atomic<Page*>> pages_;  // null: nothing present
  std::vector<std::unique_ptr<Page>> owned_;
  std::set<std::uint64_t> dirty_;
};

}  // namespace doppel
