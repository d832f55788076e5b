#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "guest/riscv64/tlb.h"

namespace doppel::riscv64 {

/// Where a hart has looked up pages that a copy may take the place of: by guest-physical page, entries of its TLBs. So
/// that one page's are found without a search through all.
class PageLookups {
 public:
  void add(std::uint64_t page_address, Tlb& tlb, std::size_t entry) {
    if (overflowed_) return;
    if (table_.empty()) table_.resize(places);
    for (std::size_t n = 0; n < longest_search; n++) {
      auto& place = table_[(first(page_address) + n) % places];
      if (place.tlb && !(place.tlb == &tlb && place.entry == entry && place.page == page_address)) continue;
      count_ += !place.tlb;
      place = {page_address, std::uint32_t(entry), &tlb};
      overflowed_ = count_ > places / 2;
      return;
    }
    overflowed_ = true;
  }
  /// Drops the entries of a page; false where it is not known which they are.
  bool forget(std::uint64_t page_address) {
    if (overflowed_) return false;
    if (count_ == 0) return true;
    for (std::size_t n = 0; n < longest_search; n++) {
      const auto& place = table_[(first(page_address) + n) % places];
      if (!place.tlb) break;
      if (place.page == page_address && (place.tlb->physical[place.entry] & ~page_mask) == page_address)
        place.tlb->entry[place.entry] = {};
    }
    return true;
  }
  void clear() {
    if (count_ > 0) std::ranges::fill(table_, Place{});
    count_ = 0;
    overflowed_ = false;
  }

 private:
  static constexpr std::size_t places = 8192, longest_search = 32;
  static std::size_t first(std::uint64_t page_address) {
    return (page_address >> page_shift) * 0x9e3779b97f4a7c15 >> 48;
  }
  struct Place {
    std::uint64_t page = 0;
    std::uint32_t entry = 0;
    Tlb* tlb = nullptr;
  };
  std::vector<Place> table_;
  std::size_t count_ = 0;
  bool overflowed_ = false;
};

}  // namespace doppel::riscv64
