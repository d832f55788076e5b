#include "ir/function.h"

namespace doppel::ir {
namespace {

constexpr auto op_rows = std::to_array<FunctionOpRow>({
#define OP(name, arguments, result, effect) {#name, arguments, result, FunctionOpRow::Effect::effect},
#include "ir/function_ops.inc"
});

constexpr auto vector_rows = std::to_array<VectorRow>({
#define VECTOR(name, arguments, result, immediate) {#name, arguments, result[0], immediate},
#include "ir/vector_ops.inc"
});

}  // namespace

const FunctionOpRow& row(FunctionOp op) { return op_rows[std::size_t(op)]; }
const VectorRow& row(VectorOp op) { return vector_rows[std::size_t(op)]; }

void Function::clear() {
  parameters.clear(), results.clear(), variables.clear(), variable_at.clear();
  code.clear(), blocks.clear(), arguments.clear(), labels.clear(), vectors.clear();
  operand_words = 0;
}

ArgumentList argument_list(const FunctionInstruction& i) {
  switch (i.op) {
    case FunctionOp::jump_if:
      return {i.b, i.c};
    case FunctionOp::jump_table:
      return {i.b, std::uint32_t(i.imm)};
    case FunctionOp::jump:
    case FunctionOp::return_:
    case FunctionOp::call:
    case FunctionOp::call_indirect:
    case FunctionOp::call_ref:
    case FunctionOp::tail_call:
    case FunctionOp::tail_call_indirect:
    case FunctionOp::tail_call_ref:
    case FunctionOp::runtime:
      return {i.a, i.b};
    default:
      return {};
  }
}

}  // namespace doppel::ir
