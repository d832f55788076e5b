#pragma once
// The vector operations as functions for generated code, which calls those that it has no short sequence for.
#include <array>
#include <cstdint>

#include "ir/function.h"
#include "ir/program_context.h"

namespace doppel::wasm {

/// Takes its arguments from the first cells and leaves its result in the first one; `lane` is the number of the lane
/// that the operation names, a shuffle's lanes are in the fourth cell.
using VectorRoutine = void (*)(ir::ProgramCell* cells, std::uint32_t lane);

/// By ir::VectorOp.
const std::array<const void*, ir::vector_op_count>& vector_routines();

}  // namespace doppel::wasm
