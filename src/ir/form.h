#pragma once
// The table of forms.inc, and how types, conditions and flags are spelled: what text, parser and verifier share.
#include <cstdint>
#include <span>
#include <string_view>

#include "ir/code.h"

namespace doppel::ir {

/// What Instruction::flag means; forms.inc has the letters.
enum class FlagKind : std::uint8_t { none, sign, atomic, execution, rounding, negations, width, ends, stores };

struct Form {
  std::uint8_t types = 0;  // a bit for each Type
  bool reg = false, second_type = false, condition = false, imm = false;
  bool size = false, window = false;
  bool hexadecimal = false;  // imm is written so, whatever its size
  FlagKind flag = FlagKind::none;

  constexpr bool allows(Type type) const { return types >> unsigned(type) & 1; }
  /// The type of an operation that says none: the only one that it comes in, or Type::none.
  constexpr Type implied() const {
    return (types & (types - 1)) == 0 ? Type(__builtin_ctz(types | 1U << 8)) : Type::none;
  }
};
const Form& form(Op op);

inline constexpr unsigned type_count = unsigned(Type::f64) + 1, condition_count = unsigned(Condition::geu) + 1;
std::string_view spelling(Type type);
std::string_view spelling(Condition condition);

/// A value of Instruction::flag and its word in text; values without one are written as numbers.
struct FlagSpelling {
  std::uint8_t value;
  std::string_view word;  // empty: nothing is written
};
std::span<const FlagSpelling> flag_spellings(FlagKind kind);

/// The type of the value that `i` gives, Type::none where it gives none.
Type result_type(const Instruction& i);

}  // namespace doppel::ir
