#pragma once
// The interpreter's instructions, from the manual, as handlers for decoded blocks.
#include "guest/riscv64/block.h"
#include "guest/riscv64/instruction.h"

namespace doppel::riscv64 {

/// What executes this instruction.
Handler handler_of(Opcode op);
/// What a block ends with where its last instruction does not jump: goes on behind it.
Handler fall_through_handler();
/// Whether nothing that follows belongs to the same block: jumps, and what may change how instructions execute.
bool ends_block(Opcode op);
/// Whether the instruction has an integer register for its result.
bool writes_integer_register(Opcode op);
/// Whether the instruction only computes in registers or is a conditional branch: what may stand between a plain LR and
/// its SC.
bool register_only(Opcode op);

}  // namespace doppel::riscv64
