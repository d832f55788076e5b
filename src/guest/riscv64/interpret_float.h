#pragma once
// F, D, Zfhmin, Zfa (Unprivileged ISA 20 to 22, 25): registers, NaN boxing, rounding modes and flags around
// floating_point.h. Included by interpret.cc only.
#include "guest/riscv64/floating_point.h"
#include "guest/riscv64/interpret_memory.h"

namespace doppel::riscv64::semantics {

/// How a format lies in an f register: narrower values are boxed in ones; what is not boxed reads as the canonical NaN
/// (21.2).
template <typename F>
typename F::Bits read_float(Hart& h, unsigned r) {
  using Bits = typename F::Bits;
  if constexpr (sizeof(Bits) == 8) {
    return h.f(r);
  } else {
    constexpr U64 box = ~U64{0} << (8 * sizeof(Bits));
    constexpr Bits canonical_nan = sizeof(Bits) == 4 ? 0x7fc00000 : 0x7e00;
    return (h.f(r) & box) == box ? Bits(h.f(r)) : canonical_nan;
  }
}
template <typename Bits>
void write_float(Hart& h, unsigned r, Bits bits) {
  if constexpr (sizeof(Bits) == 8)
    h.f(r) = bits;
  else
    h.f(r) = ~U64{0} << (8 * sizeof(Bits)) | bits;
  h.dirty_fp();
}

/// The flags of one instruction, accrued at its end. What may raise one makes the state dirty (Privileged ISA 3.1.6.6).
class Flags {
 public:
  explicit Flags(Hart& h) : hart_(h), bits_(h.state().fflags) {}
  ~Flags() {
    hart_.state().fflags = std::uint8_t(bits_);
    hart_.dirty_fp();
  }
  operator unsigned&() { return bits_; }

