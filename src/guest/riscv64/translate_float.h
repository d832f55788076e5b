#pragma once
// F, D, Zfhmin and Zfa (Unprivileged ISA 20 to 22, 25) in the IR, but for conversions. Included by
// translate.cc.
#include "guest/riscv64/floating_point.h"
#include "guest/riscv64/translate_csr.h"

namespace doppel::riscv64::translation {

/// Floating point that is off, or whose rounding mode the host has not, is the interpreter's.
constexpr auto float_by_interpreter = &by_interpreter;

/// The rounding mode that is the one in frm, as encoded.
inline constexpr unsigned dynamic = 7;

template <Type type>
Value read_float(T& t, unsigned reg) {
  return type == Type::f64 ? t.f(reg) : t.builder.unary(Op::unbox, type, t.f(reg));
}
template <Type type>
void write_float(T& t, unsigned reg, Value value) {
  t.set_f(reg, type == Type::f64 ? value : t.builder.unary(Op::box, type, value));
}
/// Whether the rounding mode is one of the two encodings that are reserved: illegal also where nothing is rounded.
inline bool mode_is_reserved(const I& i) { return i.rm == 5 || i.rm == 6; }
/// Whether the instruction rounds as MXCSR says: where it has a mode of its own, it sees to it that this is the one in
/// frm too.
inline bool rounds_as_host(T& t, const I& i) {
  if (!t.mode.floating_point) return false;
  if (i.rm == dynamic) return true;
  if (i.rm >= host_rounding_modes) return false;
  t.builder.guard(both(t, Op::xor_, rounding_mode(t, state_word(t, small_fields)), t.constant(i.rm)), true);
  return true;
}

template <Op op, Type type>
void rounded(T& t, const I& i) {
  if (!rounds_as_host(t, i)) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1), b = read_float<type>(t, i.rs2);
  write_float<type>(t, i.rd, t.builder.binary(op, type, a, b));
}
template <Type type>
void square_root(T& t, const I& i) {
  if (!rounds_as_host(t, i)) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.unary(Op::fsqrt, type, read_float<type>(t, i.rs1)));
}
template <Type type, unsigned negate>
void fused(T& t, const I& i) {
  if (!rounds_as_host(t, i)) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1), b = read_float<type>(t, i.rs2), c = read_float<type>(t, i.rs3);
  write_float<type>(t, i.rd, t.builder.ternary(Op::fma, type, a, b, c, negate));
}
/// The lesser or the greater of two; with a NaN, where there are two ways to do it, the interpreter's.
template <Op op, Type type>
void least_or_greatest(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1), b = read_float<type>(t, i.rs2);
  write_float<type>(t, i.rd, t.builder.binary(op, type, a, b));
}
template <Op op, Type type>
void sign_injection(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1);
  if (op == Op::fsgnj && i.rs1 == i.rs2) return write_float<type>(t, i.rd, a);  // fmv
  const auto b = read_float<type>(t, i.rs2);
  write_float<type>(t, i.rd, t.builder.binary(op, type, a, b));
}
template <Type type, Condition condition, bool swap = false>
void float_compare(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1), b = read_float<type>(t, i.rs2);
  t.set_x(i.rd, t.builder.fcompare(type, condition, a, b));
  t.dirty_float();
}
template <Type type>
void load_float(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.loadf(type, t.x(i.rs1), i.imm));
}
template <Type type>
void store_float(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  const auto base = t.x(i.rs1), value = t.f(i.rs2);  // the low bits, boxed or not
  t.builder.storef(type, base, i.imm, value);
}
template <Type type>
void to_bits(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  const auto all = t.builder.unary(Op::bits, Type::f64, t.f(i.rs1));
  t.set_x(i.rd, type == Type::f64 ? all : t.builder.sext(Type::i32, all));
}
template <Type type>
void from_bits(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  auto all = t.x(i.rs1);
  if (type == Type::f32)
    all = t.builder.binary(Op::or_, Type::i64, t.builder.zext(Type::i32, all), t.constant(~0xffffffffLL));
  t.set_f(i.rd, t.builder.unary(Op::frombits, Type::f64, all));
}
template <Type type>
void load_constant(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  const auto number = i.rs1;
  const auto bits = type == Type::f64 ? f64_fli[number] : f32_fli[number] | ~0xffffffffULL;
  t.set_f(i.rd, t.builder.unary(Op::frombits, Type::f64, t.constant(std::int64_t(bits))));
}

/// FCLASS (20.9): the number of the class counts from minus to plus infinity, but for the two kinds of NaN.
template <Type type>
void classify(T& t, const I& i) {
  if (!t.mode.floating_point) return float_by_interpreter(t, i);
  constexpr bool is_double = type == Type::f64;
  constexpr std::uint64_t infinity = is_double ? 0x7ff0'0000'0000'0000 : 0x7f80'0000;
  constexpr std::uint64_t least_normal = is_double ? 1ULL << 52 : 1ULL << 23;
  constexpr unsigned sign_bit = is_double ? 63 : 31, quiet_bit = is_double ? 51 : 22;
  const auto single = [&] { return t.builder.unary(Op::box, type, read_float<type>(t, i.rs1)); };
  const auto all = t.builder.unary(Op::bits, Type::f64, is_double ? t.f(i.rs1) : single());
  const auto bits = is_double ? all : t.builder.zext(Type::i32, all);
  const auto size = with(t, Op::and_, bits, (1ULL << sign_bit) - 1);
  const auto at_least = [&](std::uint64_t limit) {
    return t.builder.compare(Condition::geu, size, t.constant(std::int64_t(limit)));
  };
  const auto plus =
      with(t, Op::add, both(t, Op::add, both(t, Op::add, at_least(1), at_least(least_normal)), at_least(infinity)), 4);
  const auto minus = both(t, Op::sub, t.constant(7), plus);
  const auto number = either(t, with(t, Op::shr, bits, sign_bit), minus, plus);
  const auto nan = with(t, Op::add, with(t, Op::and_, with(t, Op::shr, bits, quiet_bit), 1), 8);
  t.set_x(i.rd, both(t, Op::shl, t.constant(1), either(t, at_least(infinity + 1), nan, number)));
}

