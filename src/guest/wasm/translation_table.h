#pragma once
// Which operation of ir/function_ops.inc an instruction of opcodes.inc is, where it is but one.
#include <array>

#include "guest/wasm/opcode.h"
#include "ir/function.h"

namespace doppel::wasm {

struct TranslationRow {
  ir::FunctionOp op = ir::FunctionOp::count;  // none
  ir::Type type = ir::Type::none;
  std::uint16_t flag = 0;
};

/// Of an instruction that only computes.
const TranslationRow& translation(Opcode opcode);

/// What a load or store has in memory, and what becomes of it: `then` is the vector operation that a load is followed
/// by and a store is preceded by, if any.
struct AccessRow {
  ir::Type memory = ir::Type::none, type = ir::Type::none;
  bool sign = false;
  ir::VectorOp then = ir::VectorOp::count;
};
const AccessRow& access_row(Opcode opcode);

}  // namespace doppel::wasm
