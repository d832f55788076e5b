#pragma once
// What the integer operations of ops.inc give for known arguments.
#include <bit>
#include <optional>

#include "ir/code.h"

namespace doppel::ir {

/// The 64-bit value that `op` of `type` (i32 or i64) has for these arguments, low bits zero-extended for i32; nothing
/// for an operation that is not integer arithmetic.
inline std::optional<std::uint64_t> evaluate(Op op, Type type, std::uint64_t a, std::uint64_t b) {
  const bool narrow = type == Type::i32;
  const unsigned width = narrow ? 32 : 64;
  const auto low = [&](std::uint64_t v) { return narrow ? v & 0xffffffff : v; };
  const auto is_signed = [&](std::uint64_t v) { return narrow ? std::int64_t(std::int32_t(v)) : std::int64_t(v); };
  const auto amount = unsigned(b % width);
  a = low(a);
  switch (op) {
    case Op::add:
      return low(a + b);
    case Op::sub:
      return low(a - b);
    case Op::and_:
      return low(a & b);
    case Op::or_:
      return low(a | b);
    case Op::xor_:
      return low(a ^ b);
    case Op::andn:
      return low(a & ~b);
    case Op::shl:
      return low(a << amount);
    case Op::shr:
      return a >> amount;
    case Op::sar:
      return low(std::uint64_t(is_signed(a) >> amount));
    case Op::mul:
      return low(a * b);
    default:
      return std::nullopt;
  }
}

/// Extends the low bits of `value` from `type` to 64 bits.
constexpr std::uint64_t extend(Type type, bool sign, std::uint64_t value) {
  const auto unused = 64 - 8 * bytes(type);
  return sign ? std::uint64_t(std::int64_t(value << unused) >> unused) : value << unused >> unused;
}

}  // namespace doppel::ir
