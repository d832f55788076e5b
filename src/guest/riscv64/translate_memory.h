#pragma once
// Loads, stores, atomics and fences (Unprivileged ISA 2.6, 2.7, 14, 19) in the IR. Included by translate.cc.
#include <cstddef>
#include <utility>

#include "guest/riscv64/translate_integer.h"
#include "ir/execution_state.h"

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

using Kind = ir::AtomicKind;
template <Kind kind, Type type>
void atomic(T& t, const I& i) {
  const auto address = t.x(i.rs1), operand = t.x(i.rs2);
  t.set_x(i.rd, t.builder.atomic(kind, type, address, operand));
}
constexpr auto amoswap_w = &atomic<Kind::swap, Type::i32>;
constexpr auto amoadd_w = &atomic<Kind::add, Type::i32>;
constexpr auto amoxor_w = &atomic<Kind::xor_, Type::i32>;
constexpr auto amoand_w = &atomic<Kind::and_, Type::i32>;
constexpr auto amoor_w = &atomic<Kind::or_, Type::i32>;
constexpr auto amomin_w = &atomic<Kind::min, Type::i32>;
constexpr auto amomax_w = &atomic<Kind::max, Type::i32>;
constexpr auto amominu_w = &atomic<Kind::minu, Type::i32>;
constexpr auto amomaxu_w = &atomic<Kind::maxu, Type::i32>;
constexpr auto amoswap_d = &atomic<Kind::swap, Type::i64>;
constexpr auto amoadd_d = &atomic<Kind::add, Type::i64>;
constexpr auto amoxor_d = &atomic<Kind::xor_, Type::i64>;
constexpr auto amoand_d = &atomic<Kind::and_, Type::i64>;
constexpr auto amoor_d = &atomic<Kind::or_, Type::i64>;
constexpr auto amomin_d = &atomic<Kind::min, Type::i64>;
constexpr auto amomax_d = &atomic<Kind::max, Type::i64>;
constexpr auto amominu_d = &atomic<Kind::minu, Type::i64>;
constexpr auto amomaxu_d = &atomic<Kind::maxu, Type::i64>;

/// An LR whose SC the block reaches with no access between needs no reservation: the SC is one compare-and-swap.
template <Type type>
void load_reserved(T& t, const I& i) {
  t.linked = ir::no_value;
  if (!t.reaches_store_conditional(i)) {
    // How the interpreter reserves depends on the code behind it, not on the encoding alone.
    auto looked_up = i;
    looked_up.bits = 0;
    return by_interpreter(t, looked_up);
  }
  if (i.aqrl & 1) t.builder.fence();  // LR.aqrl: no earlier store may come after it (17.1, rule 6)
  const auto value = t.builder.load_linked(type, t.x(i.rs1));
  t.set_x(i.rd, value);
  t.linked = value;
}
/// An SC alone, as kernels have it to end a reservation on the way out: it fails where there is none.
template <Type type>
void fail_unless_reserved(T& t, const I& i) {
  t.builder.guard(t.builder.get_state(offsetof(ir::ExecutionState, reserved), true), true);
  t.builder.store_right(type, t.x(i.rs1));
  t.set_x(i.rd, t.constant(1));
}
template <Type type>
void store_conditional(T& t, const I& i) {
  if (t.linked == ir::no_value) return fail_unless_reserved<type>(t, i);
  const auto address = t.x(i.rs1), value = t.x(i.rs2);
  t.set_x(i.rd, t.builder.store_conditional(type, address, std::exchange(t.linked, ir::no_value), value));
}
constexpr auto lr_w = &load_reserved<Type::i32>;
constexpr auto lr_d = &load_reserved<Type::i64>;
constexpr auto sc_w = &store_conditional<Type::i32>;
constexpr auto sc_d = &store_conditional<Type::i64>;

constexpr auto cbo_inval = &by_interpreter;
constexpr auto cbo_clean = &by_interpreter;
constexpr auto cbo_flush = &by_interpreter;
inline void cbo_zero(T& t, const I& i) {
  if (!t.mode.zero_blocks) return by_interpreter(t, i);
  t.builder.zero_block(t.x(i.rs1));
}

}  // namespace doppel::riscv64::translation
