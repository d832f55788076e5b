#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "memory/guest_memory.h"

namespace doppel::riscv64 {

/// A direct-mapped software TLB of 4 KiB translations for one way of accessing memory (a privilege with its SUM). A hit
/// needs the entry's tag for that kind of access to be the address's page; then host = address + addend.
struct Tlb {
  static constexpr std::size_t entries = 1024;
  static constexpr std::uint64_t none = 1;  // no page-aligned address
  struct Entry {
    std::uint64_t load = none, store = none, fetch = none;
    std::uintptr_t addend = 0;  // host address - virtual address
    std::uint64_t physical =
        0;  // the page's guest-physical address; its low bits are log2 of the size of the leaf it came from
    /// The page's virtual address, or `none` for an empty entry.
    std::uint64_t page() const { return load != none ? load : fetch != none ? fetch : store; }
  };
  std::array<Entry, entries> entry;

  Entry& at(std::uint64_t address) { return entry[(address >> page_shift) % entries]; }
  void flush() { entry.fill({}); }
  /// Drops what came from the leaf that maps `address`, whatever the leaf's size.
  void flush_page(std::uint64_t address) {
    for (auto& e : entry)
      if (e.page() != none && (e.page() ^ address) >> (e.physical & page_mask) == 0) e = {};
  }
  /// Drops the right to store without asking, everywhere or for one guest-physical page.
  void forbid_stores(std::uint64_t physical) {
    for (auto& e : entry)
      if ((e.physical & ~page_mask) == physical) e.store = none;
  }
};

}  // namespace doppel::riscv64
