#pragma once
// Addition, multiplication, division, square root and fused multiply-add in integers; internal to floating_point.cc.
#include <utility>

#include "guest/riscv64/float_unpacked.h"

namespace doppel::riscv64::soft {

/// sign, significand * 2^(exponent - 127); bit 127 is clear, so that two of them can be added.
struct Term {
  bool sign;
  int exponent;
  Wide significand;
};

inline Term term(const Unpacked& a) { return {a.sign, a.exponent + 1, Wide{a.significand} << 63}; }

/// The exact product: 106 bits are enough, so none of the low ones shifted out is set.
inline Term product(const Unpacked& a, const Unpacked& b) {
  return {a.sign != b.sign, a.exponent + b.exponent + 2, (Wide{a.significand} * b.significand) >> 1};
}

/// The sum of two terms that are not 0. When sticky bits arise, the exponents differ so much that at most one leading
/// bit cancels, so they stay far below the rounding position.
template <typename Format>
typename Format::Bits add_terms(Term a, Term b, Rounding rm, unsigned& flags) {
  if (a.exponent < b.exponent) std::swap(a, b);
  b.significand = shift_right_jam(b.significand, a.exponent - b.exponent);
  if (a.sign == b.sign) {
    return round_and_pack<Format>(a.sign, a.exponent, a.significand + b.significand, rm, flags);
  }
  if (a.significand == b.significand) return zero<Format>(rm == Rounding::rdn);
  if (a.significand < b.significand) std::swap(a.sign, b.sign), std::swap(a.significand, b.significand);
  return round_and_pack<Format>(a.sign, a.exponent, a.significand - b.significand, rm, flags);
}

/// The sum of two zeros.
template <typename Format>
typename Format::Bits add_zeros(bool a, bool b, Rounding rm) {
  return zero<Format>(a == b ? a : rm == Rounding::rdn);
}

template <typename Format, typename Bits = typename Format::Bits>
Bits add(Bits a_bits, Bits b_bits, Rounding rm, unsigned& flags) {
  const Unpacked a = unpack<Format>(a_bits), b = unpack<Format>(b_bits);
  if (a.is_nan() || b.is_nan()) return nan_result<Format>(flags, a, b);
  if (a.is_infinity()) return b.is_infinity() && a.sign != b.sign ? invalid<Format>(flags) : a_bits;
  if (b.is_infinity()) return b_bits;
  if (a.is_zero()) return b.is_zero() ? add_zeros<Format>(a.sign, b.sign, rm) : b_bits;
  if (b.is_zero()) return a_bits;
  return add_terms<Format>(term(a), term(b), rm, flags);
}

template <typename Format, typename Bits = typename Format::Bits>
Bits mul(Bits a_bits, Bits b_bits, Rounding rm, unsigned& flags) {
  const Unpacked a = unpack<Format>(a_bits), b = unpack<Format>(b_bits);
  const bool sign = a.sign != b.sign;
  if (a.is_nan() || b.is_nan()) return nan_result<Format>(flags, a, b);
  if (a.is_infinity() || b.is_infinity()) {
    return a.is_zero() || b.is_zero() ? invalid<Format>(flags) : infinity<Format>(sign);
  }
  if (a.is_zero() || b.is_zero()) return zero<Format>(sign);
  const Term exact = product(a, b);
  return round_and_pack<Format>(sign, exact.exponent, exact.significand, rm, flags);
}

template <typename Format, typename Bits = typename Format::Bits>
Bits div(Bits a_bits, Bits b_bits, Rounding rm, unsigned& flags) {
  const Unpacked a = unpack<Format>(a_bits), b = unpack<Format>(b_bits);
  const bool sign = a.sign != b.sign;
  if (a.is_nan() || b.is_nan()) return nan_result<Format>(flags, a, b);
  if (a.is_infinity()) return b.is_infinity() ? invalid<Format>(flags) : infinity<Format>(sign);
  if (b.is_infinity()) return zero<Format>(sign);
  if (b.is_zero()) {
    if (a.is_zero()) return invalid<Format>(flags);
    flags |= kDivideByZero;
    return infinity<Format>(sign);
  }
  if (a.is_zero()) return zero<Format>(sign);
  const Wide dividend = Wide{a.significand} << 63;
  const auto quotient = uint64_t(dividend / b.significand);  // At least 63 bits.
  const bool sticky = Wide{quotient} * b.significand != dividend;
  return round_and_pack<Format>(sign, a.exponent - b.exponent, (Wide{quotient} << 64) | Wide{sticky}, rm, flags);
}

/// The integer part of the square root, one bit at a time.
inline uint64_t integer_sqrt(Wide radicand) {
  Wide remainder = radicand, root = 0;
  for (Wide bit = Wide{1} << 126; bit != 0; bit >>= 2) {
    const bool fits = remainder >= root + bit;
    if (fits) remainder -= root + bit;
    root = (root >> 1) + (fits ? bit : 0);
  }
  return uint64_t(root);
}

template <typename Format, typename Bits = typename Format::Bits>
Bits sqrt(Bits a_bits, Rounding rm, unsigned& flags) {
  const Unpacked a = unpack<Format>(a_bits);
  if (a.is_nan()) return nan_result<Format>(flags, a);
  if (a.is_zero()) return a_bits;
  if (a.sign) return invalid<Format>(flags);
  if (a.is_infinity()) return a_bits;
  const bool odd = (a.exponent & 1) != 0;
  const Wide radicand = Wide{a.significand} << (odd ? 64 : 63);
  const uint64_t root = integer_sqrt(radicand);  // 64 bits.
  const bool sticky = Wide{root} * root != radicand;
  return round_and_pack<Format>(false, a.exponent >> 1, (Wide{root} << 64) | Wide{sticky}, rm, flags);
}

template <typename Format, typename Bits = typename Format::Bits>
Bits fma(Bits a_bits, Bits b_bits, Bits c_bits, Rounding rm, unsigned& flags) {
  const Unpacked a = unpack<Format>(a_bits), b = unpack<Format>(b_bits), c = unpack<Format>(c_bits);
  const bool sign = a.sign != b.sign;
  const bool infinite_product = a.is_infinity() || b.is_infinity(), zero_product = a.is_zero() || b.is_zero();
  if (infinite_product && zero_product) return invalid<Format>(flags);
  if (a.is_nan() || b.is_nan() || c.is_nan()) return nan_result<Format>(flags, a, b, c);
  if (infinite_product) {
    return c.is_infinity() && c.sign != sign ? invalid<Format>(flags) : infinity<Format>(sign);
  }
  if (c.is_infinity()) return c_bits;
  if (zero_product) return c.is_zero() ? add_zeros<Format>(sign, c.sign, rm) : c_bits;
  const Term exact = product(a, b);
  if (c.is_zero()) return round_and_pack<Format>(sign, exact.exponent, exact.significand, rm, flags);
  return add_terms<Format>(exact, term(c), rm, flags);
}

}  // namespace doppel::riscv64::soft
