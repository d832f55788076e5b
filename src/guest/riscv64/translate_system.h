#pragma once
// What changes how instructions execute (Unprivileged ISA 5, 6, 16; Privileged ISA): the interpreter does it, and
// control goes on where it says. Included by translate.cc.
#include <algorithm>
#include <cstddef>
#include <iterator>

#include "guest/riscv64/hart_state.h"
#include "guest/riscv64/translate_integer.h"
#include "ir/execution_state.h"

namespace doppel::riscv64::translation {

constexpr auto ecall = &by_interpreter_last;
constexpr auto ebreak = &by_interpreter_last;
constexpr auto fence_i = &by_interpreter_last;
/// A CSR of S-mode that is a word of the hart's state, and which of its bits are seen and can be set there.
struct PlainCsr {
  std::int32_t number;
  std::size_t offset;
  std::uint64_t readable, writable;
};
inline constexpr PlainCsr plain_csrs[] = {
    {0x100, offsetof(HartState, mstatus), status::supervisor_visible, 0},  // sstatus; what is written has its own rules
    {0x105, offsetof(HartState, stvec), ~0ULL, ~2ULL},
    {0x140, offsetof(HartState, sscratch), ~0ULL, ~0ULL},
    {0x141, offsetof(HartState, sepc), ~0ULL, ~1ULL},
    {0x142, offsetof(HartState, scause), ~0ULL, ~0ULL},
    {0x143, offsetof(HartState, stval), ~0ULL, ~0ULL},
};

enum class CsrAccess : std::uint8_t { write, set, clear };

inline Value combined(T& t, CsrAccess access, Value old, Value operand) {
  return access == CsrAccess::write ? operand
         : access == CsrAccess::set ? t.builder.binary(Op::or_, Type::i64, old, operand)
                                    : t.builder.binary(Op::andn, Type::i64, old, operand);
}

/// Sets or clears SIE and SUM, known when the code is translated, in sstatus; false for anything else.
inline bool change_status(T& t, CsrAccess access, Value old, Value operand) {
  if (access == CsrAccess::write || !t.builder.is_constant(operand)) return false;
  const auto bits = std::uint64_t(t.builder.constant_of(operand));
  if (bits & ~std::uint64_t{status::sie | status::sum}) return false;
  // An interrupt that waited for SIE is the interpreter's.
  if (access == CsrAccess::set && (bits & status::sie))
    t.builder.guard(t.builder.get_state(offsetof(ir::ExecutionState, pending), true));
  t.builder.set_state(offsetof(HartState, mstatus), combined(t, access, old, operand));
  if (bits & status::sum) {
    const auto tlb = access == CsrAccess::set ? offsetof(ir::ExecutionState, tlb_with_user)
                                              : offsetof(ir::ExecutionState, tlb_plain);
    t.builder.set_state(offsetof(ir::ExecutionState, tlb), t.builder.get_state(std::int64_t(tlb), true), true);
  }
  return true;
}

template <CsrAccess access, bool immediate>
void access_csr(T& t, const I& i) {
  const auto* csr = std::ranges::find(plain_csrs, i.imm, &PlainCsr::number);
  if (t.mode.privilege != std::uint8_t(Privilege::supervisor) || csr == std::end(plain_csrs))
    return by_interpreter_last(t, i);
  const bool writes = access == CsrAccess::write || i.rs1 != 0;
  const auto operand = immediate ? t.constant(i.rs1) : t.x(i.rs1);
  const auto old = t.builder.get_state(std::int64_t(csr->offset));
  const auto readable = [&] {
    return csr->readable == ~0ULL ? old
                                  : t.builder.binary(Op::and_, Type::i64, old, t.constant(std::int64_t(csr->readable)));
  };
  if (writes && csr->writable == 0) {
    if (!change_status(t, access, old, operand)) return by_interpreter_last(t, i);
  } else if (writes) {
    const auto value = combined(t, access, old, operand);
    t.builder.set_state(std::int64_t(csr->offset),
                        t.builder.binary(Op::and_, Type::i64, value, t.constant(std::int64_t(csr->writable))));
  }
  if (i.rd != 0) t.set_x(i.rd, readable());
}
constexpr auto csrrw = &access_csr<CsrAccess::write, false>;
constexpr auto csrrs = &access_csr<CsrAccess::set, false>;
constexpr auto csrrc = &access_csr<CsrAccess::clear, false>;
constexpr auto csrrwi = &access_csr<CsrAccess::write, true>;
constexpr auto csrrsi = &access_csr<CsrAccess::set, true>;
constexpr auto csrrci = &access_csr<CsrAccess::clear, true>;
constexpr auto pause = &by_interpreter_last;
constexpr auto wrs_nto = &by_interpreter_last;
constexpr auto wrs_sto = &by_interpreter_last;
constexpr auto sret = &by_interpreter_last;
constexpr auto mret = &by_interpreter_last;
constexpr auto wfi = &by_interpreter_last;
constexpr auto sfence_vma = &by_interpreter_last;
constexpr auto sinval_vma = &by_interpreter_last;
constexpr auto sfence_w_inval = &by_interpreter_last;
constexpr auto sfence_inval_ir = &by_interpreter_last;

}  // namespace doppel::riscv64::translation
