#pragma once
// A whole function as a control-flow graph (ARCHITECTURE, law 1): what a frontend of structured code gives to the code
// generators. function_ops.inc has the operations.
//
// Blocks follow each other; each but a function's first begins with Op `block` and its parameters. Values are in SSA
// form, and what meets at a join is a parameter there. Variables, the guest's locals, are not values: get_variable and
// set_variable read and write them.
//
// The frame of the guest consists of 64-bit words: variables first, then operands. Each value has its own word there
// (`slot`, counted from the first operand; a v128 has two), so that a generator can keep the frame as the guest's
// interpreter wants it. At calls and loop headers every live value is in its word; with `pc` that is the frame state.
// Values that are alive at the same time have different words, and a block's parameters are in order from its `height`
// on.
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ir/code.h"

namespace doppel::ir {

enum class FunctionOp : std::uint8_t {
#define OP(name, arguments, result, effect) name,
#include "ir/function_ops.inc"
  count
};

enum class VectorOp : std::uint8_t {
#define VECTOR(name, arguments, result, immediate) name,
#include "ir/vector_ops.inc"
  count
};
inline constexpr std::size_t vector_op_count = std::size_t(VectorOp::count);

/// Columns of vector_ops.inc.
struct VectorRow {
  std::string_view name, arguments;
  char result;
  std::uint8_t immediate;
};
const VectorRow& row(VectorOp op);

enum class IntegerCompare : std::uint8_t { eq, ne, lt_s, lt_u, gt_s, gt_u, le_s, le_u, ge_s, ge_u };
enum class FloatCompare : std::uint8_t { eq, ne, lt, gt, le, ge };
enum class FloatRound : std::uint8_t { ceil, floor, trunc, nearest };

/// What generated code has done by the runtime; arguments are words, `first` and `second` the halves of imm.
enum class Routine : std::uint8_t {
  memory_grow,  ///< memory `first`
  memory_fill,
  memory_copy,  ///< to memory `second` from `first`
  memory_init,  ///< memory `second` from segment `first`
  data_drop,    ///< segment `first`
  table_grow,   ///< table `second`
  table_fill,
  table_copy,  ///< to table `second` from `first`
  table_init,  ///< table `second` from segment `first`
  elem_drop,   ///< segment `first`
  count
};

/// In `flag` of a load: it extends by sign.
inline constexpr std::uint16_t load_signed = 1U << 8;
/// Flags of truncate and from_integer.
inline constexpr std::uint16_t conversion_signed = 1, conversion_wide = 2, conversion_saturates = 4;

struct FunctionInstruction {
  FunctionOp op = FunctionOp::block;
  Type type = Type::none;
  std::uint16_t flag = 0;
  std::uint32_t pc = 0;    ///< the byte of the guest's module where its instruction is
  std::uint32_t slot = 0;  ///< the word of what it gives
  Value a = no_value, b = no_value, c = no_value;
  std::uint64_t imm = 0;
};

/// The type of the value that `i` gives, if it gives one.
constexpr Type result_type(const FunctionInstruction& i) {
  const bool compares = i.op == FunctionOp::compare || i.op == FunctionOp::fcompare || i.op == FunctionOp::is_zero;
  return compares ? Type::i32 : i.type;
}

/// Where the arguments of an instruction are in the pool.
struct ArgumentList {
  std::uint32_t first = 0, count = 0;
};

struct FunctionBlock {
  std::uint32_t begin = 0;       ///< its `block` instruction
  std::uint32_t height = 0;      ///< words of operands below its parameters
  std::uint32_t parameters = 0;  ///< how many there are
  std::uint32_t uses = 0;        ///< jumps that name it
  bool loop = false;
};

struct Function {
  std::vector<Type> parameters, results;   ///< of its signature
  std::vector<Type> variables;             ///< the parameters first
  std::vector<std::uint32_t> variable_at;  ///< the word of each, and one more at the end
  std::vector<FunctionInstruction> code;
  std::vector<FunctionBlock> blocks;
  std::vector<Value> arguments;       ///< pool
  std::vector<std::uint32_t> labels;  ///< pool of blocks, of jump tables
  std::vector<std::array<std::uint8_t, 16>> vectors;
  std::uint32_t operand_words = 0;  ///< that its frame needs behind the variables

  void clear();
  std::span<const Value> list(ArgumentList list) const { return std::span(arguments).subspan(list.first, list.count); }
};

/// Columns of function_ops.inc.
struct FunctionOpRow {
  enum class Effect : std::uint8_t { pure, traps, reads, writes, calls, ends };
  std::string_view name, arguments, result;
  Effect effect;
};
const FunctionOpRow& row(FunctionOp op);

namespace detail {
constexpr std::uint8_t direct_arguments_of(std::string_view arguments) {
  if (arguments == "-") return 0;
  if (arguments.find('*') == arguments.npos) return std::uint8_t((1U << arguments.size()) - 1);
  return arguments[0] != '*' ? 1 : arguments.size() == 2 ? 4 : 0;  // beside a list there is a or c
}
/// Which of a, b and c are values, a bit for each.
inline constexpr auto direct_argument_bits = std::to_array<std::uint8_t>({
#define OP(name, arguments, result, effect) direct_arguments_of(arguments),
#include "ir/function_ops.inc"
});
}  // namespace detail

/// Which arguments in the pool an instruction has.
ArgumentList argument_list(const FunctionInstruction& i);
/// Those in the instruction itself; the rest are no_value.
constexpr std::array<Value, 3> direct_arguments(const FunctionInstruction& i) {
  const auto bits = detail::direct_argument_bits[std::size_t(i.op)];
  return {bits & 1 ? i.a : no_value, bits & 2 ? i.b : no_value, bits & 4 ? i.c : no_value};
}

constexpr bool is_general(Type type) { return type == Type::i32 || type == Type::i64 || type == Type::ref; }
constexpr std::uint32_t words_of(Type type) { return type == Type::v128 ? 2 : 1; }

}  // namespace doppel::ir
