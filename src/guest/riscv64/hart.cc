#include "guest/riscv64/hart.h"

#include <algorithm>
#include <cstring>

#include "guest/riscv64/decode.h"
#include "guest/riscv64/interpret.h"
#include "memory/racing_copy.h"

namespace doppel::riscv64 {
namespace {

// How many instructions may pass between two looks at the clock: some 10 to 20 microseconds.
constexpr std::uint64_t clock_slice = 2048, translated_clock_slice = 32768;
/// What a run that need not be exact may leave.
constexpr std::uint64_t most_left = 2 * longest_path;

}  // namespace

Hart::Hart(const HartConfig& config, GuestMemory& memory, MmioDoor& door, ReservationTable& reservations,
           HartEnvironment& environment)
    : config_(config), memory_(memory), door_(door), reservations_(reservations), environment_(environment) {
  state_.hartid = config.id;
  part_.ops = part_ops_.data();
  site_block_.ops = &site_op_;
  site_block_.count = 1;
  update_views();
}

void Hart::reset(std::uint64_t pc, Privilege privilege, std::uint64_t a0, std::uint64_t a1) {
  state_ = {};
  state_.hartid = config_.id;
  state_.pc = pc;
  state_.privilege = std::uint8_t(privilege);
  state_.x[10] = a0;
  state_.x[11] = a1;
  mtimecmp_ = ~0ULL;
  software_ = false;
  restore();
}

void Hart::restore() {
  reserve({});
  watch_at_ = 1;
  mtimecmp_ = std::min(mtimecmp_.load(), state_.mtimecmp);
  flush_translations();
  lookups_.clear();
  flush_instructions();
  blocks_.clear();
  update_views();
}

void Hart::update_views() {
  const auto now = privilege();
  const bool sum = state_.mstatus & status::sum;
  if (const auto asid = asid_of(state_.satp); asid != asid_) views_.switch_to(asid_ = asid);
  auto& fetch = view_of(now);
  fetch_ = &fetch.tlb;
  jumps_ = &fetch.blocks;
  code_view_ = &fetch;
  data_view_ = &data_view_of(data_privilege(), sum);
  data_ = &data_view_->tlb;
  execution_.tlb = data_->entry.data();
  execution_.tlb_plain = views_.supervisor().tlb.entry.data();
  execution_.tlb_with_user = views_.supervisor_with_user().tlb.entry.data();
  execution_.tlb_of_user = views_.user().tlb.entry.data();
  publish_code_tables();
}

void Hart::publish_code_tables() {
  const auto tables = [this](AddressView& view) { return std::array{view.entries(0), view.entries(rounds_inline())}; };
  execution_.jumps_of_supervisor = tables(views_.supervisor());
  execution_.jumps_of_user = tables(views_.user());
}

void Hart::flush_translations() {
  counters_.tlb_flushes++, tlb_changes_++;
  views_.for_each([](auto& view) { view.flush(); });
}

void Hart::flush_translations(std::uint64_t address, std::uint64_t length) {
  if (length == 0 || length > 64 * page_size) return flush_translations();
  counters_.tlb_flushes++, tlb_changes_++;
  const auto last = address + length - 1;
  views_.for_each([&](auto& view) {
    for (auto at = address & ~page_mask; at - (address & ~page_mask) <= last - (address & ~page_mask); at += page_size)
      view.flush_page(at);
  });
}

void Hart::flush_space(std::uint64_t asid, const std::uint64_t* address) {
  counters_.tlb_flushes++, tlb_changes_++;
  views_.of_asid(asid, [&](auto& view) { address ? view.flush_page(*address) : view.flush(); });
}

void Hart::flush_instructions() {
  decode_epoch_++;
  fenced_ = true;
  views_.for_each([](auto& view) { view.flush_blocks(); });
}

void Hart::forbid_stores(std::uint64_t physical_page) {
  tlb_changes_++;
  views_.for_each([&](auto& view) { view.tlb.forbid_stores(physical_page); });
}

void Hart::forget_pages() {
  tlb_changes_++;
  views_.for_each([](auto& view) { view.tlb.flush(); });
  lookups_.clear();
}

void Hart::add_known_pages(std::vector<std::uint64_t>& pages) {
  views_.for_each([&](auto& view) {
    view.tlb.filled.for_each([&](std::size_t n) {
      if (Tlb::page(view.tlb.entry[n]) != Tlb::none) pages.push_back(view.tlb.physical[n] & ~page_mask);
    });
  });
}

void Hart::forget_page(std::uint64_t physical_page) {
  tlb_changes_++;
  if (lookups_.forget(physical_page)) return;
  views_.for_each([&](auto& view) { view.tlb.forget_page(physical_page); });
}

/// A page for this hart to write to. If that is a copy, no hart reads what it was copied from any more.
std::byte* Hart::own_page(std::uint64_t physical) {
  bool replaced = false;
  auto* page = memory_.page_for_write(physical, replaced);
  if (!replaced) return page;
  const auto readers = memory_.readers(physical), own = 1U << config_.id;
  if (readers & ~own)
    environment_.exclusive(*this, [&] {
      for (const auto& hart : environment_.harts()) hart->forget_page(physical & ~page_mask);
    });
  else if (readers & own)
    forget_page(physical & ~page_mask);
  return page;
}

std::uint64_t Hart::steps() const { return state_.steps + (slice_ - budget_) - ahead_; }

Hart::Stop Hart::run(std::uint64_t instructions) {
  // Translated code that need not end exactly is not left in the middle of what it executes as one.
  const bool exact = !executor_ || config_.exact_runs || config_.exact_slices;
  const auto least = exact ? 1 : most_left;
  const auto end = state_.steps + (exact ? instructions : std::max(instructions, most_left));
  while (true) {
    __atomic_store_n(&execution_.limit, 0, __ATOMIC_SEQ_CST);
    if (attention_.exchange(false, std::memory_order_acq_rel)) {
      environment_.safepoint(*this);
      if (stop_.exchange(false, std::memory_order_relaxed)) return Stop::asked;
    }
    update_timers();
    if (state_.waiting) {
      if (!(pending() & state_.mie)) {
        counters_.waits++;
        return Stop::waiting;
      }
      wait(Wait::none);
    }
    take_interrupt();
    if (end - state_.steps < least) return Stop::budget;
    if (executor_) environment_.tell_time(execution_.time);
    const auto slice = std::min(end - state_.steps, slice_length());
    exact_budget_ = config_.exact_slices || (config_.exact_runs && slice == end - state_.steps);
    execute(slice);
    if (std::exchange(pause_, false)) return Stop::pause;
  }
}

std::uint64_t Hart::slice_length() const {
  return executor_ && !config_.exact_slices ? translated_clock_slice : clock_slice;
}

void Hart::execute(std::uint64_t slice) {
  slice_ = budget_ = slice;
  if (executor_)
    executor_->execute(*this);
  else
    interpret_slice();
  state_.steps += slice_ - budget_;
  counters_.instructions += slice_ - budget_;
  slice_ = budget_ = 0;
}

void Hart::interpret_slice() {
  while (budget_ > 0 && !attention_.load(std::memory_order_relaxed)) {
    const auto* block = find_block(state_.pc);
    if (!block) continue;  // the fetch trapped
    if (block->count > budget_)
      run_part(*block, state_.pc, budget_);
    else
      run_block(*block, state_.pc);
  }
}

void Hart::run_block(const Block& block, std::uint64_t pc) {
  block_ = &block;
  block_pc_ = pc;
  budget_ -= block.count;
  block.ops->handler(*this, block.ops);
}

void Hart::run_part(const Block& block, std::uint64_t pc, std::uint64_t count) {
  std::copy_n(block.ops, count, part_ops_.begin());
  const auto& next = block.ops[count];
  part_ops_[count] = {.handler = fall_through_handler(), .offset = next.offset};
  part_.count = std::uint32_t(count);
  part_.physical = block.physical;
  run_block(part_, pc);
}

bool Hart::same_bytes(const Block& block) {
  if (block.reserves) return false;  // code behind it counts too
  const auto* bytes = memory_.page_for_read(block.physical) + (block.physical & page_mask);
  for (std::uint32_t i = 0; i < block.count; i++) {
    std::uint32_t bits = 0;
    racing_copy(reinterpret_cast<std::byte*>(&bits), bytes + block.ops[i].offset, block.ops[i].length);
    if (bits != block.ops[i].bits) return false;
  }
  return true;
}

bool Hart::fetch_fault(Cause cause, std::uint64_t at, std::uint64_t pc) {
  counters_.exceptions++;
  budget_--, state_.unretired++;
  trap(std::uint64_t(cause), at, pc);
  return false;
}

/// Where the first halfword of the instruction at `pc` is; false after the trap that fetching it is. The fetch TLB has
/// the page then, if it may be fetched from as a whole.
bool Hart::fetch_address(std::uint64_t pc, std::uint64_t& physical) {
  if (fetch_->at(pc).fetch == (pc & ~page_mask)) {
    physical = (fetch_->physical_at(pc) & ~page_mask) | (pc & page_mask);
    return true;
  }
  Translation translation;
  Cause fault;
  if (!translate(pc, Access::fetch, privilege(), translation, fault)) return fetch_fault(fault, pc, pc);
  physical = translation.physical;
  if (!memory_.contains(physical, 2) || !pmp_allows(physical, 2, Access::fetch, privilege()))
    return fetch_fault(Cause::instruction_access_fault, pc, pc);
  fill_tlb(pc, Access::fetch, translation, privilege());
  return true;
}

/// The block at virtual address `pc`; null when fetching it trapped.
const Block* Hart::find_block(std::uint64_t pc) {
  const auto fault_at = [&](Cause cause, std::uint64_t at) {
    fetch_fault(cause, at, pc);
    return nullptr;
  };
  auto& jump = jumps_->at(pc);
  if (jump.pc == pc) return jump.block;
  std::uint64_t physical;
  if (!fetch_address(pc, physical)) return nullptr;
  if (fetch_->at(pc).fetch != (pc & ~page_mask)) {
    // Memory protection is finer than the page: each instruction is checked, and each halfword of it.
    std::uint16_t low;
    racing_copy(reinterpret_cast<std::byte*>(&low), memory_.page_for_read(physical) + (physical & page_mask),
                sizeof low);
    const bool more = instruction_length(low) == 4 && (physical & page_mask) != page_size - 2;
    if (more && !pmp_allows(physical + 2, 2, Access::fetch, privilege()))
      return fault_at(Cause::instruction_access_fault, pc + 2);
    if (more || instruction_length(low) == 2) return decode_alone(physical, physical + 2);
  }
  auto* block = blocks_.find(physical);
  if (block && block->epoch != decode_epoch_) {
    if (same_bytes(*block))
      block->epoch = decode_epoch_;
    else
      block = nullptr;
  }
  if (!block) {
    const auto offset = physical & page_mask;
    const auto* bytes = memory_.page_for_read(physical) + offset;
    std::uint16_t first;
    racing_copy(reinterpret_cast<std::byte*>(&first), bytes, sizeof first);
    if (offset == page_size - 2 && instruction_length(first) == 4) {
      Translation translation;
      Cause fault;
      if (!translate(pc + 2, Access::fetch, privilege(), translation, fault)) return fault_at(fault, pc + 2);
      if (!memory_.contains(translation.physical, 2) ||
          !pmp_allows(translation.physical, 2, Access::fetch, privilege()))
        return fault_at(Cause::instruction_access_fault, pc + 2);
      return decode_alone(physical, translation.physical);
    }
    if (blocks_.full()) {
      blocks_.clear();
      views_.for_each([](auto& view) { view.flush_blocks(); });
    }
    Block fresh;
    decode_block(bytes, page_size - offset, physical, fresh, across_ops_);
    fresh.epoch = decode_epoch_;
    block = blocks_.add(fresh, across_ops_);
    counters_.blocks_decoded++;
  }
  if (!executor_) jumps_->set(jump, pc, block);  // else the interpreter gets single instructions, and must come back
  return block;
}

const Block* Hart::decode_alone(std::uint64_t first, std::uint64_t second) {
  std::byte bytes[4];
  racing_copy(bytes, memory_.page_for_read(first) + (first & page_mask), 2);
  std::uint16_t low;
  std::memcpy(&low, bytes, sizeof low);
  const auto length = instruction_length(low);
  if (length == 4) racing_copy(bytes + 2, memory_.page_for_read(second) + (second & page_mask), 2);
  decode_block(bytes, length, first, across_, across_ops_);
  across_.ops = across_ops_.data();
  return &across_;
}

}  // namespace doppel::riscv64
