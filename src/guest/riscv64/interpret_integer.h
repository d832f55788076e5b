#pragma once
// RV64I, M, Zba, Zbb, Zbc, Zbs, Zbkb, Zbkx, Zicond, Zimop: what computes in integer registers, and jumps.
// Each name is a function of hart and operands, named as in isa.inc; included by interpret.cc only.
#include <bit>
#include <cstdint>

#include "guest/riscv64/bit_manipulation.h"
#include "guest/riscv64/hart.h"

namespace doppel::riscv64::semantics {

using U64 = std::uint64_t;
using I64 = std::int64_t;
using U32 = std::uint32_t;
using I32 = std::int32_t;

constexpr U64 sign_extend_word(U64 value) { return U64(I64(I32(value))); }
constexpr U64 zero_extend_word(U64 value) { return U32(value); }

template <auto operation>
void of_registers(Hart& h, const Op& i) {
  h.x(i.rd) = operation(h.x(i.rs1), h.x(i.rs2));
}
template <auto operation>
void of_immediate(Hart& h, const Op& i) {
  h.x(i.rd) = operation(h.x(i.rs1), U64(I64(i.imm)));
}
template <auto operation>
void of_one(Hart& h, const Op& i) {
  h.x(i.rd) = operation(h.x(i.rs1));
}
template <auto condition>
void branch(Hart& h, const Op& i) {
  h.state().pc = h.pc_of(i) + (condition(h.x(i.rs1), h.x(i.rs2)) ? I64(i.imm) : I64(i.length));
}

// RV64I (2, 4)
inline void lui(Hart& h, const Op& i) { h.x(i.rd) = U64(I64(i.imm)); }
inline void auipc(Hart& h, const Op& i) { h.x(i.rd) = h.pc_of(i) + U64(I64(i.imm)); }
inline void jal(Hart& h, const Op& i) {
  h.x(i.rd) = h.pc_of(i) + i.length;
  h.state().pc = h.pc_of(i) + U64(I64(i.imm));
}
inline void jalr(Hart& h, const Op& i) {
  const auto target = (h.x(i.rs1) + U64(I64(i.imm))) & ~1ULL;
  h.x(i.rd) = h.pc_of(i) + i.length;
  h.state().pc = target;
}
constexpr auto beq = &branch<[](U64 a, U64 b) { return a == b; }>;
constexpr auto bne = &branch<[](U64 a, U64 b) { return a != b; }>;
constexpr auto blt = &branch<[](U64 a, U64 b) { return I64(a) < I64(b); }>;
constexpr auto bge = &branch<[](U64 a, U64 b) { return I64(a) >= I64(b); }>;
constexpr auto bltu = &branch<[](U64 a, U64 b) { return a < b; }>;
constexpr auto bgeu = &branch<[](U64 a, U64 b) { return a >= b; }>;

constexpr auto addi = &of_immediate<[](U64 a, U64 b) { return a + b; }>;
constexpr auto slti = &of_immediate<[](U64 a, U64 b) -> U64 { return I64(a) < I64(b); }>;
constexpr auto sltiu = &of_immediate<[](U64 a, U64 b) -> U64 { return a < b; }>;
constexpr auto xori = &of_immediate<[](U64 a, U64 b) { return a ^ b; }>;
constexpr auto ori = &of_immediate<[](U64 a, U64 b) { return a | b; }>;
constexpr auto andi = &of_immediate<[](U64 a, U64 b) { return a & b; }>;
constexpr auto slli = &of_immediate<[](U64 a, U64 b) { return a << (b & 63); }>;
constexpr auto srli = &of_immediate<[](U64 a, U64 b) { return a >> (b & 63); }>;
constexpr auto srai = &of_immediate<[](U64 a, U64 b) { return U64(I64(a) >> (b & 63)); }>;
constexpr auto addiw = &of_immediate<[](U64 a, U64 b) { return sign_extend_word(a + b); }>;
constexpr auto slliw = &of_immediate<[](U64 a, U64 b) { return sign_extend_word(a << (b & 31)); }>;
constexpr auto srliw = &of_immediate<[](U64 a, U64 b) { return sign_extend_word(U32(a) >> (b & 31)); }>;
constexpr auto sraiw = &of_immediate<[](U64 a, U64 b) { return sign_extend_word(U64(I32(a) >> (b & 31))); }>;
constexpr auto add = &of_registers<[](U64 a, U64 b) { return a + b; }>;
constexpr auto sub = &of_registers<[](U64 a, U64 b) { return a - b; }>;
constexpr auto sll = &of_registers<[](U64 a, U64 b) { return a << (b & 63); }>;
constexpr auto slt = &of_registers<[](U64 a, U64 b) -> U64 { return I64(a) < I64(b); }>;
constexpr auto sltu = &of_registers<[](U64 a, U64 b) -> U64 { return a < b; }>;
constexpr auto xor_ = &of_registers<[](U64 a, U64 b) { return a ^ b; }>;
constexpr auto srl = &of_registers<[](U64 a, U64 b) { return a >> (b & 63); }>;
constexpr auto sra = &of_registers<[](U64 a, U64 b) { return U64(I64(a) >> (b & 63)); }>;
constexpr auto or_ = &of_registers<[](U64 a, U64 b) { return a | b; }>;
constexpr auto and_ = &of_registers<[](U64 a, U64 b) { return a & b; }>;
constexpr auto addw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(a + b); }>;
constexpr auto subw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(a - b); }>;
constexpr auto sllw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(a << (b & 31)); }>;
constexpr auto srlw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(U32(a) >> (b & 31)); }>;
constexpr auto sraw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(U64(I32(a) >> (b & 31))); }>;

