#pragma once
#include <array>
#include <cstdint>

namespace doppel::riscv64 {

/// Remembers, roughly, for which addresses something is kept that came from a leaf of a page table: may_hold() is false
/// only when nothing kept came from the leaf that maps the address.
class LeafFilter {
 public:
  void add(std::uint64_t address, unsigned leaf_bits) {
    auto& half = half_of(address);
    if (leaf_bits > giant_bits)
      half.huge = true;
    else if (leaf_bits > region_bits)
      set(half.giants, address >> giant_bits);
    else if (leaf_bits > page_bits)
      set(half.regions, address >> region_bits);
    else
      set(pages_, address >> page_bits);
    empty_ = false;
  }
  bool may_hold(std::uint64_t address) const { return may_hold_large(address) || get(pages_, address >> page_bits); }
  /// The same for leaves that are larger than a page.
  bool may_hold_large(std::uint64_t address) const {
    const auto& half = half_of(address);
    return half.huge || get(half.regions, address >> region_bits) || get(half.giants, address >> giant_bits);
  }
  bool empty() const { return empty_; }
  void clear() { *this = {}; }

 private:
  static constexpr unsigned page_bits = 12, region_bits = 21, giant_bits = 30;
  template <std::size_t words>
  using Bits = std::array<std::uint64_t, words>;
  /// Kernels map all memory by large leaves, in the upper half of the addresses: that must not tell of those of
  /// processes, which have next to none.
  struct Half {
    Bits<16> regions{};
    Bits<1> giants{};
    bool huge = false;
  };

  Half& half_of(std::uint64_t address) { return halves_[address >> 63]; }
  const Half& half_of(std::uint64_t address) const { return halves_[address >> 63]; }
  /// A bit that neighbours and equal low bits do not share.
  template <std::size_t words>
  static std::size_t hash(std::uint64_t key) {
    return (key * 0x9e3779b97f4a7c15 >> 48) % (64 * words);
  }
  template <std::size_t words>
  static void set(Bits<words>& bits, std::uint64_t key) {
    bits[hash<words>(key) / 64] |= 1ULL << hash<words>(key) % 64;
  }
  template <std::size_t words>
  static bool get(const Bits<words>& bits, std::uint64_t key) {
    return bits[hash<words>(key) / 64] >> hash<words>(key) % 64 & 1;
  }
  Bits<64> pages_{};
  std::array<Half, 2> halves_;
  bool empty_ = true;
};

}  // namespace doppel::riscv64
