#pragma once
// F, D, Zfhmin and Zfa (Unprivileged ISA 20 to 22, 25) in the IR. Included by translate.cc.
#include "guest/riscv64/translate_integer.h"

namespace doppel::riscv64::translation {

/// Floating point that is off, or whose rounding mode the host has not, is the interpreter's; it may change the mode.
inline void float_by_interpreter(T& t, const I& i) { t.interpret(i, !t.mode.floating_point); }

/// Rounding modes as encoded: to nearest even, towards zero, dynamic.
inline constexpr unsigned to_zero = 1, dynamic = 7;

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
/// Whether the instruction rounds as MXCSR says.
inline bool rounds_dynamically(T& t, const I& i) { return t.mode.floating_point && i.rm == dynamic; }

template <Op op, Type type>
void rounded(T& t, const I& i) {
  if (!rounds_dynamically(t, i)) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1), b = read_float<type>(t, i.rs2);
  write_float<type>(t, i.rd, t.builder.binary(op, type, a, b));
}
template <Type type>
void square_root(T& t, const I& i) {
  if (!rounds_dynamically(t, i)) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.unary(Op::fsqrt, type, read_float<type>(t, i.rs1)));
}
template <Type type, unsigned negate>
void fused(T& t, const I& i) {
  if (!rounds_dynamically(t, i)) return float_by_interpreter(t, i);
  const auto a = read_float<type>(t, i.rs1), b = read_float<type>(t, i.rs2), c = read_float<type>(t, i.rs3);
  write_float<type>(t, i.rd, t.builder.ternary(Op::fma, type, a, b, c, negate));
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
}
template <Type integer, Type type>
void to_integer(T& t, const I& i) {
  const bool inline_mode = t.mode.floating_point && (i.rm == dynamic || i.rm == to_zero);
  if (!inline_mode) return float_by_interpreter(t, i);
  const auto value = t.builder.toint(integer, type, i.rm == to_zero, read_float<type>(t, i.rs1));
  t.set_x(i.rd, value);
}
/// Whether a conversion from an integer is inline: an exact one is under every mode that there is.
inline bool converts_inline(T& t, const I& i, bool exact) {
  return exact ? t.mode.floating_point && !mode_is_reserved(i) : rounds_dynamically(t, i);
}
template <Type type, Type integer, bool exact = false>
void from_integer(T& t, const I& i) {
  if (!converts_inline(t, i, exact)) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.fromint(type, integer, t.x(i.rs1)));
}
/// A 32-bit unsigned integer is a 64-bit signed one.
template <Type type, bool exact = false>
void from_unsigned(T& t, const I& i) {
  if (!converts_inline(t, i, exact)) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.fromint(type, Type::i64, t.builder.zext(Type::i32, t.x(i.rs1))));
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
template <Type to, Type from>
void convert(T& t, const I& i) {
  // Widening is exact, whatever the mode.
  if (!converts_inline(t, i, to == Type::f64)) return float_by_interpreter(t, i);
  write_float<to>(t, i.rd, t.builder.unary(Op::fcvt, to, read_float<from>(t, i.rs1)));
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
constexpr auto fcvt_w_s = &to_integer<Type::i32, f32>;
constexpr auto fcvt_l_s = &to_integer<Type::i64, f32>;
constexpr auto fmv_x_w = &to_bits<f32>;
constexpr auto fmv_w_x = &from_bits<f32>;
constexpr auto feq_s = &float_compare<f32, Condition::eq>;
constexpr auto flt_s = &float_compare<f32, Condition::lt>;
constexpr auto fle_s = &float_compare<f32, Condition::ge>;
constexpr auto fcvt_s_w = &from_integer<f32, Type::i32>;
constexpr auto fcvt_s_l = &from_integer<f32, Type::i64>;
constexpr auto fcvt_s_wu = &from_unsigned<f32>;
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
constexpr auto fcvt_s_d = &convert<f32, f64>;
constexpr auto fcvt_d_s = &convert<f64, f32>;
constexpr auto fcvt_w_d = &to_integer<Type::i32, f64>;
constexpr auto fcvt_l_d = &to_integer<Type::i64, f64>;
constexpr auto fmv_x_d = &to_bits<f64>;
constexpr auto fmv_d_x = &from_bits<f64>;
constexpr auto feq_d = &float_compare<f64, Condition::eq>;
constexpr auto flt_d = &float_compare<f64, Condition::lt>;
constexpr auto fle_d = &float_compare<f64, Condition::ge>;
constexpr auto fcvt_d_w = &from_integer<f64, Type::i32, true>;
constexpr auto fcvt_d_wu = &from_unsigned<f64, true>;
constexpr auto fcvt_d_l = &from_integer<f64, Type::i64>;

#define BY_INTERPRETER(name) constexpr auto name = &float_by_interpreter;
BY_INTERPRETER(fmin_s)
BY_INTERPRETER(fmax_s)
BY_INTERPRETER(fmin_d)
BY_INTERPRETER(fmax_d)
BY_INTERPRETER(fclass_s)
BY_INTERPRETER(fclass_d)
BY_INTERPRETER(fcvt_wu_s)
BY_INTERPRETER(fcvt_lu_s)
BY_INTERPRETER(fcvt_wu_d)
BY_INTERPRETER(fcvt_lu_d)
BY_INTERPRETER(fcvt_s_lu)
BY_INTERPRETER(fcvt_d_lu)
BY_INTERPRETER(flh)
BY_INTERPRETER(fsh)
BY_INTERPRETER(fmv_x_h)
BY_INTERPRETER(fmv_h_x)
BY_INTERPRETER(fcvt_s_h)
BY_INTERPRETER(fcvt_h_s)
BY_INTERPRETER(fcvt_d_h)
BY_INTERPRETER(fcvt_h_d)
BY_INTERPRETER(fli_s)
BY_INTERPRETER(fli_d)
BY_INTERPRETER(fminm_s)
BY_INTERPRETER(fmaxm_s)
BY_INTERPRETER(fminm_d)
BY_INTERPRETER(fmaxm_d)
BY_INTERPRETER(fround_s)
BY_INTERPRETER(froundnx_s)
BY_INTERPRETER(fround_d)
BY_INTERPRETER(froundnx_d)
BY_INTERPRETER(fcvtmod_w_d)
BY_INTERPRETER(fleq_s)
BY_INTERPRETER(fltq_s)
BY_INTERPRETER(fleq_d)
BY_INTERPRETER(fltq_d)
#undef BY_INTERPRETER

}  // namespace doppel::riscv64::translation