// M (13): division by zero gives all ones or the dividend; overflow gives the dividend or zero.
template <typename T>
constexpr T divide(T a, T b) {
  if (b == 0) return T(-1);
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return T(0 - std::make_unsigned_t<T>(a));
  return a / b;
}
template <typename T>
constexpr T remainder(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>)
    if (b == -1) return 0;
  return a % b;
}
constexpr auto mul = &of_registers<[](U64 a, U64 b) { return a * b; }>;
constexpr auto mulh = &of_registers<[](U64 a, U64 b) { return U64(__int128(I64(a)) * I64(b) >> 64); }>;
constexpr auto mulhsu =
    &of_registers<[](U64 a, U64 b) { return U64(__int128(I64(a)) * (unsigned __int128)(b) >> 64); }>;
constexpr auto mulhu = &of_registers<[](U64 a, U64 b) { return U64((unsigned __int128)(a)*b >> 64); }>;
constexpr auto div = &of_registers<[](U64 a, U64 b) { return U64(divide(I64(a), I64(b))); }>;
constexpr auto divu = &of_registers<[](U64 a, U64 b) { return divide(a, b); }>;
constexpr auto rem = &of_registers<[](U64 a, U64 b) { return U64(remainder(I64(a), I64(b))); }>;
constexpr auto remu = &of_registers<[](U64 a, U64 b) { return remainder(a, b); }>;
constexpr auto mulw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(a * b); }>;
constexpr auto divw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(U64(divide(I32(a), I32(b)))); }>;
constexpr auto divuw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(divide(U32(a), U32(b))); }>;
constexpr auto remw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(U64(remainder(I32(a), I32(b)))); }>;
constexpr auto remuw = &of_registers<[](U64 a, U64 b) { return sign_extend_word(remainder(U32(a), U32(b))); }>;

// Zba (30.4.1)
constexpr auto add_uw = &of_registers<[](U64 a, U64 b) { return zero_extend_word(a) + b; }>;
constexpr auto sh1add = &of_registers<[](U64 a, U64 b) { return (a << 1) + b; }>;
constexpr auto sh2add = &of_registers<[](U64 a, U64 b) { return (a << 2) + b; }>;
constexpr auto sh3add = &of_registers<[](U64 a, U64 b) { return (a << 3) + b; }>;
constexpr auto sh1add_uw = &of_registers<[](U64 a, U64 b) { return (zero_extend_word(a) << 1) + b; }>;
constexpr auto sh2add_uw = &of_registers<[](U64 a, U64 b) { return (zero_extend_word(a) << 2) + b; }>;
constexpr auto sh3add_uw = &of_registers<[](U64 a, U64 b) { return (zero_extend_word(a) << 3) + b; }>;
constexpr auto slli_uw = &of_immediate<[](U64 a, U64 b) { return zero_extend_word(a) << (b & 63); }>;

