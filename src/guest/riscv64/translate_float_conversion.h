#pragma once
// Conversions between numbers of different kinds (Unprivileged ISA 20.7, 21.5, 21.6) and roundings to integers (25.3)
// in the IR. Included by translate.cc.
#include <optional>

#include "guest/riscv64/translate_float.h"

namespace doppel::riscv64::translation {

/// How the instruction rounds to an integer, nothing where the interpreter must do it.
inline std::optional<ir::Rounding> integer_rounding(T& t, const I& i) {
  using ir::Rounding;
  constexpr Rounding modes[] = {Rounding::to_nearest, Rounding::to_zero, Rounding::down, Rounding::up};
  if (!t.mode.floating_point) return std::nullopt;
  if (i.rm == dynamic) return Rounding::dynamic;
  return i.rm < std::size(modes) ? std::optional(modes[i.rm]) : std::nullopt;
}

template <Type integer, Type type>
void to_integer(T& t, const I& i) {
  const auto rounding = integer_rounding(t, i);
  if (!rounding) return float_by_interpreter(t, i);
  t.set_x(i.rd, t.builder.toint(integer, type, *rounding, read_float<type>(t, i.rs1)));
  t.dirty_float();
}

/// The bits from which on a number does not fit into an unsigned integer, however it is rounded, or not into a signed
/// one of 64 bits.
template <Type integer, Type type>
constexpr std::uint64_t unsigned_limit() {
  if (type == Type::f64) return integer == Type::i64 ? 0x43e0'0000'0000'0000 : 0x41ef'ffff'ffe0'0001;
  return integer == Type::i64 ? 0x5f00'0000 : 0x4f80'0000;
}
/// What is not negative and fits into a signed integer of 64 bits is converted to that; else it is the interpreter's.
template <Type integer, Type type>
void to_unsigned(T& t, const I& i) {
  const auto rounding = integer_rounding(t, i);
  if (!rounding) return float_by_interpreter(t, i);
  const auto all = t.builder.unary(Op::bits, Type::f64, t.f(i.rs1));
  const auto bits = type == Type::f64 ? all : with(t, Op::sub, all, ~0xffffffffULL);  // boxed, or not in the range
  const auto limit = t.constant(std::int64_t(unsigned_limit<integer, type>()));
  t.builder.guard(t.builder.compare(Condition::geu, bits, limit), true);
  const auto value = t.builder.toint(Type::i64, type, *rounding, read_float<type>(t, i.rs1));
  t.set_x(i.rd, integer == Type::i64 ? value : t.builder.sext(Type::i32, value));
  t.dirty_float();
}

/// The integers of at most this many bits are exact under every rounding mode.
constexpr unsigned precision(Type type) { return type == Type::f64 ? 53 : 24; }

/// Whether a conversion from an integer is inline; where the instruction has a rounding mode of its own it sees to it
/// that the result is exact.
inline bool converts_inline(T& t, const I& i, Type type, bool is_unsigned, Value from) {
  if (!t.mode.floating_point || mode_is_reserved(i)) return false;
  if (i.rm == dynamic) return true;
  const auto digits = precision(type);
  t.builder.guard(is_unsigned ? with(t, Op::shr, from, digits)
                              : with(t, Op::shr, with(t, Op::add, from, 1ULL << digits), digits + 1),
                  true);
  return true;
}
template <Type type, ir::FromInteger from>
void from_integer(T& t, const I& i) {
  constexpr bool is_unsigned = from == ir::FromInteger::u64;
  const auto value = t.x(i.rs1);
  if (!converts_inline(t, i, type, is_unsigned, value)) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.fromint(type, from, value));
}
/// A 32-bit integer, signed or not, is a 64-bit signed one.
template <Type type, bool sign>
void from_word(T& t, const I& i) {
  const auto value = sign ? t.builder.sext(Type::i32, t.x(i.rs1)) : t.builder.zext(Type::i32, t.x(i.rs1));
  const bool converts = type == Type::f64 ? t.mode.floating_point && !mode_is_reserved(i)  // it is exact
                                          : converts_inline(t, i, type, false, value);
  if (!converts) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.fromint(type, ir::FromInteger::i64, value));
}

inline void widen(T& t, const I& i) {  // exact, whatever the mode
  if (!t.mode.floating_point || mode_is_reserved(i)) return float_by_interpreter(t, i);
  write_float<f64>(t, i.rd, t.builder.unary(Op::fcvt, f64, read_float<f32>(t, i.rs1)));
}
inline void narrow(T& t, const I& i) {
  if (!rounds_as_host(t, i)) return float_by_interpreter(t, i);
  write_float<f32>(t, i.rd, t.builder.unary(Op::fcvt, f32, read_float<f64>(t, i.rs1)));
}
template <Type type>
void round_to_integer(T& t, const I& i) {
  const auto rounding = integer_rounding(t, i);
  if (!rounding) return float_by_interpreter(t, i);
  write_float<type>(t, i.rd, t.builder.fround(type, *rounding, read_float<type>(t, i.rs1)));
}

using From = ir::FromInteger;
constexpr auto fcvt_w_s = &to_integer<Type::i32, f32>;
constexpr auto fcvt_l_s = &to_integer<Type::i64, f32>;
constexpr auto fcvt_wu_s = &to_unsigned<Type::i32, f32>;
constexpr auto fcvt_lu_s = &to_unsigned<Type::i64, f32>;
constexpr auto fcvt_w_d = &to_integer<Type::i32, f64>;
constexpr auto fcvt_l_d = &to_integer<Type::i64, f64>;
constexpr auto fcvt_wu_d = &to_unsigned<Type::i32, f64>;
constexpr auto fcvt_lu_d = &to_unsigned<Type::i64, f64>;
constexpr auto fcvt_s_w = &from_word<f32, true>;
constexpr auto fcvt_s_wu = &from_word<f32, false>;
constexpr auto fcvt_s_l = &from_integer<f32, From::i64>;
constexpr auto fcvt_s_lu = &from_integer<f32, From::u64>;
constexpr auto fcvt_d_w = &from_word<f64, true>;
constexpr auto fcvt_d_wu = &from_word<f64, false>;
constexpr auto fcvt_d_l = &from_integer<f64, From::i64>;
constexpr auto fcvt_d_lu = &from_integer<f64, From::u64>;
constexpr auto fcvt_s_d = &narrow;
constexpr auto fcvt_d_s = &widen;
constexpr auto fround_s = &round_to_integer<f32>;
constexpr auto fround_d = &round_to_integer<f64>;

}  // namespace doppel::riscv64::translation
