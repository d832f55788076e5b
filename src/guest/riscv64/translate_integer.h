#pragma once
// RV64I, M, Zba, Zbb, Zbc, Zbs, Zbkb and Zicond (Unprivileged ISA 2, 4, 13, 28, 12) in the IR. Included by
// translate.cc.
#include "guest/riscv64/translate.h"

namespace doppel::riscv64::translation {

using ir::Condition;
using ir::Op;
using ir::Type;
using ir::Value;
using T = Translator;
using I = Instruction;

inline void by_interpreter(T& t, const I& i) { t.interpret(i, false); }
inline void by_interpreter_last(T& t, const I& i) { t.interpret(i, true); }
inline void nothing(T&, const I&) {}
inline void illegal(T& t, const I& i) { t.interpret(i, true); }

/// The 32-bit forms give their result sign-extended (2, RV64I).
inline Value result_of(T& t, Type type, Value value) { return type == Type::i32 ? t.builder.sext(type, value) : value; }

template <Op op, Type type = Type::i64>
void registers(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = t.x(i.rs2);
  t.set_x(i.rd, result_of(t, type, t.builder.binary(op, type, a, b)));
}
template <Op op, Type type = Type::i64>
void immediate(T& t, const I& i) {
  const auto a = t.x(i.rs1);
  t.set_x(i.rd, result_of(t, type, t.builder.binary(op, type, a, t.constant(i.imm))));
}
template <Condition condition>
void set_if(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = t.x(i.rs2);
  t.set_x(i.rd, t.builder.compare(condition, a, b));
}
template <Condition condition>
void set_if_immediate(T& t, const I& i) {
  const auto a = t.x(i.rs1);
  t.set_x(i.rd, t.builder.compare(condition, a, t.constant(i.imm)));
}

constexpr auto add = &registers<Op::add>;
constexpr auto sub = &registers<Op::sub>;
constexpr auto and_ = &registers<Op::and_>;
constexpr auto or_ = &registers<Op::or_>;
constexpr auto xor_ = &registers<Op::xor_>;
constexpr auto sll = &registers<Op::shl>;
constexpr auto srl = &registers<Op::shr>;
constexpr auto sra = &registers<Op::sar>;
constexpr auto slt = &set_if<Condition::lt>;
constexpr auto sltu = &set_if<Condition::ltu>;
constexpr auto addw = &registers<Op::add, Type::i32>;
constexpr auto subw = &registers<Op::sub, Type::i32>;
constexpr auto sllw = &registers<Op::shl, Type::i32>;
constexpr auto srlw = &registers<Op::shr, Type::i32>;
constexpr auto sraw = &registers<Op::sar, Type::i32>;

constexpr auto addi = &immediate<Op::add>;
constexpr auto andi = &immediate<Op::and_>;
constexpr auto ori = &immediate<Op::or_>;
constexpr auto xori = &immediate<Op::xor_>;
constexpr auto slli = &immediate<Op::shl>;
constexpr auto srli = &immediate<Op::shr>;
constexpr auto srai = &immediate<Op::sar>;
constexpr auto slti = &set_if_immediate<Condition::lt>;
constexpr auto sltiu = &set_if_immediate<Condition::ltu>;
constexpr auto slliw = &immediate<Op::shl, Type::i32>;
constexpr auto srliw = &immediate<Op::shr, Type::i32>;
constexpr auto sraiw = &immediate<Op::sar, Type::i32>;
/// With 0 it is the pseudoinstruction sext.w.
inline void addiw(T& t, const I& i) {
  const auto a = t.x(i.rs1);
  t.set_x(i.rd, t.builder.sext(Type::i32, i.imm == 0 ? a : t.builder.binary(Op::add, Type::i32, a, t.constant(i.imm))));
}

inline void lui(T& t, const I& i) { t.set_x(i.rd, t.constant(i.imm)); }
inline Value address(T& t, std::int64_t offset) {
  return t.builder.binary(Op::add, Type::i64, t.builder.page(), t.constant(offset));
}
inline void auipc(T& t, const I& i) {
  if (i.rd != 0) t.set_x(i.rd, address(t, t.offset + i.imm));
}

inline void jal(T& t, const I& i) {
  if (i.rd != 0) t.set_x(i.rd, address(t, t.offset + i.length));
  t.go_to(t.offset + i.imm);
}
inline void jalr(T& t, const I& i) {
  const auto target = t.builder.binary(Op::add, Type::i64, t.x(i.rs1), t.constant(i.imm));
  if (i.rd != 0) t.set_x(i.rd, address(t, t.offset + i.length));
  std::int64_t place;
  const bool known = t.builder.is_place(target, place) && is_near(place);  // behind an AUIPC
  known ? t.go_to(std::int64_t(place & ~1LL)) : t.go_to(target);
}
template <Condition condition>
void branch(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = t.x(i.rs2);
  t.branch(condition, a, b, t.offset + i.imm, i.length);
}
constexpr auto beq = &branch<Condition::eq>;
constexpr auto bne = &branch<Condition::ne>;
constexpr auto blt = &branch<Condition::lt>;
constexpr auto bge = &branch<Condition::ge>;
constexpr auto bltu = &branch<Condition::ltu>;
constexpr auto bgeu = &branch<Condition::geu>;

// M
constexpr auto mul = &registers<Op::mul>;
constexpr auto mulh = &registers<Op::mulhs>;
constexpr auto mulhsu = &registers<Op::mulhsu>;
constexpr auto mulhu = &registers<Op::mulhu>;
constexpr auto div = &registers<Op::divs>;
constexpr auto divu = &registers<Op::divu>;
constexpr auto rem = &registers<Op::rems>;
constexpr auto remu = &registers<Op::remu>;
constexpr auto mulw = &registers<Op::mul, Type::i32>;
constexpr auto divw = &registers<Op::divs, Type::i32>;
constexpr auto divuw = &registers<Op::divu, Type::i32>;
constexpr auto remw = &registers<Op::rems, Type::i32>;
constexpr auto remuw = &registers<Op::remu, Type::i32>;

// Zba
template <unsigned shift, bool word>
void shift_add(T& t, const I& i) {
  auto a = t.x(i.rs1);
  if (word) a = t.builder.zext(Type::i32, a);
  if (shift != 0) a = t.builder.binary(Op::shl, Type::i64, a, t.constant(shift));
  const auto b = t.x(i.rs2);
  t.set_x(i.rd, t.builder.binary(Op::add, Type::i64, a, b));
}
constexpr auto add_uw = &shift_add<0, true>;
constexpr auto sh1add = &shift_add<1, false>;
constexpr auto sh2add = &shift_add<2, false>;
constexpr auto sh3add = &shift_add<3, false>;
constexpr auto sh1add_uw = &shift_add<1, true>;
constexpr auto sh2add_uw = &shift_add<2, true>;
constexpr auto sh3add_uw = &shift_add<3, true>;
inline void slli_uw(T& t, const I& i) {
  const auto a = t.builder.zext(Type::i32, t.x(i.rs1));
  t.set_x(i.rd, t.builder.binary(Op::shl, Type::i64, a, t.constant(i.imm)));
}

// Zbb, Zbkb
inline Value inverted(T& t, Value a) { return t.builder.binary(Op::xor_, Type::i64, a, t.constant(-1)); }
constexpr auto andn = &registers<Op::andn>;
inline void orn(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = inverted(t, t.x(i.rs2));
  t.set_x(i.rd, t.builder.binary(Op::or_, Type::i64, a, b));
}
inline void xnor(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = t.x(i.rs2);
  t.set_x(i.rd, inverted(t, t.builder.binary(Op::xor_, Type::i64, a, b)));
}
template <Op op, Type type = Type::i64>
void unary(T& t, const I& i) {
  t.set_x(i.rd, result_of(t, type, t.builder.unary(op, type, t.x(i.rs1))));
}
constexpr auto clz = &unary<Op::clz>;
constexpr auto ctz = &unary<Op::ctz>;
constexpr auto cpop = &unary<Op::popcount>;
constexpr auto clzw = &unary<Op::clz, Type::i32>;
constexpr auto ctzw = &unary<Op::ctz, Type::i32>;
constexpr auto cpopw = &unary<Op::popcount, Type::i32>;
constexpr auto rev8 = &unary<Op::bswap>;
inline void sext_b(T& t, const I& i) { t.set_x(i.rd, t.builder.sext(Type::i8, t.x(i.rs1))); }
inline void sext_h(T& t, const I& i) { t.set_x(i.rd, t.builder.sext(Type::i16, t.x(i.rs1))); }
inline void zext_h(T& t, const I& i) { t.set_x(i.rd, t.builder.zext(Type::i16, t.x(i.rs1))); }
template <Condition first_if>
void select_of_two(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = t.x(i.rs2);
  const auto first = t.builder.compare(first_if, a, b);
  t.set_x(i.rd, t.builder.ternary(Op::select, Type::i64, first, a, b));
}
constexpr auto min = &select_of_two<Condition::lt>;
constexpr auto minu = &select_of_two<Condition::ltu>;
constexpr auto max = &select_of_two<Condition::ge>;
constexpr auto maxu = &select_of_two<Condition::geu>;
constexpr auto rol = &registers<Op::rol>;
constexpr auto ror = &registers<Op::ror>;
constexpr auto rori = &immediate<Op::ror>;
constexpr auto rolw = &registers<Op::rol, Type::i32>;
constexpr auto rorw = &registers<Op::ror, Type::i32>;
constexpr auto roriw = &immediate<Op::ror, Type::i32>;
/// All ones in each byte that is not zero: the carry out of a byte's low seven bits, or its own highest, spread.
inline void orc_b(T& t, const I& i) {
  constexpr std::int64_t low_bits = 0x7f7f'7f7f'7f7f'7f7f;
  auto& b = t.builder;
  const auto a = t.x(i.rs1), low = t.constant(low_bits);
  auto high = b.binary(Op::add, Type::i64, b.binary(Op::and_, Type::i64, a, low), low);
  high = b.binary(Op::andn, Type::i64, b.binary(Op::or_, Type::i64, high, a), low);
  const auto ones = b.binary(Op::sub, Type::i64, high, b.binary(Op::shr, Type::i64, high, t.constant(7)));
  t.set_x(i.rd, b.binary(Op::or_, Type::i64, ones, high));
}
/// The first argument's low half, byte or halfword, and above it the second's.
template <Type part>
void packed(T& t, const I& i) {
  const auto low = t.builder.zext(part, t.x(i.rs1)), high = t.builder.zext(part, t.x(i.rs2));
  const auto above = t.builder.binary(Op::shl, Type::i64, high, t.constant(8 * ir::bytes(part)));
  const auto all = t.builder.binary(Op::or_, Type::i64, low, above);
  t.set_x(i.rd, part == Type::i16 ? t.builder.sext(Type::i32, all) : all);
}
constexpr auto pack = &packed<Type::i32>;
constexpr auto packh = &packed<Type::i8>;
constexpr auto packw = &packed<Type::i16>;
/// Reverses the bits in each byte: halves, quarters, single bits change places.
inline void brev8(T& t, const I& i) {
  auto& b = t.builder;
  auto a = t.x(i.rs1);
  const auto swap = [&](std::int64_t mask, int distance) {
    const auto amount = t.constant(distance), kept = t.constant(mask);
    const auto down = b.binary(Op::and_, Type::i64, b.binary(Op::shr, Type::i64, a, amount), kept);
    const auto up = b.binary(Op::shl, Type::i64, b.binary(Op::and_, Type::i64, a, kept), amount);
    a = b.binary(Op::or_, Type::i64, down, up);
  };
  swap(0x0f0f'0f0f'0f0f'0f0f, 4);
  swap(0x3333'3333'3333'3333, 2);
  swap(0x5555'5555'5555'5555, 1);
  t.set_x(i.rd, a);
}
constexpr auto clmul = &registers<Op::clmul>;
constexpr auto clmulh = &registers<Op::clmulh>;
/// The product's bits from 63 on.
inline void clmulr(T& t, const I& i) {
  const auto a = t.x(i.rs1), b = t.x(i.rs2);
  const auto high = t.builder.binary(Op::shl, Type::i64, t.builder.binary(Op::clmulh, Type::i64, a, b), t.constant(1));
  const auto low = t.builder.binary(Op::shr, Type::i64, t.builder.binary(Op::clmul, Type::i64, a, b), t.constant(63));
  t.set_x(i.rd, t.builder.binary(Op::or_, Type::i64, high, low));
}
constexpr auto xperm4 = &by_interpreter;
constexpr auto xperm8 = &by_interpreter;

// Zbs
inline Value single_bit(T& t, Value amount) { return t.builder.binary(Op::shl, Type::i64, t.constant(1), amount); }
template <Op op, bool by_register>
void change_bit(T& t, const I& i) {
  const auto a = t.x(i.rs1);
  const auto bit = single_bit(t, by_register ? t.x(i.rs2) : t.constant(i.imm));
  t.set_x(i.rd, t.builder.binary(op, Type::i64, a, bit));
}
template <bool by_register>
void extract_bit(T& t, const I& i) {
  const auto a = t.x(i.rs1);
  const auto low = t.builder.binary(Op::shr, Type::i64, a, by_register ? t.x(i.rs2) : t.constant(i.imm));
  t.set_x(i.rd, t.builder.binary(Op::and_, Type::i64, low, t.constant(1)));
}
template <bool by_register>
void clear_bit(T& t, const I& i) {
  const auto a = t.x(i.rs1);
  const auto kept = inverted(t, single_bit(t, by_register ? t.x(i.rs2) : t.constant(i.imm)));
  t.set_x(i.rd, t.builder.binary(Op::and_, Type::i64, a, kept));
}
constexpr auto bset = &change_bit<Op::or_, true>;
constexpr auto bseti = &change_bit<Op::or_, false>;
constexpr auto binv = &change_bit<Op::xor_, true>;
constexpr auto binvi = &change_bit<Op::xor_, false>;
constexpr auto bclr = &clear_bit<true>;
constexpr auto bclri = &clear_bit<false>;
constexpr auto bext = &extract_bit<true>;
constexpr auto bexti = &extract_bit<false>;

// Zicond
template <bool zero_if_zero>
void conditional_zero(T& t, const I& i) {
  const auto a = t.x(i.rs1), condition = t.x(i.rs2), zero = t.constant(0);
  t.set_x(i.rd, t.builder.ternary(Op::select, Type::i64, condition, zero_if_zero ? a : zero, zero_if_zero ? zero : a));
}
constexpr auto czero_eqz = &conditional_zero<true>;
constexpr auto czero_nez = &conditional_zero<false>;

// Hints and may-be-operations
constexpr auto ntl_p1 = &nothing;
constexpr auto ntl_pall = &nothing;
constexpr auto ntl_s1 = &nothing;
constexpr auto ntl_all = &nothing;
inline void mop_r(T& t, const I& i) { t.set_x(i.rd, t.constant(0)); }
inline void mop_rr(T& t, const I& i) { t.set_x(i.rd, t.constant(0)); }

}  // namespace doppel::riscv64::translation
