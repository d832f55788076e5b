#pragma once
// Loads, stores, atomics, fences and cache-block operations (Unprivileged ISA 2.6, 2.7, 14, 19, 15). Included by
// interpret.cc only.
#include "guest/riscv64/interpret_integer.h"
#include "guest/riscv64/memory_access.h"

namespace doppel::riscv64::semantics {

template <typename T>
bool load(Hart& h, const Op& i) {
  T value;
  if (!h.load(i, h.x(i.rs1) + U64(I64(i.imm)), value)) return false;
  h.x(i.rd) = U64(I64(value));
  return true;
}
template <typename T>
bool store(Hart& h, const Op& i) {
  return h.store(i, h.x(i.rs1) + U64(I64(i.imm)), T(h.x(i.rs2)));
}
constexpr auto lb = &load<std::int8_t>;
constexpr auto lh = &load<std::int16_t>;
constexpr auto lw = &load<std::int32_t>;
constexpr auto ld = &load<std::uint64_t>;
constexpr auto lbu = &load<std::uint8_t>;
constexpr auto lhu = &load<std::uint16_t>;
constexpr auto lwu = &load<std::uint32_t>;
constexpr auto sb = &store<std::uint8_t>;
constexpr auto sh = &store<std::uint16_t>;
constexpr auto sw = &store<std::uint32_t>;
constexpr auto sd = &store<std::uint64_t>;

// A (14). Every atomic is acquire and release: the host's locked operations are.
template <typename T, auto combine>
bool amo(Hart& h, const Op& i) {
  T value = T(h.x(i.rs2));
  if (!h.amo(i, h.x(i.rs1), value, combine)) return false;
  h.x(i.rd) = U64(I64(std::make_signed_t<T>(value)));
  return true;
}
template <typename T>
bool load_reserved(Hart& h, const Op& i) {
  T value;
  if (!h.load_reserved(i, h.x(i.rs1), value)) return false;
  h.x(i.rd) = U64(I64(std::make_signed_t<T>(value)));
  return true;
}
template <typename T>
bool store_conditional(Hart& h, const Op& i) {
  bool stored;
  if (!h.store_conditional(i, h.x(i.rs1), T(h.x(i.rs2)), stored)) return false;
  h.x(i.rd) = !stored;
  return true;
}
constexpr auto swap = [](auto, auto b) { return b; };
constexpr auto plus = [](auto a, auto b) { return decltype(a)(a + b); };
constexpr auto exclusive_or = [](auto a, auto b) { return decltype(a)(a ^ b); };
constexpr auto both = [](auto a, auto b) { return decltype(a)(a & b); };
constexpr auto either = [](auto a, auto b) { return decltype(a)(a | b); };
constexpr auto smaller = [](auto a, auto b) { return a < b ? a : b; };
constexpr auto larger = [](auto a, auto b) { return a > b ? a : b; };
constexpr auto lr_w = &load_reserved<U32>;
constexpr auto lr_d = &load_reserved<U64>;
constexpr auto sc_w = &store_conditional<U32>;
constexpr auto sc_d = &store_conditional<U64>;
constexpr auto amoswap_w = &amo<U32, swap>;
constexpr auto amoadd_w = &amo<U32, plus>;
constexpr auto amoxor_w = &amo<U32, exclusive_or>;
constexpr auto amoand_w = &amo<U32, both>;
constexpr auto amoor_w = &amo<U32, either>;
constexpr auto amomin_w = &amo<I32, smaller>;
constexpr auto amomax_w = &amo<I32, larger>;
constexpr auto amominu_w = &amo<U32, smaller>;
constexpr auto amomaxu_w = &amo<U32, larger>;
constexpr auto amoswap_d = &amo<U64, swap>;
constexpr auto amoadd_d = &amo<U64, plus>;
constexpr auto amoxor_d = &amo<U64, exclusive_or>;
constexpr auto amoand_d = &amo<U64, both>;
constexpr auto amoor_d = &amo<U64, either>;
constexpr auto amomin_d = &amo<I64, smaller>;
constexpr auto amomax_d = &amo<I64, larger>;
constexpr auto amominu_d = &amo<U64, smaller>;
constexpr auto amomaxu_d = &amo<U64, larger>;

// Fences (2.7, 18). The host keeps all orders but a store before a later load, so only a fence that asks for that
// costs.
inline void fence(Hart&, const Op& i) {
  const bool earlier_writes = i.imm & 0b0101'0000, later_reads = i.imm & 0b1010;
  if (earlier_writes && later_reads) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void fence_tso(Hart&, const Op&) { __atomic_thread_fence(__ATOMIC_ACQ_REL); }
inline void fence_i(Hart& h, const Op&) { h.flush_instructions(); }

// Zihintpause, Zawrs (10, 16): a hart that spins gives its thread away; ending a WRS early is allowed.
inline void pause(Hart& h, const Op&) { h.spin_hint(); }
constexpr auto wrs_sto = &pause;
inline bool wrs_nto(Hart& h, const Op& i) {
  if (h.privilege() != Privilege::machine && (h.state().mstatus & status::tw)) return h.illegal(i);
  h.spin_hint();
  return true;
}

// Zicbom, Zicboz (19): what envcfg does not enable is illegal. Memory is coherent, so only zeroing does anything.
inline bool cache_block_enabled(Hart& h, U64 field) {
  const auto& s = h.state();
  if (h.privilege() == Privilege::machine) return true;
  if (!(s.menvcfg & field)) return false;
  return h.privilege() == Privilege::supervisor || (s.senvcfg & field);
}
inline bool cbo_clean(Hart& h, const Op& i) {
  return cache_block_enabled(h, envcfg::cbcfe) ? h.manage_block(i, h.x(i.rs1)) : h.illegal(i);
}
constexpr auto cbo_flush = &cbo_clean;
inline bool cbo_inval(Hart& h, const Op& i) {
  return cache_block_enabled(h, envcfg::cbie) ? h.manage_block(i, h.x(i.rs1)) : h.illegal(i);
}
inline bool cbo_zero(Hart& h, const Op& i) {
  return cache_block_enabled(h, envcfg::cbze) ? h.zero_block(i, h.x(i.rs1)) : h.illegal(i);
}

}  // namespace doppel::riscv64::semantics