constexpr auto f32 = Type::f32, f64 = Type::f64;

constexpr auto flw = &load_float<f32>;
constexpr auto fld = &load_float<f64>;
constexpr auto fsw = &store_float<f32>;
constexpr auto fsd = &store_float<f64>;
constexpr auto fmadd_s = &fused<f32, 0>;
constexpr auto fmsub_s = &fused<f32, 2>;
constexpr auto fnmsub_s = &fused<f32, 1>;
constexpr auto fnmadd_s = &fused<f32, 3>;
constexpr auto fadd_s = &rounded<Op::fadd, f32>;
constexpr auto fsub_s = &rounded<Op::fsub, f32>;
constexpr auto fmul_s = &rounded<Op::fmul, f32>;
constexpr auto fdiv_s = &rounded<Op::fdiv, f32>;
constexpr auto fsqrt_s = &square_root<f32>;
constexpr auto fsgnj_s = &sign_injection<Op::fsgnj, f32>;
constexpr auto fsgnjn_s = &sign_injection<Op::fsgnjn, f32>;
constexpr auto fsgnjx_s = &sign_injection<Op::fsgnjx, f32>;
constexpr auto fmv_x_w = &to_bits<f32>;
constexpr auto fmv_w_x = &from_bits<f32>;
constexpr auto feq_s = &float_compare<f32, Condition::eq>;
constexpr auto flt_s = &float_compare<f32, Condition::lt>;
constexpr auto fle_s = &float_compare<f32, Condition::ge>;
constexpr auto fmadd_d = &fused<f64, 0>;
constexpr auto fmsub_d = &fused<f64, 2>;
constexpr auto fnmsub_d = &fused<f64, 1>;
constexpr auto fnmadd_d = &fused<f64, 3>;
constexpr auto fadd_d = &rounded<Op::fadd, f64>;
constexpr auto fsub_d = &rounded<Op::fsub, f64>;
constexpr auto fmul_d = &rounded<Op::fmul, f64>;
constexpr auto fdiv_d = &rounded<Op::fdiv, f64>;
constexpr auto fsqrt_d = &square_root<f64>;
constexpr auto fsgnj_d = &sign_injection<Op::fsgnj, f64>;
constexpr auto fsgnjn_d = &sign_injection<Op::fsgnjn, f64>;
constexpr auto fsgnjx_d = &sign_injection<Op::fsgnjx, f64>;
constexpr auto fmv_x_d = &to_bits<f64>;
constexpr auto fmv_d_x = &from_bits<f64>;
constexpr auto feq_d = &float_compare<f64, Condition::eq>;
constexpr auto flt_d = &float_compare<f64, Condition::lt>;
constexpr auto fle_d = &float_compare<f64, Condition::ge>;

constexpr auto fmin_s = &least_or_greatest<Op::fmin, f32>;
constexpr auto fminm_s = &least_or_greatest<Op::fmin, f32>;
constexpr auto fmax_s = &least_or_greatest<Op::fmax, f32>;
constexpr auto fmaxm_s = &least_or_greatest<Op::fmax, f32>;
constexpr auto fleq_s = &float_compare<f32, Condition::geu>;
constexpr auto fltq_s = &float_compare<f32, Condition::ltu>;
constexpr auto fclass_s = &classify<f32>;
constexpr auto fli_s = &load_constant<f32>;
constexpr auto fmin_d = &least_or_greatest<Op::fmin, f64>;
constexpr auto fminm_d = &least_or_greatest<Op::fmin, f64>;
constexpr auto fmax_d = &least_or_greatest<Op::fmax, f64>;
constexpr auto fmaxm_d = &least_or_greatest<Op::fmax, f64>;
constexpr auto fleq_d = &float_compare<f64, Condition::geu>;
constexpr auto fltq_d = &float_compare<f64, Condition::ltu>;
constexpr auto fclass_d = &classify<f64>;
constexpr auto fli_d = &load_constant<f64>;

#define BY_INTERPRETER(name) constexpr auto name = float_by_interpreter;
BY_INTERPRETER(flh)
BY_INTERPRETER(fsh)
BY_INTERPRETER(fmv_x_h)
BY_INTERPRETER(fmv_h_x)
BY_INTERPRETER(fcvt_s_h)
BY_INTERPRETER(fcvt_h_s)
BY_INTERPRETER(fcvt_d_h)
BY_INTERPRETER(fcvt_h_d)
BY_INTERPRETER(froundnx_s)
BY_INTERPRETER(froundnx_d)
BY_INTERPRETER(fcvtmod_w_d)
#undef BY_INTERPRETER

}  // namespace doppel::riscv64::translation
