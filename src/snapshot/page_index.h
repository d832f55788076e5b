#pragma once
// Which pages are stored, by the SHA-256 of their bytes.
#include <cstdint>
#include <optional>
#include <vector>

#include "base/sha256.h"

namespace doppel {

struct PageLocation {
  std::uint32_t pack = 0;  // a number that whoever adds has given it
  std::uint32_t at = 0;    // the page's number in the pack
};

class PageIndex {
 public:
  PageIndex();
  void add(const Sha256& hash, PageLocation where);
  /// Where a page of that hash is, the first of those that were added and are `usable(where)`.
  template <typename F>
  std::optional<PageLocation> find(const Sha256& hash, F&& usable) const {
    std::optional<PageLocation> found;
    for (auto n = heads_[bucket(hash)]; n != none; n = entries_[n].next)
      if (entries_[n].hash == hash && usable(entries_[n].where)) found = entries_[n].where;
    return found;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Sha256 hash;
    PageLocation where;
    std::uint32_t next;
  };
  static constexpr std::uint32_t none = ~0U;
  std::size_t bucket(const Sha256& hash) const;
  void grow();

  std::vector<Entry> entries_;
  unsigned shift_ = 64 - 12;
  std::vector<std::uint32_t> heads_;
  std::uint64_t multiplier_ = 0;  // of this process, so that no guest chooses which pages share a chain
};

}  // namespace doppel
