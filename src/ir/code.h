#pragma once
// The intermediate representation between guest frontends and code generators (ARCHITECTURE, law 1). ops.inc has the
// operations.
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace doppel::ir {

enum class Op : std::uint8_t {
#define OP(name, arguments, result, traits) name,
#include "ir/ops.inc"
  count
};

/// The last two are for functions only (ir/function.h); `ref` is a reference in 64 bits.
enum class Type : std::uint8_t { none, i8, i16, i32, i64, f32, f64, v128, ref };
constexpr unsigned bytes(Type type) {
  constexpr unsigned sizes[] = {0, 1, 2, 4, 8, 4, 8, 16, 8};
  return sizes[unsigned(type)];
}
constexpr bool is_float(Type type) { return type == Type::f32 || type == Type::f64; }

enum class Condition : std::uint8_t { eq, ne, lt, ge, ltu, geu };

/// How Op::atomic combines what was there with its argument.
enum class AtomicKind : std::uint8_t { swap, add, and_, or_, xor_, min, max, minu, maxu };

/// How an operation rounds to an integer: as the guest's mode says, or as it says itself.
enum class Rounding : std::uint8_t { dynamic, to_zero, to_nearest, down, up };

/// What Op::fromint takes: the bits of a signed integer, or an unsigned one of 64.
enum class FromInteger : std::uint8_t { i32 = 32, i64 = 64, u64 = 65 };

/// Names the value that an instruction gives: the instruction's place.
using Value = std::uint32_t;
inline constexpr Value no_value = ~0U;

/// One operation. Which fields mean something ops.inc says.
struct Instruction {
  Op op = Op::leave;
  Type type = Type::none;
  Condition condition = Condition::eq;
  std::uint8_t reg = 0;
  std::uint8_t flag = 0;
  std::uint8_t length = 0;  ///< bytes of the guest instruction
  std::int32_t offset = 0;  ///< of the guest instruction, in bytes from the page's begin
  std::uint16_t left = 0;   ///< guest instructions of the block behind this one
  std::uint16_t size = 0;   ///< bytes of a window; of an access on a path, where in a page it was seen, plus one
  Value a = no_value, b = no_value, c = no_value;
  std::int64_t imm = 0;
  bool operator==(const Instruction&) const = default;
};

/// A single-entry stretch of guest code: it is left by its last instruction or by side exits. Guest registers are in
/// their places whenever an instruction with an effect other than on them begins. A block lies inside one page; a path
/// is a way that was taken through blocks, and what it executes may lie on other pages and several times in it.
struct Code {
  std::vector<Instruction> instructions;
  std::uint16_t begin = 0;        ///< the first guest instruction's byte offset in its page
  std::uint16_t end = 0;          ///< behind the last one's
  std::uint32_t guest_count = 0;  ///< guest instructions
  bool path = false;              ///< not a block; offsets count from the first instruction's page
  bool operator==(const Code&) const = default;
};

/// Columns of ops.inc.
struct OpTraits {
  std::string_view name, arguments, result;
  bool pure, state, memory, leaves, last;
};
namespace detail {
enum class Trait { pure, flags, state, memory, leaves, last };

constexpr OpTraits row(std::string_view name, std::string_view arguments, std::string_view result, Trait trait) {
  return {.name = name.ends_with('_') ? name.substr(0, name.size() - 1) : name,
          .arguments = arguments,
          .result = result,
          .pure = trait == Trait::pure,
          .state = trait == Trait::state,
          .memory = trait == Trait::memory,
          .leaves = trait == Trait::leaves || trait == Trait::last,
          .last = trait == Trait::last};
}

inline constexpr std::array<OpTraits, std::size_t(Op::count)> all_traits = {
#define OP(name, arguments, result, trait) row(#name, arguments, result, Trait::trait),
#include "ir/ops.inc"
};
}  // namespace detail
constexpr const OpTraits& traits(Op op) { return detail::all_traits[std::size_t(op)]; }

/// The window that a load or store relies on, or no_value.
constexpr Value window_of(const Instruction& i) {
  if (i.op == Op::load || i.op == Op::loadf) return i.b;
  return i.op == Op::store || i.op == Op::storef ? i.c : no_value;
}
constexpr bool in_window(const Instruction& i) { return window_of(i) != no_value; }

/// The condition that holds where this one does not.
constexpr Condition negated(Condition condition) { return Condition(unsigned(condition) ^ 1); }
static_assert(negated(Condition::eq) == Condition::ne && negated(Condition::lt) == Condition::ge &&
              negated(Condition::geu) == Condition::ltu);

/// Whether `condition` holds of two 64-bit integers.
constexpr bool holds(Condition condition, std::uint64_t a, std::uint64_t b) {
  switch (condition) {
    case Condition::eq:
      return a == b;
    case Condition::ne:
      return a != b;
    case Condition::lt:
      return std::int64_t(a) < std::int64_t(b);
    case Condition::ge:
      return std::int64_t(a) >= std::int64_t(b);
    case Condition::ltu:
      return a < b;
    default:
      return a >= b;
  }
}

}  // namespace doppel::ir
