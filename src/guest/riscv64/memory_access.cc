#include "guest/riscv64/memory_access.h"

#include "memory/racing_copy.h"

namespace doppel::riscv64 {
namespace {

constexpr Cause access_fault(Access access) {
  return access == Access::load    ? Cause::load_access_fault
         : access == Access::store ? Cause::store_access_fault
                                   : Cause::instruction_access_fault;
}

bool aligned(std::uint64_t address, unsigned size) { return (address & (size - 1)) == 0; }

}  // namespace

bool Hart::locate(const Op& op, std::uint64_t address, unsigned size, Access access, std::uint64_t& physical) {
  const auto privilege = data_privilege();
  Translation translation;
  Cause fault;
  if (!translate(address, access, privilege, translation, fault)) return raise(op, fault, address);
  physical = translation.physical;
  if (!pmp_allows(physical, size, access, privilege)) return raise(op, access_fault(access), address);
  if (memory_.contains(physical, size)) fill_tlb(address, access, translation, privilege);
  return true;
}

bool Hart::load_slow(const Op& op, std::uint64_t address, unsigned size, std::uint64_t& value) {
  if ((address & page_mask) + size > page_size) return load_across(op, address, size, value);
  const auto changes = tlb_changes_;
  std::uint64_t physical;
  if (!locate(op, address, size, Access::load, physical)) return false;
  if (changes != tlb_changes_) return leave(op, false);
  if (memory_.contains(physical, size)) {
    const auto* host = memory_.page_for_read(physical) + (physical & page_mask);
    value = 0;
    racing_copy(reinterpret_cast<std::byte*>(&value), host, size);
    return true;
  }
  begin_device_access(op);
  const bool done = aligned(address, size) && door_.mmio_read(physical, size, value);
  ahead_ = 0;
  if (done) return true;
  return raise(op, Cause::load_access_fault, address);
}

bool Hart::load_across(const Op& op, std::uint64_t address, unsigned size, std::uint64_t& value) {
  const auto changes = tlb_changes_;
  const auto first = unsigned(page_size - (address & page_mask));
  std::uint64_t low, high;
  if (!locate(op, address, first, Access::load, low) || !locate(op, address + first, size - first, Access::load, high))
    return false;
  if (changes != tlb_changes_) return leave(op, false);
  value = 0;
  auto* bytes = reinterpret_cast<std::byte*>(&value);
  if (!memory_.contains(low, first)) return raise(op, Cause::load_access_fault, address);
  if (!memory_.contains(high, size - first)) return raise(op, Cause::load_access_fault, address + first);
  racing_copy(bytes, memory_.page_for_read(low) + (low & page_mask), first);
  racing_copy(bytes + first, memory_.page_for_read(high) + (high & page_mask), size - first);
  return true;
}

/// Stores inside one page of RAM, telling the reservations if the page is watched.
void Hart::store_part(std::uint64_t physical, const void* bytes, unsigned size) {
  auto* host = own_page(physical) + (physical & page_mask);
  const auto write = [&] { racing_copy(host, static_cast<const std::byte*>(bytes), size); };
  if (reservations_.watched(physical & ~page_mask))
    reservations_.store(config_.id, physical, size, write);
  else
    write();
}

bool Hart::store_slow(const Op& op, std::uint64_t address, unsigned size, std::uint64_t value) {
  if ((address & page_mask) + size > page_size) return store_across(op, address, size, value);
  const auto changes = tlb_changes_;
  std::uint64_t physical;
  if (!locate(op, address, size, Access::store, physical)) return false;
  if (memory_.contains(physical, size)) {
    store_part(physical, &value, size);
    return changes == tlb_changes_ || leave(op, true);
  }
  begin_device_access(op);
  const bool done = aligned(address, size) && door_.mmio_write(physical, size, value);
  ahead_ = 0;
  if (!done) return raise(op, Cause::store_access_fault, address);
  // What a store made a device ask for is seen to at once, whatever blocks the executor makes of the code around it:
  // else a run by the instruction clock would depend on the executor.
  return (!attention_.load(std::memory_order_relaxed) && changes == tlb_changes_) || leave(op, true);
}

/// Ends the block in front of the instruction or behind it, as where it has looked up pages that have been replaced.
bool Hart::leave(const Op& op, bool behind) {
  budget_ += block_->count - std::uint64_t(&op - block_->ops) - behind;
  left_behind_ = true;
  state_.pc = pc_of(op) + (behind ? op.length : 0);
  return false;
}

bool Hart::store_across(const Op& op, std::uint64_t address, unsigned size, std::uint64_t value) {
  const auto changes = tlb_changes_;
  const auto first = unsigned(page_size - (address & page_mask));
  std::uint64_t low, high;
  // Both pages are checked before a byte changes, so that a fault leaves nothing half done.
  if (!locate(op, address, first, Access::store, low) ||
      !locate(op, address + first, size - first, Access::store, high))
    return false;
  if (!memory_.contains(low, first)) return raise(op, Cause::store_access_fault, address);
  if (!memory_.contains(high, size - first)) return raise(op, Cause::store_access_fault, address + first);
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  store_part(low, bytes, first);
  store_part(high, bytes + first, size - first);
  return changes == tlb_changes_ || leave(op, true);
}

Hart::AtomicPlace Hart::locate_atomic(const Op& op, std::uint64_t address, unsigned size, Access access) {
  AtomicPlace place;
  if (!aligned(address, size)) {
    raise(op, access == Access::load ? Cause::load_misaligned : Cause::store_misaligned, address);
    return place;
  }
  const auto& entry = data_->at(address);
  if ((access == Access::load ? entry.load : entry.store) == (address & ~page_mask)) [[likely]] {
    place.host = reinterpret_cast<std::byte*>(address + entry.addend);
    place.physical = (data_->physical_at(address) & ~page_mask) | (address & page_mask);
    return place;
  }
  if (!locate(op, address, size, access, place.physical)) return place;
  if (!memory_.contains(place.physical, size)) {
    raise(op, access_fault(access), address);
    return place;
  }
  const auto offset = place.physical & page_mask;
  place.watched = reservations_.watched(place.physical & ~page_mask);
  place.host = access == Access::load ? const_cast<std::byte*>(memory_.page_for_read(place.physical)) + offset
                                      : own_page(place.physical) + offset;
  return place;
}

void Hart::reserve_watched(const AtomicPlace& place, const std::function<void()>& load) {
  const auto page = place.physical & ~page_mask;
  counters_.watched_reservations++;
  while (!reservations_.reserve(config_.id, place.physical, load))
    environment_.exclusive(*this, [&] {
      reservations_.watch(page);
      for (const auto& hart : environment_.harts()) hart->forbid_stores(page);
    });
}

bool Hart::zero_block(const Op& op, std::uint64_t address) {
  const auto changes = tlb_changes_;
  // A fault reports the address as rs1 has it, not the block's (Unprivileged ISA 19.5.4).
  std::uint64_t physical;
  if (!locate(op, address, 1, Access::store, physical)) return false;
  const auto block = physical & ~std::uint64_t{cache_block_bytes - 1};
  if (!pmp_allows(block, cache_block_bytes, Access::store, data_privilege()) ||
      !memory_.contains(block, cache_block_bytes))
    return raise(op, Cause::store_access_fault, address);
  static constexpr std::byte zeros[cache_block_bytes] = {};
  store_part(block, zeros, cache_block_bytes);
  return changes == tlb_changes_ || leave(op, true);
}

bool Hart::manage_block(const Op& op, std::uint64_t address) {
  // Zicbom: needs leave to load or to store; failing both is a store fault (Unprivileged ISA 19.5.4). Memory is
  // coherent here.
  const auto privilege = data_privilege();
  Translation translation;
  Cause fault;
  if (!translate(address, Access::load, privilege, translation, fault) &&
      !translate(address, Access::store, privilege, translation, fault))
    return raise(op,
                 fault == Cause::load_page_fault || fault == Cause::store_page_fault ? Cause::store_page_fault
                                                                                     : Cause::store_access_fault,
                 address);
  const auto block = translation.physical & ~std::uint64_t{cache_block_bytes - 1};
  if (!pmp_allows(block, cache_block_bytes, Access::load, privilege) &&
      !pmp_allows(block, cache_block_bytes, Access::store, privilege))
    return raise(op, Cause::store_access_fault, address);
  return memory_.contains(block, cache_block_bytes) || raise(op, Cause::store_access_fault, address);
}

}  // namespace doppel::riscv64
