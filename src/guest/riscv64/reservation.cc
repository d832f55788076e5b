#include "guest/riscv64/reservation.h"

#include <algorithm>

namespace doppel::riscv64 {

void ReservationTable::watch(std::uint64_t page) {
  std::lock_guard guard(lock_);
  if (find(page)) return;
  if (pages_.size() == most_pages) {
    for (auto& reserved : granule_)
      if (reserved != none && (reserved & ~page_mask) == pages_.front().address) reserved = none;
    pages_.erase(pages_.begin());
  }
  pages_.push_back({page, 0});
  any_.store(true, std::memory_order_release);
}

void ReservationTable::age(Page& page) {
  if (++page.idle_stores < max_idle_stores) return;
  const auto address = page.address;
  for (const auto reserved : granule_)
    if (reserved != none && (reserved & ~page_mask) == address) return;
  std::erase_if(pages_, [&](const Page& p) { return p.address == address; });
  any_.store(!pages_.empty(), std::memory_order_release);
}

}  // namespace doppel::riscv64
