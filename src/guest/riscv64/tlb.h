#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "guest/riscv64/filled_places.h"
#include "guest/riscv64/leaf_filter.h"
#include "ir/execution_state.h"
#include "memory/guest_memory.h"

namespace doppel::riscv64 {

/// A direct-mapped software TLB of 4 KiB translations for one way of accessing memory (a privilege with its SUM).
struct Tlb {
  static constexpr std::size_t entries = ir::tlb_entries;
  static constexpr std::uint64_t none = ir::TlbEntry::none;
  using Entry = ir::TlbEntry;
  std::array<Entry, entries> entry;
  /// Of each entry the page's guest-physical address; its low bits are log2 of the size of the leaf it came from.
  std::array<std::uint64_t, entries> physical{};

  static std::size_t index(std::uint64_t address) { return (address >> page_shift) % entries; }
  Entry& at(std::uint64_t address) { return entry[index(address)]; }
  std::uint64_t& physical_at(std::uint64_t address) { return physical[index(address)]; }
  /// The page's virtual address, or `none` for an empty entry.
  static std::uint64_t page(const Entry& e) { return e.load != none ? e.load : e.fetch != none ? e.fetch : e.store; }
  LeafFilter filter;
  FilledPlaces<entries> filled;

  /// To be told of every entry that is filled, before it is.
  void note(std::uint64_t address, unsigned leaf_bits) {
    filter.add(address, leaf_bits);
    if (page(at(address)) == none) filled.add(index(address));
  }
  void flush() {
    if (filter.empty()) return;
    filled.for_each([&](std::size_t n) { entry[n] = {}; });
    filled.clear();
    filter.clear();
  }
  /// Drops what came from the leaf that maps `address`, whatever the leaf's size.
  void flush_page(std::uint64_t address) {
    if (filter.empty()) return;
    if (auto& e = at(address); page(e) == (address & ~page_mask)) e = {};
    if (!filter.may_hold_large(address)) return;
    filled.for_each([&](std::size_t n) {
      if (page(entry[n]) != none && (page(entry[n]) ^ address) >> (physical[n] & page_mask) == 0) entry[n] = {};
    });
  }
  /// Drops all that is mapped to a guest-physical page.
  void forget_page(std::uint64_t page_address) {
    if (filter.empty()) return;
    filled.for_each([&](std::size_t n) {
      if ((physical[n] & ~page_mask) == page_address) entry[n] = {};
    });
  }
  /// Drops the right to store to a guest-physical page without asking.
  void forbid_stores(std::uint64_t page_address) {
    if (filter.empty()) return;
    filled.for_each([&](std::size_t n) {
      if ((physical[n] & ~page_mask) == page_address) entry[n].store = none;
    });
  }
};

}  // namespace doppel::riscv64
