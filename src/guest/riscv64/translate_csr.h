#pragma once
// Control and status registers (Unprivileged ISA 7, 20.2; Privileged ISA 12.1) in the IR: those that a kernel touches
// on every trap and a mathematical library in every function. Included by translate.cc.
#include <algorithm>
#include <cstddef>
#include <iterator>

#include "guest/riscv64/hart_state.h"
#include "guest/riscv64/translate_integer.h"
#include "ir/execution_state.h"

namespace doppel::riscv64::translation {

inline Value state_word(T& t, std::size_t offset) { return t.builder.get_state(std::int64_t(offset)); }
inline void set_state_word(T& t, std::size_t offset, Value value) { t.builder.set_state(std::int64_t(offset), value); }
inline Value execution_word(T& t, std::size_t offset) { return t.builder.get_state(std::int64_t(offset), true); }
inline void set_execution_word(T& t, std::size_t offset, Value value) {
  t.builder.set_state(std::int64_t(offset), value, true);
}
inline Value both(T& t, Op op, Value a, Value b) { return t.builder.binary(op, Type::i64, a, b); }
inline Value with(T& t, Op op, Value a, std::uint64_t b) { return both(t, op, a, t.constant(std::int64_t(b))); }
inline Value either(T& t, Value condition, Value yes, Value no) {
  return t.builder.ternary(Op::select, Type::i64, condition, yes, no);
}

/// The address of byte `offset` in the page.
inline Value address_of(T& t, std::int64_t offset) { return with(t, Op::add, t.builder.page(), std::uint64_t(offset)); }

inline void goto_address(T& t, Value address) {
  t.builder.jump_to(address);
  t.ended = true;
}

/// The word of the hart's state that has the privilege in its lowest byte, and fflags and frm in others.
inline constexpr auto small_fields = offsetof(HartState, privilege);
inline constexpr unsigned fflags_shift = 8 * (offsetof(HartState, fflags) - small_fields),
                          frm_shift = 8 * (offsetof(HartState, frm) - small_fields);
static_assert(small_fields % 8 == 0 && fflags_shift < 64 && frm_shift < 64);

enum class CsrAccess : std::uint8_t { write, set, clear };

inline Value combined(T& t, CsrAccess access, Value old, Value operand) {
  return access == CsrAccess::write ? operand
         : access == CsrAccess::set ? both(t, Op::or_, old, operand)
                                    : both(t, Op::andn, old, operand);
}
/// An access as its instruction has it.
struct CsrInstruction {
  const I& i;
  CsrAccess access;
  Value operand;
  bool writes;
};

/// A CSR of S-mode that is a word of the hart's state, and which of its bits a write keeps.
struct PlainCsr {
  std::int32_t number;
  std::size_t offset;
  std::uint64_t writable;
};
inline constexpr PlainCsr plain_csrs[] = {
    {0x105, offsetof(HartState, stvec), ~2ULL}, {0x140, offsetof(HartState, sscratch), ~0ULL},
    {0x141, offsetof(HartState, sepc), ~1ULL},  {0x142, offsetof(HartState, scause), ~0ULL},
    {0x143, offsetof(HartState, stval), ~0ULL},
};
inline void access_plain(T& t, const PlainCsr& csr, const CsrInstruction& c) {
  const auto old = state_word(t, csr.offset);
  if (c.writes) set_state_word(t, csr.offset, with(t, Op::and_, combined(t, c.access, old, c.operand), csr.writable));
  if (c.i.rd != 0) t.set_x(c.i.rd, old);
}

/// 1 where FS is Dirty.
inline Value fp_dirty(T& t, Value status) {
  return t.builder.compare(Condition::eq, with(t, Op::and_, status, status::fs), t.constant(status::fs));
}
/// The TLB of S-mode, as SUM has it.
inline Value supervisor_tlb(T& t, Value status) {
  return either(t, with(t, Op::and_, status, status::sum),
                execution_word(t, offsetof(ir::ExecutionState, tlb_with_user)),
                execution_word(t, offsetof(ir::ExecutionState, tlb_plain)));
}
/// Of two jump tables, at `offset`, the one for a status.
inline Value jump_table(T& t, Value status, std::size_t offset) {
  return either(t, with(t, Op::and_, status, status::fs), execution_word(t, offset + sizeof(void*)),
                execution_word(t, offset));
}

/// A write to sstatus: what it may change and what it gives.
struct StatusWrite {
  std::uint64_t changes;
  Value old, now;
  bool known;  // FS stays as it is, or may be set to something else, and not what a register says
};

/// Bits that only registers know are taken not to have FS in them, except where all of sstatus is written: kernels
/// hold SUM in a register over loops.
inline StatusWrite status_write(T& t, const CsrInstruction& c, Value old) {
  constexpr auto all = status::supervisor_writable;
  const bool constant = t.builder.is_constant(c.operand), whole = c.access == CsrAccess::write;
  const auto changes = constant && !whole ? std::uint64_t(t.builder.constant_of(c.operand)) & all : all;
  const auto written = [&] {
    return both(t, Op::or_, with(t, Op::and_, old, ~all),
                with(t, Op::and_, combined(t, c.access, old, c.operand), all));
  };
  const auto now = whole || !constant           ? written()
                   : c.access == CsrAccess::set ? with(t, Op::or_, old, changes)
                                                : with(t, Op::andn, old, changes);
  return {.changes = changes, .old = old, .now = now, .known = constant || whole};
}

/// Not 0 where the interpreter must write sstatus: an interrupt that waits for being enabled, pages that may be read
/// that could not, or another FS than expected.
inline Value status_needs_interpreter(T& t, const StatusWrite& w) {
  const auto rare = (w.known ? 0 : status::fs) | status::mxr;
  auto needs = with(t, Op::and_, w.old, status::mprv);
  if (w.changes & rare)
    needs = both(t, Op::or_, needs, with(t, Op::and_, both(t, Op::xor_, w.old, w.now), w.changes & rare));
  if (!(w.changes & status::sie) && !t.mode.exact_blocks) return needs;
  // Where time is a count of instructions the clock must be looked at whenever the interpreter would.
  const auto pending = execution_word(t, offsetof(ir::ExecutionState, pending));
  const auto enabled = with(t, Op::and_, w.now, status::sie);
  return both(t, Op::or_, needs, t.mode.exact_blocks ? pending : either(t, enabled, pending, t.constant(0)));
}

/// sstatus. Where FS may be another, what follows is a translation for another mode, perhaps.
inline void access_status(T& t, const CsrInstruction& c) {
  const auto old = state_word(t, offsetof(HartState, mstatus));
  const auto visible = [&] { return with(t, Op::and_, old, status::supervisor_visible); };
  if (!c.writes) return t.set_x(c.i.rd, visible());
  auto w = status_write(t, c, old);
  t.builder.guard(status_needs_interpreter(t, w), true);
  const bool fs = w.known && (w.changes & status::fs);
  if (fs) {
    w.now = both(t, Op::or_, with(t, Op::and_, w.now, ~status::sd), with(t, Op::shl, fp_dirty(t, w.now), 63));
    set_execution_word(t, offsetof(ir::ExecutionState, jumps),
                       jump_table(t, w.now, offsetof(ir::ExecutionState, jumps_of_supervisor)));
  }
  set_state_word(t, offsetof(HartState, mstatus), w.now);
  if (w.changes & status::sum) set_execution_word(t, offsetof(ir::ExecutionState, tlb), supervisor_tlb(t, w.now));
  if (c.i.rd != 0) t.set_x(c.i.rd, visible());
  if (!fs) return;
  goto_address(t, address_of(t, t.offset + c.i.length));
}

inline Value rounding_mode(T& t, Value fields) { return with(t, Op::and_, with(t, Op::shr, fields, frm_shift), 7); }
inline void set_flags(T& t, Value fields, Value flags) {
  const auto rest = with(t, Op::and_, fields, ~(0xffULL << fflags_shift));
  const auto kept = with(t, Op::shl, with(t, Op::and_, flags, 31), fflags_shift);
  set_state_word(t, small_fields, both(t, Op::or_, rest, kept));
  t.builder.clear_float_flags();
}

/// fflags, frm and fcsr where floating point is inline. Another rounding mode is the interpreter's: what follows may be
/// a translation for another mode.
inline void access_float_csr(T& t, const CsrInstruction& c) {
  const bool has_flags = c.i.imm & 1, has_mode = c.i.imm & 2;
  const unsigned mode_shift = has_flags ? 5 : 0;
  const auto fields = state_word(t, small_fields);
  const auto mode = rounding_mode(t, fields);
  auto old = has_mode ? with(t, Op::shl, mode, mode_shift) : t.constant(0);
  if (has_flags && (c.i.rd != 0 || c.access != CsrAccess::write)) {
    const auto before = with(t, Op::and_, with(t, Op::shr, fields, fflags_shift), 31);
    old = both(t, Op::or_, old, both(t, Op::or_, before, t.builder.float_flags()));
  }
  if (c.writes) {
    const auto value = combined(t, c.access, old, c.operand);
    const auto wanted = with(t, Op::and_, with(t, Op::shr, value, mode_shift), 7);
    if (has_mode) t.builder.guard(both(t, Op::xor_, wanted, mode), true);
    if (has_flags) set_flags(t, fields, value);
    t.dirty_float();
  }
  t.set_x(c.i.rd, old);
}

/// The time CSR (Unprivileged ISA 8, Privileged ISA 3.1.11, 12.1.5), where the hart knows how to compute it and may
/// read it.
inline void read_time(T& t, const I& i) {
  const bool user = t.mode.privilege == std::uint8_t(Privilege::user);
  if (t.mode.exact_blocks || t.mode.privilege == std::uint8_t(Privilege::machine)) return by_interpreter(t, i);
  const auto field = [&](std::size_t offset) { return execution_word(t, offsetof(ir::ExecutionState, time) + offset); };
  constexpr auto bit = ir::TimeFormula::on;
  auto may =
      both(t, Op::and_, field(offsetof(ir::TimeFormula, enabled)), state_word(t, offsetof(HartState, mcounteren)));
  if (user) may = both(t, Op::and_, may, state_word(t, offsetof(HartState, scounteren)));
  t.builder.guard(with(t, Op::xor_, may, bit), true);
  const auto counts = both(t, Op::sub, t.builder.host_counter(), field(offsetof(ir::TimeFormula, origin)));
  const auto units = both(t, Op::add, both(t, Op::mulhu, counts, field(offsetof(ir::TimeFormula, rate))),
                          field(offsetof(ir::TimeFormula, base)));
  t.set_x(i.rd, both(t, Op::add, with(t, Op::shr, units, ir::TimeFormula::fraction_bits),
                     field(offsetof(ir::TimeFormula, offset))));
}

template <CsrAccess access, bool immediate>
void access_csr(T& t, const I& i) {
  const CsrInstruction c{i, access, immediate ? t.constant(i.rs1) : t.x(i.rs1),
                         access == CsrAccess::write || i.rs1 != 0};
  constexpr std::int32_t fcsr = 3, counters = 0xc00, time = 0xc01, counters_end = 0xc20;
  if (i.imm >= 1 && i.imm <= fcsr && t.mode.floating_point) return access_float_csr(t, c);
  if (i.imm == time && !c.writes) return read_time(t, i);
  if (i.imm >= counters && i.imm < counters_end && !c.writes) return by_interpreter(t, i);
  if (t.mode.privilege == std::uint8_t(Privilege::supervisor)) {
    constexpr std::int32_t sstatus = 0x100;
    if (i.imm == sstatus) return access_status(t, c);
    const auto* csr = std::ranges::find(plain_csrs, i.imm, &PlainCsr::number);
    if (csr != std::end(plain_csrs)) return access_plain(t, *csr, c);
  }
  by_interpreter_last(t, i);
}
constexpr auto csrrw = &access_csr<CsrAccess::write, false>;
constexpr auto csrrs = &access_csr<CsrAccess::set, false>;
constexpr auto csrrc = &access_csr<CsrAccess::clear, false>;
constexpr auto csrrwi = &access_csr<CsrAccess::write, true>;
constexpr auto csrrsi = &access_csr<CsrAccess::set, true>;
constexpr auto csrrci = &access_csr<CsrAccess::clear, true>;

}  // namespace doppel::riscv64::translation