 private:
  Hart& hart_;
  unsigned bits_;
};

/// The rounding mode that holds for the instruction; false when it is reserved or floating point is off: illegal.
inline bool rounding(Hart& h, const Op& i, Rounding& out) {
  const auto mode = i.rm == 7 ? h.state().frm : i.rm;
  out = Rounding(mode);
  return !h.fp_off() && mode <= 4;
}

template <typename F, auto operation>
bool rounded_binary(Hart& h, const Op& i) {
  Rounding rm;
  if (!rounding(h, i, rm)) return h.illegal(i);
  Flags flags(h);
  write_float(h, i.rd, operation(read_float<F>(h, i.rs1), read_float<F>(h, i.rs2), rm, flags));
  return true;
}
template <typename F, typename From, auto operation>
bool rounded_unary(Hart& h, const Op& i) {
  Rounding rm;
  if (!rounding(h, i, rm)) return h.illegal(i);
  Flags flags(h);
  write_float(h, i.rd, operation(read_float<From>(h, i.rs1), rm, flags));
  return true;
}
/// a * b + c with the signs that the four fused instructions give to the product and the addend (20.6).
template <typename F, bool negate_product, bool negate_addend>
bool fused(Hart& h, const Op& i) {
  Rounding rm;
  if (!rounding(h, i, rm)) return h.illegal(i);
  using Bits = typename F::Bits;
  constexpr Bits sign = Bits(1) << (8 * sizeof(Bits) - 1);
  Flags flags(h);
  const Bits a = read_float<F>(h, i.rs1) ^ (negate_product ? sign : 0),
             c = read_float<F>(h, i.rs3) ^ (negate_addend ? sign : 0);
  write_float(h, i.rd, F::fma(a, read_float<F>(h, i.rs2), c, rm, flags));
  return true;
}
template <typename F, auto operation>
bool exact_binary(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  Flags flags(h);
  write_float(h, i.rd, operation(read_float<F>(h, i.rs1), read_float<F>(h, i.rs2), flags));
  return true;
}
template <typename F, auto operation>
bool compare(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  Flags flags(h);
  h.x(i.rd) = operation(read_float<F>(h, i.rs1), read_float<F>(h, i.rs2), flags);
  return true;
}
template <typename F, auto combine>
bool sign_injection(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  using Bits = typename F::Bits;
  constexpr Bits sign = Bits(1) << (8 * sizeof(Bits) - 1);
  const Bits a = read_float<F>(h, i.rs1), b = read_float<F>(h, i.rs2);
  write_float(h, i.rd, Bits((a & ~sign) | (combine(a, b) & sign)));
  return true;
}
/// To an integer; 32-bit results are sign-extended, the unsigned ones too (20.7).
template <typename F, auto operation>
bool to_integer(Hart& h, const Op& i) {
  Rounding rm;
  if (!rounding(h, i, rm)) return h.illegal(i);
  Flags flags(h);
  const auto value = operation(read_float<F>(h, i.rs1), rm, flags);
  h.x(i.rd) = U64(I64(std::make_signed_t<decltype(value + 0)>(value)));
  return true;
}
template <typename F, typename Integer, auto operation>
bool from_integer(Hart& h, const Op& i) {
  Rounding rm;
  if (!rounding(h, i, rm)) return h.illegal(i);
  Flags flags(h);
  write_float(h, i.rd, operation(Integer(h.x(i.rs1)), rm, flags));
  return true;
}
template <typename F>
bool classify(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  h.x(i.rd) = F::classify(read_float<F>(h, i.rs1));
  return true;
}
template <typename Bits>
bool load_float(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  Bits value;
  if (!h.load(i, h.x(i.rs1) + U64(I64(i.imm)), value)) return false;
  write_float(h, i.rd, value);
  return true;
}
template <typename Bits>
bool store_float(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  return h.store(i, h.x(i.rs1) + U64(I64(i.imm)), Bits(h.f(i.rs2)));
}
template <typename Bits>
bool move_to_integer(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  h.x(i.rd) = U64(I64(std::make_signed_t<Bits>(Bits(h.f(i.rs1)))));
  return true;
}
template <typename Bits>
bool move_from_integer(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  write_float(h, i.rd, Bits(h.x(i.rs1)));
  return true;
}
template <const auto& constants>
bool load_constant(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  write_float(h, i.rd, constants[i.rs1]);
  return true;
}

constexpr auto sign_of_second = [](auto, auto b) { return b; };
constexpr auto inverted_sign = [](auto, auto b) { return decltype(b)(~b); };
constexpr auto product_of_signs = [](auto a, auto b) { return decltype(b)(a ^ b); };

// F
constexpr auto flw = &load_float<std::uint32_t>;
constexpr auto fsw = &store_float<std::uint32_t>;
constexpr auto fmadd_s = &fused<f32, false, false>;
constexpr auto fmsub_s = &fused<f32, false, true>;
constexpr auto fnmsub_s = &fused<f32, true, false>;
constexpr auto fnmadd_s = &fused<f32, true, true>;
constexpr auto fadd_s = &rounded_binary<f32, &f32::add>;
constexpr auto fsub_s = &rounded_binary<f32, &f32::sub>;
constexpr auto fmul_s = &rounded_binary<f32, &f32::mul>;
constexpr auto fdiv_s = &rounded_binary<f32, &f32::div>;
constexpr auto fsqrt_s = &rounded_unary<f32, f32, &f32::sqrt>;
constexpr auto fsgnj_s = &sign_injection<f32, sign_of_second>;
constexpr auto fsgnjn_s = &sign_injection<f32, inverted_sign>;
constexpr auto fsgnjx_s = &sign_injection<f32, product_of_signs>;
constexpr auto fmin_s = &exact_binary<f32, &f32::min>;
constexpr auto fmax_s = &exact_binary<f32, &f32::max>;
constexpr auto fcvt_w_s = &to_integer<f32, &f32::to_i32>;
constexpr auto fcvt_wu_s = &to_integer<f32, &f32::to_u32>;
constexpr auto fcvt_l_s = &to_integer<f32, &f32::to_i64>;
constexpr auto fcvt_lu_s = &to_integer<f32, &f32::to_u64>;
constexpr auto fmv_x_w = &move_to_integer<std::uint32_t>;
constexpr auto feq_s = &compare<f32, &f32::eq>;
constexpr auto flt_s = &compare<f32, &f32::lt>;
constexpr auto fle_s = &compare<f32, &f32::le>;
constexpr auto fclass_s = &classify<f32>;
constexpr auto fcvt_s_w = &from_integer<f32, I32, &f32::from_i32>;
constexpr auto fcvt_s_wu = &from_integer<f32, U32, &f32::from_u32>;
constexpr auto fcvt_s_l = &from_integer<f32, I64, &f32::from_i64>;
constexpr auto fcvt_s_lu = &from_integer<f32, U64, &f32::from_u64>;
constexpr auto fmv_w_x = &move_from_integer<std::uint32_t>;

// D
constexpr auto fld = &load_float<std::uint64_t>;
constexpr auto fsd = &store_float<std::uint64_t>;
constexpr auto fmadd_d = &fused<f64, false, false>;
constexpr auto fmsub_d = &fused<f64, false, true>;
constexpr auto fnmsub_d = &fused<f64, true, false>;
constexpr auto fnmadd_d = &fused<f64, true, true>;
constexpr auto fadd_d = &rounded_binary<f64, &f64::add>;
constexpr auto fsub_d = &rounded_binary<f64, &f64::sub>;
constexpr auto fmul_d = &rounded_binary<f64, &f64::mul>;
constexpr auto fdiv_d = &rounded_binary<f64, &f64::div>;
constexpr auto fsqrt_d = &rounded_unary<f64, f64, &f64::sqrt>;
constexpr auto fsgnj_d = &sign_injection<f64, sign_of_second>;
constexpr auto fsgnjn_d = &sign_injection<f64, inverted_sign>;
constexpr auto fsgnjx_d = &sign_injection<f64, product_of_signs>;
constexpr auto fmin_d = &exact_binary<f64, &f64::min>;
constexpr auto fmax_d = &exact_binary<f64, &f64::max>;
constexpr auto fcvt_s_d = &rounded_unary<f32, f64, &f32::from_f64>;
constexpr auto fcvt_d_s = &rounded_unary<f64, f32, &f64::from_f32>;
constexpr auto feq_d = &compare<f64, &f64::eq>;
constexpr auto flt_d = &compare<f64, &f64::lt>;
constexpr auto fle_d = &compare<f64, &f64::le>;
constexpr auto fclass_d = &classify<f64>;
constexpr auto fcvt_w_d = &to_integer<f64, &f64::to_i32>;
constexpr auto fcvt_wu_d = &to_integer<f64, &f64::to_u32>;
constexpr auto fcvt_l_d = &to_integer<f64, &f64::to_i64>;
constexpr auto fcvt_lu_d = &to_integer<f64, &f64::to_u64>;
constexpr auto fcvt_d_w = &from_integer<f64, I32, &f64::from_i32>;
constexpr auto fcvt_d_wu = &from_integer<f64, U32, &f64::from_u32>;
constexpr auto fcvt_d_l = &from_integer<f64, I64, &f64::from_i64>;
constexpr auto fcvt_d_lu = &from_integer<f64, U64, &f64::from_u64>;
constexpr auto fmv_x_d = &move_to_integer<std::uint64_t>;
constexpr auto fmv_d_x = &move_from_integer<std::uint64_t>;

// Zfhmin
constexpr auto flh = &load_float<std::uint16_t>;
constexpr auto fsh = &store_float<std::uint16_t>;
constexpr auto fmv_x_h = &move_to_integer<std::uint16_t>;
constexpr auto fmv_h_x = &move_from_integer<std::uint16_t>;
constexpr auto fcvt_s_h = &rounded_unary<f32, f16, &f32::from_f16>;
constexpr auto fcvt_h_s = &rounded_unary<f16, f32, &f16::from_f32>;
constexpr auto fcvt_d_h = &rounded_unary<f64, f16, &f64::from_f16>;
constexpr auto fcvt_h_d = &rounded_unary<f16, f64, &f16::from_f64>;

// Zfa
constexpr auto fli_s = &load_constant<f32_fli>;
constexpr auto fli_d = &load_constant<f64_fli>;
constexpr auto fminm_s = &exact_binary<f32, &f32::minm>;
constexpr auto fmaxm_s = &exact_binary<f32, &f32::maxm>;
constexpr auto fminm_d = &exact_binary<f64, &f64::minm>;
constexpr auto fmaxm_d = &exact_binary<f64, &f64::maxm>;
constexpr auto fround_s = &rounded_unary<f32, f32, &f32::round>;
constexpr auto froundnx_s = &rounded_unary<f32, f32, &f32::roundnx>;
constexpr auto fround_d = &rounded_unary<f64, f64, &f64::round>;
constexpr auto froundnx_d = &rounded_unary<f64, f64, &f64::roundnx>;
constexpr auto fleq_s = &compare<f32, &f32::leq>;
constexpr auto fltq_s = &compare<f32, &f32::ltq>;
constexpr auto fleq_d = &compare<f64, &f64::leq>;
constexpr auto fltq_d = &compare<f64, &f64::ltq>;
inline bool fcvtmod_w_d(Hart& h, const Op& i) {
  if (h.fp_off()) return h.illegal(i);
  Flags flags(h);
  h.x(i.rd) = U64(I64(f64::to_i32_mod(h.f(i.rs1), flags)));
  return true;
}

}  // namespace doppel::riscv64::semantics
