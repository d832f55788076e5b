#include "ir/code.h"

#include <array>

namespace doppel::ir {
namespace {

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

constexpr std::array<OpTraits, std::size_t(Op::count)> table = {
#define OP(name, arguments, result, trait) row(#name, arguments, result, Trait::trait),
#include "ir/ops.inc"
};

}  // namespace

const OpTraits& traits(Op op) { return table[std::size_t(op)]; }

}  // namespace doppel::ir
