#pragma once
// Comparisons, minimum and maximum, and classes; internal to floating_point.cc.
#include "guest/riscv64/float_unpacked.h"

namespace doppel::riscv64::soft {

template <typename Format>
bool is_nan(typename Format::Bits a) {
  return (a & ~Format::kSign) > Format::kInfinity;
}

template <typename Format>
bool is_signalling(typename Format::Bits a) {
  return is_nan<Format>(a) && (a & Format::kQuiet) == 0;
}

/// Orders like the numbers encoded, with -0 below +0.
template <typename Format, typename Bits = typename Format::Bits>
Bits order(Bits a) {
  return Bits((a & Format::kSign) != 0 ? ~a : a | Format::kSign);
}

/// Raises what a comparison of `a` and `b` raises, and tells whether they are ordered at all.
template <typename Format, typename Bits = typename Format::Bits>
bool ordered(Bits a, Bits b, bool signals_quiet_nans, unsigned& flags) {
  if (!is_nan<Format>(a) && !is_nan<Format>(b)) return true;
  if (signals_quiet_nans || is_signalling<Format>(a) || is_signalling<Format>(b)) flags |= kInvalid;
  return false;
}

template <typename Format, typename Bits = typename Format::Bits>
bool equal(Bits a, Bits b) {
  return a == b || Bits((a | b) & ~Format::kSign) == 0;
}

template <typename Format, typename Bits = typename Format::Bits>
bool less(Bits a, Bits b) {
  return order<Format>(a) < order<Format>(b) && !equal<Format>(a, b);
}

/// `a` or `b`, whichever is first in the order, or last. A lone NaN loses, or wins if `nan_wins`.
template <typename Format, typename Bits = typename Format::Bits>
Bits select(Bits a, Bits b, bool smaller, bool nan_wins, unsigned& flags) {
  if (!ordered<Format>(a, b, false, flags)) {
    if (nan_wins || (is_nan<Format>(a) && is_nan<Format>(b))) return Format::kCanonicalNan;
    return is_nan<Format>(a) ? b : a;
  }
  return (order<Format>(a) < order<Format>(b)) == smaller ? a : b;
}

/// The bit number of FCLASS (Unprivileged ISA 20.9).
template <typename Format>
unsigned class_number(typename Format::Bits a) {
  if (is_nan<Format>(a)) return is_signalling<Format>(a) ? 8 : 9;
  const int biased = biased_exponent<Format>(a);
  // Infinity 0, normal 1, subnormal 2, zero 3; the positive ones mirror the negative.
  const unsigned negative = biased == Format::kMaxExponent     ? 0
                            : biased != 0                      ? 1
                            : (a & Format::kFractionMask) != 0 ? 2
                                                               : 3;
  return (a & Format::kSign) != 0 ? negative : 7 - negative;
}

}  // namespace doppel::riscv64::soft
