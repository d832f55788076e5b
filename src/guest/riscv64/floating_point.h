#pragma once
// F, D, Zfhmin and Zfa arithmetic (Unprivileged ISA 20, 21, 22 and 25), bit for bit: pure functions from raw encodings
// to raw encodings. Nothing here depends on the host's floating point environment but that it is the default one
// (round to nearest even, subnormals not flushed) on the calling thread.
#include <array>
#include <cstdint>

namespace doppel::riscv64 {

/// Rounding modes, as encoded in frm and in the rm field. `rmm` is to nearest, ties away from zero.
enum class Rounding : uint8_t { rne = 0, rtz = 1, rdn = 2, rup = 3, rmm = 4 };

/// Accrued exception flags, as in fcsr. Functions only ever set them.
inline constexpr unsigned kInexact = 1;
inline constexpr unsigned kUnderflow = 2;
inline constexpr unsigned kOverflow = 4;
inline constexpr unsigned kDivideByZero = 8;
inline constexpr unsigned kInvalid = 16;

/// A binary interchange format of IEEE 754: how its encodings are laid out.
template <typename BitsType, int kExponentWidth, int kFractionWidth>
struct FloatFormat {
  using Bits = BitsType;
  static constexpr int kExponentBits = kExponentWidth;
  static constexpr int kFractionBits = kFractionWidth;
  static constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  static constexpr int kMaxExponent = (1 << kExponentBits) - 1;  ///< The biased exponent of infinities and NaNs.
  static constexpr Bits kSign = Bits(Bits{1} << (kExponentBits + kFractionBits));
  static constexpr Bits kInfinity = Bits(Bits(kMaxExponent) << kFractionBits);
  static constexpr Bits kQuiet = Bits(Bits{1} << (kFractionBits - 1));
  static constexpr Bits kFractionMask = Bits((Bits{1} << kFractionBits) - 1);
  static constexpr Bits kCanonicalNan = Bits(kInfinity | kQuiet);
};
using HalfFormat = FloatFormat<uint16_t, 5, 10>;
using SingleFormat = FloatFormat<uint32_t, 8, 23>;
using DoubleFormat = FloatFormat<uint64_t, 11, 52>;

/// The instructions on one format. Operands and results are raw encodings, not NaN-boxed. NaN results are always the
/// canonical NaN. `flags` gains the exceptions raised; pass the current fflags, since knowing that NX is already set
/// makes the host's arithmetic usable as it is. Tininess is detected after rounding (Unprivileged ISA 20.4).
template <typename Format>
struct FloatingPoint {
  using Bits = typename Format::Bits;

  static Bits add(Bits a, Bits b, Rounding rm, unsigned& flags);
  static Bits sub(Bits a, Bits b, Rounding rm, unsigned& flags);
  static Bits mul(Bits a, Bits b, Rounding rm, unsigned& flags);
  static Bits div(Bits a, Bits b, Rounding rm, unsigned& flags);
  static Bits sqrt(Bits a, Rounding rm, unsigned& flags);
  /// a * b + c, rounded once. FMSUB, FNMADD and FNMSUB flip the signs of `a` and `c` first. Infinity times zero is
  /// invalid even when `c` is a quiet NaN.
  static Bits fma(Bits a, Bits b, Bits c, Rounding rm, unsigned& flags);

  /// FMIN and FMAX: minimumNumber and maximumNumber; a lone NaN gives the other operand, -0 is less than +0.
  static Bits min(Bits a, Bits b, unsigned& flags);
  static Bits max(Bits a, Bits b, unsigned& flags);
  /// FMINM and FMAXM (Zfa): as above, but any NaN operand gives the canonical NaN.
  static Bits minm(Bits a, Bits b, unsigned& flags);
  static Bits maxm(Bits a, Bits b, unsigned& flags);

  /// Comparisons, false if either operand is a NaN. `lt` and `le` are invalid on any NaN, the others on signalling
  /// ones.
  static bool eq(Bits a, Bits b, unsigned& flags);
  static bool lt(Bits a, Bits b, unsigned& flags);
  static bool le(Bits a, Bits b, unsigned& flags);
  static bool ltq(Bits a, Bits b, unsigned& flags);
  static bool leq(Bits a, Bits b, unsigned& flags);

  /// FCLASS: exactly one of bits 0 (negative infinity) to 9 (quiet NaN) is set.
  static unsigned classify(Bits a);

  /// FROUND and FROUNDNX (Zfa): to an integer in the same format; only the second raises NX.
  static Bits round(Bits a, Rounding rm, unsigned& flags);
  static Bits roundnx(Bits a, Rounding rm, unsigned& flags);

  static Bits from_i32(int32_t value, Rounding rm, unsigned& flags);
  static Bits from_u32(uint32_t value, Rounding rm, unsigned& flags);
  static Bits from_i64(int64_t value, Rounding rm, unsigned& flags);
  static Bits from_u64(uint64_t value, Rounding rm, unsigned& flags);

  /// FCVT to integers: saturating, NaN gives the largest value; out of range raises NV and not NX. The caller
  /// sign-extends 32-bit results, the unsigned ones too.
  static int32_t to_i32(Bits a, Rounding rm, unsigned& flags);
  static uint32_t to_u32(Bits a, Rounding rm, unsigned& flags);
  static int64_t to_i64(Bits a, Rounding rm, unsigned& flags);
  static uint64_t to_u64(Bits a, Rounding rm, unsigned& flags);
  /// FCVTMOD.W.D (Zfa; only exists for doubles): truncates and wraps modulo 2^32; infinities and NaNs give 0. Flags are
  /// those of `to_i32` with RTZ.
  static int32_t to_i32_mod(Bits a, unsigned& flags);

  /// FCVT between formats. Widening is exact and ignores `rm`.
  static Bits from_f16(uint16_t a, Rounding rm, unsigned& flags);
  static Bits from_f32(uint32_t a, Rounding rm, unsigned& flags);
  static Bits from_f64(uint64_t a, Rounding rm, unsigned& flags);
};

using f16 = FloatingPoint<HalfFormat>;
using f32 = FloatingPoint<SingleFormat>;
using f64 = FloatingPoint<DoubleFormat>;

/// Whether operations may use the host's arithmetic where it is provably the same (on from the start). Results never
/// depend on it; it is the switch for tests and for the search of faults. Safe at any time from any thread.
void set_host_floating_point(bool enabled);

/// How many operations of the calling thread were done by the host's arithmetic.
uint64_t host_floating_point_operations();

/// FLI's constants (Zfa, Unprivileged ISA 25.1), indexed by the rs1 field. 2^16 does not fit a half: infinity.
extern const std::array<uint16_t, 32> f16_fli;
extern const std::array<uint32_t, 32> f32_fli;
extern const std::array<uint64_t, 32> f64_fli;

}  // namespace doppel::riscv64
