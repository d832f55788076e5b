#pragma once
// The host registers' parts in translated code. The order of arguments of LLVM's preserve_none convention, so that the
// optimizing generator's functions take the same registers.
#include <asmjit/x86.h>

#include <array>

#include "codegen/layout.h"
#include "ir/execution_state.h"

namespace doppel::fast {

namespace x86 = asmjit::x86;

inline const x86::Gp state = x86::r12, budget = x86::r13;
inline const std::array<x86::Gp, pinned_registers> pinned = {x86::r14, x86::r15, x86::rdi, x86::rsi, x86::rdx,
                                                             x86::rcx, x86::r8,  x86::r9,  x86::r11};
inline constexpr unsigned scratch_count = 4, vector_count = 16;
inline const std::array<x86::Gp, scratch_count> scratch = {x86::rax, x86::rbx, x86::rbp, x86::r10};

/// Bytes of the frame that translated code may spill to, at the stack pointer.
inline constexpr unsigned spill_slots = 64, frame_bytes = spill_slots * 8;

/// A field of the execution state, as a memory operand.
#define DOPPEL_FIELD(layout, member, size)  \
  ::asmjit::x86::ptr(::doppel::fast::state, \
                     (layout).execution + std::int32_t(offsetof(::doppel::ir::ExecutionState, member)), size)

/// ir::Op::dirty_float.
inline void mark_float_dirty(x86::Assembler& a, const GuestLayout& layout) {
  const auto known = a.newLabel();
  a.cmp(x86::qword_ptr(state, layout.status), 0);
  a.js(known);
  a.or_(x86::dword_ptr(state, layout.status), layout.dirty_bits[0]);
  a.or_(x86::dword_ptr(state, layout.status + 4), layout.dirty_bits[1]);
  a.bind(known);
}

/// Goes where the jump cache says for the guest address in `target`, which is lost, as is rbx (rax where that is
/// `target`); to `miss`, with `target` as it was, where it does not know.
inline void jump_through_cache(x86::Assembler& a, const GuestLayout& layout, const x86::Gp& target,
                               const asmjit::Label& miss) {
  constexpr auto index_mask = std::int32_t((ir::code_jumps - 1) << 4);
  const auto entry = target.id() == scratch[0].id() ? scratch[1] : scratch[0];
  a.rorx(entry, target, 8);
  a.xor_(entry, target);  // ir::code_jump_index, an entry's 16 bytes for every two
  a.shl(entry.r32(), 3);
  a.and_(entry.r32(), index_mask);
  a.add(entry, DOPPEL_FIELD(layout, jumps, 8));
  a.cmp(target, x86::qword_ptr(entry));
  a.jne(miss);
  a.and_(target, -4096);
  a.mov(DOPPEL_FIELD(layout, page, 8), target);
  a.jmp(x86::qword_ptr(entry, 8));
}

/// Leaves code for the guest address in rax.
inline void leave_for_rax(x86::Assembler& a, const GuestLayout& layout) {
  const auto miss = a.newLabel();
  jump_through_cache(a, layout, x86::rax, miss);
  a.bind(miss);
  a.jmp(DOPPEL_FIELD(layout, routines.to_find, 8));
}

}  // namespace doppel::fast
