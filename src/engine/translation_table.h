#pragma once
// From what a translation is found by to where its code is.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/translations.h"

namespace doppel {

/// Open addressing. What is looked at is in the table itself, so that a look-up costs one access to memory that is not
/// in a cache. Read without the lock that everything else needs; remove(), clear() and drop_old() need also that nobody
/// reads.
class TranslationTable {
 public:
  explicit TranslationTable(std::size_t slots = 1 << 12);
  /// The code; null where there is none.
  const std::byte* find(const TranslationKey& key, const Translations& all) const {
    const auto wanted = tag_of(key);
    if (!(filter_word(wanted).load(std::memory_order_relaxed) & filter_bit(wanted))) return nullptr;
    const auto& table = *table_.load(std::memory_order_acquire);
    for (auto n = table.first(wanted);; n = table.behind(n)) {
      const auto tag = table.slots[n].tag.load(std::memory_order_acquire);
      if (tag == 0) return nullptr;
      if (tag != wanted) continue;
      const auto* code = table.slots[n].code.load(std::memory_order_relaxed);
      if (exact(tag) || all.of(code).key == key) return code;
    }
  }
  /// Of a key that it does not have.
  void add(const TranslationKey& key, const std::byte* code);
  void remove(const TranslationKey& key, const std::byte* code);
  void clear();
  /// Gives back the memory of tables that became too small.
  void drop_old();

 private:
  struct Slot {
    std::atomic<std::uint64_t> tag = 0;  // 0: nothing; written behind `code`
    std::atomic<const std::byte*> code = nullptr;
  };
  struct Table {
    explicit Table(std::size_t size) : mask(size - 1), slots(std::make_unique<Slot[]>(size)) {}
    std::size_t mask;
    std::unique_ptr<Slot[]> slots;
    std::size_t first(std::uint64_t tag) const { return (tag * 0x9e3779b97f4a7c15 >> 20) & mask; }
    std::size_t behind(std::size_t n) const { return (n + 1) & mask; }
    void put(std::uint64_t tag, const std::byte* code);
  };
  static constexpr std::uint64_t on_two_pages = 1ULL << 63, used = 1ULL << 62;
  /// All of the key, unless the instruction lies on two pages: then a hash.
  static std::uint64_t tag_of(const TranslationKey& key) {
    const auto tag = key.physical >> 1 << 6 | key.mode.key() | used;
    return key.behind == 0 ? tag : (tag ^ key.behind * 0xc2b2ae3d27d4eb4f) | on_two_pages;
  }
  static bool exact(std::uint64_t tag) { return !(tag & on_two_pages); }
  void grow();
  /// Most of what is looked for is not there: a bit of a small table says so. Those of what was removed stay.
  static constexpr unsigned filter_shift = 64 - 13;  // to 8,192 words of 64 bits
  static std::uint64_t spread(std::uint64_t tag) { return tag * 0xd1342543de82ef95; }
  std::atomic<std::uint64_t>& filter_word(std::uint64_t tag) const { return filter_[spread(tag) >> filter_shift]; }
  static std::uint64_t filter_bit(std::uint64_t tag) { return 1ULL << (spread(tag) >> (filter_shift - 6) & 63); }

  std::vector<std::unique_ptr<Table>> tables_;  // the last is in use; others may be read from still
  std::atomic<Table*> table_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> filter_ =
      std::make_unique<std::atomic<std::uint64_t>[]>(1 << (64 - filter_shift));
  std::size_t count_ = 0;
};

}  // namespace doppel
