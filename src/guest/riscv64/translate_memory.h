#pragma once
// Loads, stores, atomics and fences (Unprivileged ISA 2.6, 2.7, 14, 19) in the IR. Included by translate.cc.
#include "guest/riscv64/translate_integer.h"

namespace doppel::riscv64::translation {

template <Type type, bool sign>
void load(T& t, const I& i) {
  t.set_x(i.rd, t.builder.load(type, sign, t.x(i.rs1), i.imm));
}
template <Type type>
void store(T& t, const I& i) {
  const auto base = t.x(i.rs1), value = t.x(i.rs2);
  t.builder.store(type, base, i.imm, value);
}
constexpr auto lb = &load<Type::i8, true>;
constexpr auto lh = &load<Type::i16, true>;
constexpr auto lw = &load<Type::i32, true>;
constexpr auto ld = &load<Type::i64, true>;
constexpr auto lbu = &load<Type::i8, false>;
constexpr auto lhu = &load<Type::i16, false>;
constexpr auto lwu = &load<Type::i32, false>;
constexpr auto sb = &store<Type::i8>;
constexpr auto sh = &store<Type::i16>;
constexpr auto sw = &store<Type::i32>;
constexpr auto sd = &store<Type::i64>;

/// The host keeps all orders but a store before a later load: only a fence that asks for that one costs something.
inline void fence(T& t, const I& i) {
  constexpr unsigned later_reads = 0xa, earlier_writes = 0x50;  // input counts as read, output as written
  if ((i.imm & later_reads) && (i.imm & earlier_writes)) t.builder.fence();
}
constexpr auto fence_tso = &nothing;
constexpr auto prefetch_i = &nothing;
constexpr auto prefetch_r = &nothing;
constexpr auto prefetch_w = &nothing;

constexpr auto lr_w = &by_interpreter;
constexpr auto sc_w = &by_interpreter;
constexpr auto amoswap_w = &by_interpreter;
constexpr auto amoadd_w = &by_interpreter;
constexpr auto amoxor_w = &by_interpreter;
constexpr auto amoand_w = &by_interpreter;
constexpr auto amoor_w = &by_interpreter;
constexpr auto amomin_w = &by_interpreter;
constexpr auto amomax_w = &by_interpreter;
constexpr auto amominu_w = &by_interpreter;
constexpr auto amomaxu_w = &by_interpreter;
constexpr auto lr_d = &by_interpreter;
constexpr auto sc_d = &by_interpreter;
constexpr auto amoswap_d = &by_interpreter;
constexpr auto amoadd_d = &by_interpreter;
constexpr auto amoxor_d = &by_interpreter;
constexpr auto amoand_d = &by_interpreter;
constexpr auto amoor_d = &by_interpreter;
constexpr auto amomin_d = &by_interpreter;
constexpr auto amomax_d = &by_interpreter;
constexpr auto amominu_d = &by_interpreter;
constexpr auto amomaxu_d = &by_interpreter;
constexpr auto cbo_inval = &by_interpreter;
constexpr auto cbo_clean = &by_interpreter;
constexpr auto cbo_flush = &by_interpreter;
constexpr auto cbo_zero = &by_interpreter;

}  // namespace doppel::riscv64::translation
