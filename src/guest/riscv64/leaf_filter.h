#pragma once
#include <array>
#include <cstdint>

namespace doppel::riscv64 {

/// Remembers, roughly, for which addresses something is kept that came from a leaf of a page table: may_hold() is false
/// only when nothing kept came from the leaf that maps the address.
class LeafFilter {
 public:
  void add(std::uint64_t address, unsigned leaf_bits) {
    if (leaf_bits > giant_bits)
      huge_ = true;
    else if (leaf_bits > region_bits)
      set(giants_, address >> giant_bits);
    else if (leaf_bits > page_bits)
      set(regions_, address >> region_bits);
    else
      set(pages_, address >> page_bits);
    empty_ = false;
  }
  bool may_hold(std::uint64_t address) const { return may_hold_large(address) || get(pages_, address >> page_bits); }
  /// The same for leaves that are larger than a page.
  bool may_hold_large(std::uint64_t address) const {
    return huge_ || get(regions_, address >> region_bits) || get(giants_, address >> giant_bits);
  }
  bool empty() const { return empty_; }
  void clear() { *this = {}; }

 private:
  static constexpr unsigned page_bits = 12, region_bits = 21, giant_bits = 30;
  using Bits = std::array<std::uint64_t, 16>;
  /// Ten bits that neighbours and equal low bits do not share.
  static unsigned hash(std::uint64_t key) { return unsigned(key * 0x9e3779b97f4a7c15 >> 54); }
  static void set(Bits& bits, std::uint64_t key) { bits[hash(key) / 64] |= 1ULL << hash(key) % 64; }
  static bool get(const Bits& bits, std::uint64_t key) { return bits[hash(key) / 64] >> hash(key) % 64 & 1; }
  Bits pages_{}, regions_{}, giants_{};
  bool huge_ = false, empty_ = true;
};

}  // namespace doppel::riscv64
