#include "engine/translation_table.h"

namespace doppel {

TranslationTable::TranslationTable(std::size_t slots) {
  tables_.push_back(std::make_unique<Table>(slots));
  table_ = tables_.back().get();
}

void TranslationTable::Table::put(std::uint64_t tag, const std::byte* code) {
  auto n = first(tag);
  while (slots[n].tag.load(std::memory_order_relaxed) != 0) n = behind(n);
  slots[n].code.store(code, std::memory_order_relaxed);
  slots[n].tag.store(tag, std::memory_order_release);
}

void TranslationTable::add(const TranslationKey& key, const std::byte* code) {
  if (++count_ * 2 > tables_.back()->mask) grow();
  const auto tag = tag_of(key);
  filter_word(tag).fetch_or(filter_bit(tag), std::memory_order_relaxed);
  tables_.back()->put(tag, code);
}

void TranslationTable::grow() {
  const auto& old = *tables_.back();
  auto larger = std::make_unique<Table>(2 * (old.mask + 1));
  for (std::size_t n = 0; n <= old.mask; n++)
    if (const auto tag = old.slots[n].tag.load(std::memory_order_relaxed))
      larger->put(tag, old.slots[n].code.load(std::memory_order_relaxed));
  table_.store(larger.get(), std::memory_order_release);
  tables_.push_back(std::move(larger));
}

/// What follows moves up, as far as it is not where its search begins: so nothing stands for what is gone.
void TranslationTable::remove(const TranslationKey& key, const std::byte* code) {
  auto& table = *tables_.back();
  auto hole = table.first(tag_of(key));
  while (table.slots[hole].code.load(std::memory_order_relaxed) != code) hole = table.behind(hole);
  for (auto n = table.behind(hole);; n = table.behind(n)) {
    const auto tag = table.slots[n].tag.load(std::memory_order_relaxed);
    if (tag == 0) break;
    if (((n - table.first(tag)) & table.mask) < ((n - hole) & table.mask))
      continue;  // its search begins behind the hole
    table.slots[hole].code.store(table.slots[n].code.load(std::memory_order_relaxed), std::memory_order_relaxed);
    table.slots[hole].tag.store(tag, std::memory_order_relaxed);
    hole = n;
  }
  table.slots[hole].tag.store(0, std::memory_order_relaxed);
  table.slots[hole].code.store(nullptr, std::memory_order_relaxed);
  count_--;
}

void TranslationTable::clear() {
  drop_old();
  auto& table = *tables_.back();
  for (std::size_t n = 0; n <= table.mask; n++) {
    table.slots[n].tag.store(0, std::memory_order_relaxed);
    table.slots[n].code.store(nullptr, std::memory_order_relaxed);
  }
  for (std::size_t n = 0; n >> (64 - filter_shift) == 0; n++) filter_[n].store(0, std::memory_order_relaxed);
  count_ = 0;
}

void TranslationTable::drop_old() { tables_.erase(tables_.begin(), tables_.end() - 1); }

}  // namespace doppel