// Zbb (30.4.2)
constexpr auto andn = &of_registers<[](U64 a, U64 b) { return a & ~b; }>;
constexpr auto orn = &of_registers<[](U64 a, U64 b) { return a | ~b; }>;
constexpr auto xnor = &of_registers<[](U64 a, U64 b) { return ~(a ^ b); }>;
constexpr auto clz = &of_one<&riscv64::clz>;
constexpr auto ctz = &of_one<&riscv64::ctz>;
constexpr auto cpop = &of_one<&riscv64::cpop>;
constexpr auto clzw = &of_one<&riscv64::clzw>;
constexpr auto ctzw = &of_one<&riscv64::ctzw>;
constexpr auto cpopw = &of_one<&riscv64::cpopw>;
constexpr auto max = &of_registers<[](U64 a, U64 b) { return I64(a) > I64(b) ? a : b; }>;
constexpr auto maxu = &of_registers<[](U64 a, U64 b) { return a > b ? a : b; }>;
constexpr auto min = &of_registers<[](U64 a, U64 b) { return I64(a) < I64(b) ? a : b; }>;
constexpr auto minu = &of_registers<[](U64 a, U64 b) { return a < b ? a : b; }>;
constexpr auto sext_b = &of_one<[](U64 a) { return U64(I64(std::int8_t(a))); }>;
constexpr auto sext_h = &of_one<[](U64 a) { return U64(I64(std::int16_t(a))); }>;
constexpr auto zext_h = &of_one<[](U64 a) -> U64 { return std::uint16_t(a); }>;
constexpr auto rol = &of_registers<&riscv64::rol>;
constexpr auto rolw = &of_registers<&riscv64::rolw>;
constexpr auto ror = &of_registers<&riscv64::ror>;
constexpr auto rori = &of_immediate<&riscv64::ror>;
constexpr auto roriw = &of_immediate<&riscv64::rorw>;
constexpr auto rorw = &of_registers<&riscv64::rorw>;
constexpr auto orc_b = &of_one<&riscv64::orc_b>;
constexpr auto rev8 = &of_one<&riscv64::rev8>;

// Zbc, Zbkc (30.4.3)
constexpr auto clmul = &of_registers<&riscv64::clmul>;
constexpr auto clmulr = &of_registers<&riscv64::clmulr>;
constexpr auto clmulh = &of_registers<&riscv64::clmulh>;

// Zbs (30.4.4)
constexpr auto bclr = &of_registers<[](U64 a, U64 b) { return a & ~(1ULL << (b & 63)); }>;
constexpr auto bclri = &of_immediate<[](U64 a, U64 b) { return a & ~(1ULL << (b & 63)); }>;
constexpr auto bext = &of_registers<[](U64 a, U64 b) { return a >> (b & 63) & 1; }>;
constexpr auto bexti = &of_immediate<[](U64 a, U64 b) { return a >> (b & 63) & 1; }>;
constexpr auto binv = &of_registers<[](U64 a, U64 b) { return a ^ 1ULL << (b & 63); }>;
constexpr auto binvi = &of_immediate<[](U64 a, U64 b) { return a ^ 1ULL << (b & 63); }>;
constexpr auto bset = &of_registers<[](U64 a, U64 b) { return a | 1ULL << (b & 63); }>;
constexpr auto bseti = &of_immediate<[](U64 a, U64 b) { return a | 1ULL << (b & 63); }>;

// Zbkb, Zbkx (32.5)
constexpr auto pack = &of_registers<&riscv64::pack>;
constexpr auto packh = &of_registers<&riscv64::packh>;
constexpr auto packw = &of_registers<&riscv64::packw>;
constexpr auto brev8 = &of_one<&riscv64::brev8>;
constexpr auto xperm4 = &of_registers<&riscv64::xperm4>;
constexpr auto xperm8 = &of_registers<&riscv64::xperm8>;

// Zicond (12)
constexpr auto czero_eqz = &of_registers<[](U64 a, U64 b) { return b == 0 ? 0 : a; }>;
constexpr auto czero_nez = &of_registers<[](U64 a, U64 b) { return b != 0 ? 0 : a; }>;

// Zimop (11): may-be-operations write zero. Hints do nothing.
inline void mop_r(Hart& h, const Op& i) { h.x(i.rd) = 0; }
inline void mop_rr(Hart& h, const Op& i) { h.x(i.rd) = 0; }
inline void hint(Hart&, const Op&) {}
constexpr auto prefetch_i = &hint, prefetch_r = &hint, prefetch_w = &hint;
constexpr auto ntl_p1 = &hint, ntl_pall = &hint, ntl_s1 = &hint, ntl_all = &hint;

}  // namespace doppel::riscv64::semantics
