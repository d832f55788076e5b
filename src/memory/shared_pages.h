#pragma once
// Pages of equal content of several machines, kept once.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "memory/layer.h"

namespace doppel {

/// For machines that stand still, one after another and now and then: a page that is what lies below it is taken out of
/// the machine's layer, zeros need no memory, and what two machines have alike is in here for both. A machine that
/// writes to such a page copies it first. All functions may be called from any thread.
class SharedPages {
 public:
  /// Looks through what the machine `owner` has for itself; how many pages of the host's memory it gave back. Nothing
  /// is done where others lie on the image's uppermost layer. What is equal to what another owner was seen with is
  /// shared from now on, and that owner's own with the next look through it.
  std::size_t share(MemoryImage& image, std::size_t owner);
  /// That are in here. Those that nobody has any more go when others come.
  std::size_t pages() const;

 private:
  static constexpr std::size_t segment_pages = 64, most_seen = 1 << 20;
  struct Entry {
    const std::byte* bytes;
    std::shared_ptr<Segment> segment;
  };
  const Entry* find_or_keep(const std::byte* bytes, std::size_t owner);
  const Entry* keep(std::uint64_t hash, const std::byte* bytes);
  void forget_unused();

  mutable std::mutex lock_;
  std::unordered_map<std::uint64_t, Entry> entries_;     // by hash
  std::unordered_map<std::uint64_t, std::size_t> seen_;  // owners of hashes that are not among them
  std::shared_ptr<Segment> open_;
  std::size_t open_used_ = segment_pages, next_cleaning_ = 16 * segment_pages;
};

}  // namespace doppel
