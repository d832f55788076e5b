#pragma once
// What changes how instructions execute (Unprivileged ISA 5, 6, 16; Privileged ISA): the interpreter does most of it,
// and control goes on where it says. Included by translate.cc.
#include "guest/riscv64/translate_csr.h"

namespace doppel::riscv64::translation {

inline void set_privilege(T& t, Value privilege) {
  const auto others = with(t, Op::and_, state_word(t, small_fields), ~0xffULL);
  set_state_word(t, small_fields, both(t, Op::or_, others, privilege));
}

/// A system call: Hart::trap for what is delegated (3.1.8, 12.1.1). The rest is the interpreter's, and so is the end of
/// a reservation.
inline void ecall(T& t, const I& i) {
  if (t.mode.privilege != std::uint8_t(Privilege::user)) return by_interpreter_last(t, i);
  constexpr auto cause = std::uint64_t(Cause::ecall_from_user);
  const auto old = state_word(t, offsetof(HartState, mstatus));
  const auto delegated = with(t, Op::and_, with(t, Op::shr, state_word(t, offsetof(HartState, medeleg)), cause), 1);
  const auto needs = both(t, Op::or_, with(t, Op::xor_, delegated, 1), with(t, Op::and_, old, status::mprv));
  t.builder.guard(both(t, Op::or_, needs, execution_word(t, offsetof(ir::ExecutionState, reserved))), true);

  const auto count = [&](Value before) { return with(t, Op::add, before, 1); };
  set_state_word(t, offsetof(HartState, unretired), count(state_word(t, offsetof(HartState, unretired))));
  set_execution_word(t, offsetof(ir::ExecutionState, exceptions),
                     count(execution_word(t, offsetof(ir::ExecutionState, exceptions))));
  set_state_word(t, offsetof(HartState, scause), t.constant(cause));
  set_state_word(t, offsetof(HartState, stval), t.constant(0));
  set_state_word(t, offsetof(HartState, sepc), address_of(t, t.offset));
  constexpr unsigned sie_to_spie = 4;
  static_assert(status::sie << sie_to_spie == status::spie);
  const auto was_enabled = with(t, Op::shl, with(t, Op::and_, old, status::sie), sie_to_spie);
  const auto now = both(t, Op::or_, with(t, Op::and_, old, ~(status::spie | status::sie | status::spp)), was_enabled);
  set_state_word(t, offsetof(HartState, mstatus), now);
  set_privilege(t, t.constant(std::int64_t(Privilege::supervisor)));
  set_execution_word(t, offsetof(ir::ExecutionState, tlb), supervisor_tlb(t, now));
  set_execution_word(t, offsetof(ir::ExecutionState, jumps),
                     jump_table(t, now, offsetof(ir::ExecutionState, jumps_of_supervisor)));
  goto_address(t, with(t, Op::and_, state_word(t, offsetof(HartState, stvec)), ~3ULL));
}

/// Hart::sret (12.2.1, 3.1.6), unless an interrupt waits.
inline void sret(T& t, const I& i) {
  if (t.mode.privilege != std::uint8_t(Privilege::supervisor)) return by_interpreter_last(t, i);
  const auto old = state_word(t, offsetof(HartState, mstatus));
  const auto needs = with(t, Op::and_, old, status::tsr | status::mprv);
  t.builder.guard(both(t, Op::or_, needs, execution_word(t, offsetof(ir::ExecutionState, pending))), true);

  constexpr unsigned spie_to_sie = 4, spp_shift = 8;
  static_assert(status::spp == 1 << spp_shift);
  const auto enable = with(t, Op::shr, with(t, Op::and_, old, status::spie), spie_to_sie);
  const auto rest = with(t, Op::and_, old, ~(status::sie | status::spp));
  set_state_word(t, offsetof(HartState, mstatus), both(t, Op::or_, with(t, Op::or_, rest, status::spie), enable));
  const auto to = with(t, Op::and_, with(t, Op::shr, old, spp_shift), 1);
  set_privilege(t, to);
  set_execution_word(
      t, offsetof(ir::ExecutionState, tlb),
      either(t, to, supervisor_tlb(t, old), execution_word(t, offsetof(ir::ExecutionState, tlb_of_user))));
  set_execution_word(t, offsetof(ir::ExecutionState, jumps),
                     either(t, to, jump_table(t, old, offsetof(ir::ExecutionState, jumps_of_supervisor)),
                            jump_table(t, old, offsetof(ir::ExecutionState, jumps_of_user))));
  goto_address(t, state_word(t, offsetof(HartState, sepc)));
}
constexpr auto ebreak = &by_interpreter_last;
constexpr auto fence_i = &by_interpreter_last;
constexpr auto pause = &by_interpreter_last;
constexpr auto wrs_nto = &by_interpreter_last;
constexpr auto wrs_sto = &by_interpreter_last;
constexpr auto mret = &by_interpreter_last;
constexpr auto wfi = &by_interpreter_last;
constexpr auto sfence_vma = &by_interpreter_last;
constexpr auto sinval_vma = &by_interpreter_last;
constexpr auto sfence_w_inval = &by_interpreter_last;
constexpr auto sfence_inval_ir = &by_interpreter_last;

}  // namespace doppel::riscv64::translation
