// Windows and the accesses in them.
#include <algorithm>

#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::Op;
using ir::Type;

namespace {

x86::Gp part(const x86::Gp& reg, unsigned size) {
  return size == 8 ? reg : size == 4 ? x86::Gp(reg.r32()) : size == 2 ? x86::Gp(reg.r16()) : x86::Gp(reg.r8());
}

}  // namespace

constexpr std::int32_t page_mask = -4096;

/// Finds what `base` + `first` on is mapped to, into `to`. The last byte decides, so that a window on two pages misses.
/// Leaves the page in rax.
void Generator::emit_look_up(const x86::Gp& to, const x86::Gp& base, std::int32_t first, const Instruction& i,
                             Label miss) {
  constexpr auto index_mask = std::int32_t((ir::tlb_entries - 1) << ir::tlb_entry_shift);
  constexpr unsigned index_shift = 12 - ir::tlb_entry_shift;
  const auto last = first + std::int32_t(i.size) - 1;
  if (first == 0) {
    a_.rorx(to, base, index_shift);
  } else {
    a_.lea(to, x86::ptr(base, first));
    a_.rorx(to, to, index_shift);
  }
  a_.and_(to.r32(), index_mask);
  a_.add(to, DOPPEL_FIELD(layout_, tlb, 8));
  if (last == 0)
    a_.mov(passing, base);
  else
    a_.lea(passing, x86::ptr(base, last));
  a_.and_(passing, page_mask);
  a_.cmp(passing, x86::qword_ptr(to, i.flag ? offsetof(ir::TlbEntry, store) : offsetof(ir::TlbEntry, load)));
  a_.jne(miss);
  a_.mov(to, x86::qword_ptr(to, offsetof(ir::TlbEntry, addend)));
}

void Generator::emit_window(Value n) {
  const auto kept = std::ranges::find(kept_windows_, n, &Kept::window);
  if (kept != kept_windows_.end()) return emit_kept_window(n, *kept);
  const auto& i = definition(n);
  const auto base = use(a(n));
  const auto first = std::int32_t(displacement_[n]);
  consume(n);
  const auto to = define(n);
  misses_.push_back({.label = a_.newLabel(),
                     .retry = a_.newLabel(),
                     .base = base,
                     .first = first,
                     .store = i.flag != 0,
                     .exit = exit_before(i),
                     .at = n});
  a_.bind(misses_.back().retry);
  emit_look_up(to, base, first, i, misses_.back().label);
}

/// While the page is that of the last round, so is what is added. Of a base that goes up the last byte tells, of one
/// that goes down the first: the other end was on the page before.
void Generator::emit_kept_window(Value n, const Kept& kept) {
  const auto& i = definition(n);
  const auto base = use(a(n));
  const auto first = std::int32_t(displacement_[n]);
  consume(n);
  looks_.push_back({.label = a_.newLabel(),
                    .miss = a_.newLabel(),
                    .resume = a_.newLabel(),
                    .base = base,
                    .kept = &kept,
                    .first = first,
                    .at = n});
  const auto& look = looks_.back();
  a_.lea(passing, x86::ptr(base, kept.upwards ? first + std::int32_t(i.size) - 1 : first));
  a_.and_(passing, page_mask);
  a_.cmp(passing, slot(kept.page_slot));
  a_.jne(look.label);
  a_.bind(look.resume);
  misses_.push_back({.label = look.miss,
                     .retry = look.label,
                     .base = base,
                     .first = first,
                     .store = i.flag != 0,
                     .exit = exit_before(i),
                     .at = n});
  info_[n].slot = std::int16_t(kept.addend_slot);
}

/// Any register will do, whatever is in it.
void Generator::emit_look(const Look& look) {
  const auto to = look.base == registers[0] ? registers[1] : registers[0];
  const auto aside = DOPPEL_FIELD(layout_, scratch, 8);
  const auto missed = a_.newLabel();
  mark(look.at, true);
  a_.bind(look.label);
  a_.mov(aside, to);
  emit_look_up(to, look.base, look.first, definition(look.at), missed);
  a_.mov(slot(look.kept->page_slot), passing);
  a_.mov(slot(look.kept->addend_slot), to);
  a_.mov(to, aside);
  a_.jmp(look.resume);
  a_.bind(missed);
  a_.mov(to, aside);
  a_.jmp(look.miss);
}

void Generator::emit_miss(const Miss& miss) {
  mark(miss.at, true);
  a_.bind(miss.label);
  a_.lea(passing, x86::ptr(miss.base, miss.first));
  a_.mov(DOPPEL_FIELD(layout_, address, 8), passing);
  a_.mov(DOPPEL_FIELD(layout_, site, 4), ir::Site{0, 0, 0, miss.store}.pack());
  // Of a window on two pages the TLB has the first, and would for ever.
  a_.add(passing, definition(miss.at).size - 1);
  a_.xor_(passing, DOPPEL_FIELD(layout_, address, 8));
  a_.test(passing, -4096);
  a_.jnz(miss.exit);
  a_.call(DOPPEL_FIELD(layout_, routines.refill, 8));
  a_.jnz(miss.retry);
  a_.jmp(miss.exit);
}

void Generator::load_element(const x86::Gp& to, const x86::Mem& cell, bool sign) {
  if (cell.size() == 8)
    a_.mov(to, cell);
  else if (cell.size() == 4)
    sign ? a_.movsxd(to, cell) : a_.mov(to.r32(), cell);
  else
    sign ? a_.movsx(to, cell) : a_.movzx(to.r32(), cell);
}

void Generator::emit_access(Value n) {
  const auto& i = definition(n);
  const auto size = ir::bytes(i.type);
  const bool is_load = ir::traits(i.op).result != "-";
  const auto base = use(a(n)), window = use(is_load ? b(n) : c(n));
  const auto cell = x86::ptr(base, window, 0, std::int32_t(displacement_[n]), size);
  std::int32_t imm;
  switch (i.op) {
    case Op::loadf: {
      consume(n);
      const auto to = define_vector(n);
      size == 8 ? a_.vmovsd(to, cell) : a_.vmovss(to, cell);
      return;
    }
    case Op::load: {
      consume(n);
      load_element(define(n, a(n)), cell, i.flag != 0);
      return;
    }
    case Op::storef: {
      const auto value = use_vector(b(n));
      size == 8 ? a_.vmovsd(cell, value) : a_.vmovss(cell, value);
      break;
    }
    default:
      if (small(b(n), imm))
        a_.mov(cell, size == 1 ? std::int8_t(imm) : size == 2 ? std::int16_t(imm) : imm);
      else
        a_.mov(cell, part(use(b(n)), size));
  }
  consume(n);
}

}  // namespace doppel::optimizing
