#pragma once
// Zicsr and the privileged instructions (Unprivileged ISA 7, Privileged ISA 3.3, 12.2, 15). Included by interpret.cc
// only.
#include "guest/riscv64/interpret_float.h"

namespace doppel::riscv64::semantics {

inline bool ecall(Hart& h, const Op& i) { return h.environment_call(i); }
inline bool ebreak(Hart& h, const Op& i) { return h.raise(i, Cause::breakpoint, h.pc_of(i)); }
inline bool illegal(Hart& h, const Op& i) { return h.illegal(i); }
inline bool mret(Hart& h, const Op& i) { return h.mret(i); }
inline bool sret(Hart& h, const Op& i) { return h.sret(i); }
inline bool wfi(Hart& h, const Op& i) { return h.wait_for_interrupt(i); }
inline bool sfence_vma(Hart& h, const Op& i) { return h.sfence(i, false); }
constexpr auto sinval_vma = &sfence_vma;  // Svinval: invalidating at once is allowed (15)
inline bool sfence_w_inval(Hart& h, const Op& i) { return h.sfence(i, true); }
constexpr auto sfence_inval_ir = &sfence_w_inval;

/// Reads the CSR unless `rd` is x0 and the instruction would not read it, then writes it unless the instruction would
/// not.
template <auto combine, bool always_writes>
bool access_csr(Hart& h, const Op& i, U64 operand, bool writes) {
  U64 old = 0;
  const bool reads = !always_writes || i.rd != 32;  // CSRRW with rd = x0 must not read (7.1)
  if (reads && !h.read_csr(i, old)) return false;
  if (writes && !h.write_csr(i, combine(h.csr_base_for_update(i, old), operand))) return false;
  h.x(i.rd) = old;
  return true;
}
constexpr auto replace = [](U64, U64 b) { return b; };
constexpr auto set_bits = [](U64 a, U64 b) { return a | b; };
constexpr auto clear_bits = [](U64 a, U64 b) { return a & ~b; };
inline bool csrrw(Hart& h, const Op& i) { return access_csr<replace, true>(h, i, h.x(i.rs1), true); }
inline bool csrrs(Hart& h, const Op& i) { return access_csr<set_bits, false>(h, i, h.x(i.rs1), i.rs1 != 0); }
inline bool csrrc(Hart& h, const Op& i) { return access_csr<clear_bits, false>(h, i, h.x(i.rs1), i.rs1 != 0); }
inline bool csrrwi(Hart& h, const Op& i) { return access_csr<replace, true>(h, i, i.rs1, true); }
inline bool csrrsi(Hart& h, const Op& i) { return access_csr<set_bits, false>(h, i, i.rs1, i.rs1 != 0); }
inline bool csrrci(Hart& h, const Op& i) { return access_csr<clear_bits, false>(h, i, i.rs1, i.rs1 != 0); }

}  // namespace doppel::riscv64::semantics
