// Address translation and physical memory protection (Privileged ISA 3.7, 12.3 to 12.6, chapters 13 to 16).
#include "guest/riscv64/hart.h"

namespace doppel::riscv64 {
namespace {

constexpr Cause page_fault(Access access) {
  return access == Access::load    ? Cause::load_page_fault
         : access == Access::store ? Cause::store_page_fault
                                   : Cause::instruction_page_fault;
}

constexpr Cause access_fault(Access access) {
  return access == Access::load    ? Cause::load_access_fault
         : access == Access::store ? Cause::store_access_fault
                                   : Cause::instruction_access_fault;
}

constexpr std::uint8_t permission_bit(Access access) {
  return access == Access::load ? 1 : access == Access::store ? 2 : 4;  // R, W, X of pmpcfg
}

struct Range {
  std::uint64_t low, last;  // inclusive
};

/// The addresses that PMP entry `index` matches; false when it is off (3.7.1).
bool pmp_range(const HartState& state, unsigned index, Range& range) {
  constexpr std::uint64_t address_mask = (1ULL << 54) - 1;
  const auto address = state.pmpaddr[index] & address_mask;
  switch (state.pmpcfg[index] >> 3 & 3) {
    case 1: {  // TOR
      const auto low = index == 0 ? 0 : (state.pmpaddr[index - 1] & address_mask) << 2;
      range = {low, (address << 2) - 1};
      return address << 2 > low;
    }
    case 2:
      range = {address << 2, (address << 2) + 3};
      return true;  // NA4
    case 3: {       // NAPOT
      const auto ones = unsigned(__builtin_ctzll(~address));
      const auto size = 8ULL << ones;
      const auto low = (address & ~((2ULL << ones) - 1)) << 2;
      range = {low, low + size - 1};
      return true;
    }
    default:
      return false;
  }
}

/// Whether the address is one that the paging mode can translate: the unused high bits all equal the highest used one
/// (12.4.1).
bool canonical(std::uint64_t address, unsigned levels) {
  const unsigned unused = 64 - (12 + 9 * levels);
  return std::uint64_t(std::int64_t(address << unused) >> unused) == address;
}

/// A page-table entry that breaks a rule of its format: it faults whatever the access (12.3.2 step 3, 13, 14).
bool malformed(std::uint64_t entry, unsigned level, std::uint64_t menvcfg) {
  if (!(entry & pte::v) || (entry & (pte::r | pte::w)) == pte::w || (entry & pte::reserved)) return true;
  const bool leaf = entry & (pte::r | pte::x);
  const auto memory_type = entry & pte::pbmt;
  if (!leaf) return entry & (pte::pbmt | pte::n | pte::d | pte::a | pte::u);
  if (memory_type == pte::pbmt || (memory_type && !(menvcfg & envcfg::pbmte))) return true;
  const auto ppn = entry >> pte::ppn_shift & pte::ppn_mask;
  if (entry & pte::n) return level != 0 || (ppn & 0xf) != 8;  // Svnapot: only 64 KiB
  return ppn & ((1ULL << (9 * level)) - 1);                   // misaligned superpage
}

}  // namespace

std::uint8_t Hart::pmp_permissions(std::uint64_t address, std::uint64_t length, Privilege privilege) const {
  // Most often the first entry permits everything: NAPOT, with R, W and X, of 2^57 bytes.
  constexpr std::uint8_t permits_all = 3 << 3 | 7;
  constexpr std::uint64_t all_addresses = (1ULL << 54) - 1;
  if ((state_.pmpcfg[0] & permits_all) == permits_all && (state_.pmpaddr[0] & all_addresses) == all_addresses &&
      address + length <= 1ULL << 57)
    return 7;
  const auto last = address + length - 1;
  for (unsigned i = 0; i < pmp_entries; i++) {
    Range range;
    if (!pmp_range(state_, i, range) || range.low > last || range.last < address) continue;
    if (range.low > address || range.last < last) return 0;  // an access must lie in the entry as a whole
    const auto config = state_.pmpcfg[i];
    return privilege == Privilege::machine && !(config & 0x80) ? 7 : config & 7;
  }
  return privilege == Privilege::machine ? 7 : 0;
}

bool Hart::pmp_allows(std::uint64_t address, std::uint64_t length, Access access, Privilege privilege) const {
  return pmp_permissions(address, length, privilege) & permission_bit(access);
}

Privilege Hart::data_privilege() const {
  return state_.mstatus & status::mprv ? Privilege(state_.mstatus >> status::mpp_shift & 3) : privilege();
}

bool Hart::translate(std::uint64_t address, Access access, Privilege privilege, Translation& out, Cause& fault,
                     bool update) {
  const auto mode = Paging(state_.satp >> 60);
  if (privilege != Privilege::machine && mode != Paging::bare) {
    counters_.tlb_misses++;
    return walk(address, access, privilege, out, fault, update);
  }
  out = {.physical = address, .leaf_bits = page_shift, .load = true, .store = true, .fetch = true};
  return true;
}

/// Sets A, and D for a store, by compare-and-swap; `retry` when another hart changed the entry meanwhile (12.3.2 step
/// 9).
bool Hart::update_entry(std::uint64_t entry_address, std::uint64_t entry, Access access, bool& retry) {
  const auto wanted = entry | pte::a | (access == Access::store ? pte::d : 0);
  if (!pmp_allows(entry_address, 8, Access::store, Privilege::supervisor)) return false;
  auto* cell = reinterpret_cast<std::uint64_t*>(own_page(entry_address) + (entry_address & page_mask));
  const auto exchange = [&] {
    retry = !__atomic_compare_exchange_n(cell, &entry, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
  };
  if (reservations_.watched(entry_address & ~page_mask))
    reservations_.store(config_.id, entry_address, 8, exchange);
  else
    exchange();
  return true;
}

bool Hart::walk(std::uint64_t address, Access access, Privilege privilege, Translation& out, Cause& fault,
                bool update) {
  const auto levels = paging_levels(Paging(state_.satp >> 60));
  fault = page_fault(access);
  if (!canonical(address, levels)) return false;
  auto table = (state_.satp & pte::ppn_mask) << page_shift;
  out.global = false;
  for (int level = int(levels) - 1; level >= 0;) {
    const auto entry_address = table + (address >> (12 + 9 * level) & 511) * 8;
    if (!memory_.contains(entry_address, 8) || !pmp_allows(entry_address, 8, Access::load, Privilege::supervisor)) {
      fault = access_fault(access);
      return false;
    }
    const auto* cell =
        reinterpret_cast<const std::uint64_t*>(memory_.page_for_read(entry_address) + (entry_address & page_mask));
    const auto entry = __atomic_load_n(cell, __ATOMIC_ACQUIRE);
    if (malformed(entry, unsigned(level), state_.menvcfg)) return false;
    out.global |= (entry & pte::g) != 0;  // of a pointer it holds for all below (12.3.1)
    const auto ppn = entry >> pte::ppn_shift & pte::ppn_mask;
    if (!(entry & (pte::r | pte::x))) {
      table = ppn << page_shift;
      level--;
      continue;
    }
    const bool user_page = entry & pte::u;
    const bool reachable = privilege == Privilege::user
                               ? user_page
                               : !user_page || (access != Access::fetch && (state_.mstatus & status::sum));
    out.load = reachable && ((entry & pte::r) || ((entry & pte::x) && (state_.mstatus & status::mxr)));
    out.store = reachable && (entry & pte::w);
    out.fetch = reachable && (entry & pte::x) && !(privilege == Privilege::supervisor && user_page);
    if (!(access == Access::load ? out.load : access == Access::store ? out.store : out.fetch)) return false;
    if (!(entry & pte::a) || (access == Access::store && !(entry & pte::d))) {
      bool retry = false;
      if (!update || !(state_.menvcfg & envcfg::adue)) return false;  // Svade
      if (!update_entry(entry_address, entry, access, retry)) {
        fault = access_fault(access);
        return false;
      }
      if (retry) continue;  // look at the entry again
    }
    if (!(entry & pte::d) && access != Access::store) out.store = false;  // the first store must set D
    out.leaf_bits = entry & pte::n ? 16 : 12 + 9 * unsigned(level);
    const auto offset_mask = (1ULL << out.leaf_bits) - 1;
    out.physical = ((ppn << page_shift) & ~offset_mask) | (address & offset_mask);
    return true;
  }
  return false;
}

std::byte* Hart::fill_tlb(std::uint64_t address, Access access, const Translation& translation, Privilege privilege) {
  const auto page = address & ~page_mask;
  const auto physical = translation.physical & ~page_mask;
  const auto allowed =
      pmp_permissions(physical, page_size, privilege);  // 0 when the page is not all alike: then it is not cached
  const bool store = access == Access::store && translation.store && (allowed & 2) && !reservations_.watched(physical);
  auto& tlb = access == Access::fetch ? *fetch_ : *data_;
  if (!store && memory_.shared(physical)) {
    memory_.note_reader(physical, config_.id);
    lookups_.add(physical, tlb, Tlb::index(address));
  }
  auto* host = store ? own_page(physical) : const_cast<std::byte*>(memory_.page_for_read(physical));
  tlb.note(address, unsigned(translation.leaf_bits));
  auto& entry = tlb.at(address);
  if (Tlb::page(entry) != page || tlb.physical_at(address) != (physical | translation.leaf_bits) ||
      entry.addend != reinterpret_cast<std::uintptr_t>(host) - page)
    entry = {};
  entry.addend = reinterpret_cast<std::uintptr_t>(host) - page;
  tlb.physical_at(address) = physical | translation.leaf_bits;
  if (!translation.global) (access == Access::fetch ? *code_view_ : *data_view_).only_global = false;
  if (translation.load && (allowed & 1)) entry.load = page;
  if (store) entry.store = page;
  if (translation.fetch && (allowed & 4)) entry.fetch = page;
  return host;
}

}  // namespace doppel::riscv64
