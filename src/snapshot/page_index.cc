#include "snapshot/page_index.h"

#include <sys/random.h>

#include <cstring>
#include <utility>

namespace doppel {

PageIndex::PageIndex() : heads_(1ULL << (64 - shift_), none) {
  [[maybe_unused]] const auto ignored = ::getrandom(&multiplier_, sizeof multiplier_, 0);
  multiplier_ |= 1;
}

std::size_t PageIndex::bucket(const Sha256& hash) const {
  std::uint64_t begin;
  std::memcpy(&begin, hash.data(), sizeof begin);
  return (begin * multiplier_) >> shift_;
}

void PageIndex::grow() {
  shift_--;
  heads_.assign(1ULL << (64 - shift_), none);
  for (std::uint32_t n = 0; n < entries_.size(); n++)
    entries_[n].next = std::exchange(heads_[bucket(entries_[n].hash)], n);
}

void PageIndex::add(const Sha256& hash, PageLocation where) {
  if (entries_.size() == heads_.size()) grow();
  auto& head = heads_[bucket(hash)];
  entries_.push_back({.hash = hash, .where = where, .next = head});
  head = std::uint32_t(entries_.size() - 1);
}

}  // namespace doppel
