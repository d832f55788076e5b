#pragma once
// The few routines that all generated code shares: the way in, the ways out, and the slow paths' way to the engine.
#include "codegen/code_memory.h"
#include "codegen/layout.h"
#include "ir/execution_state.h"

namespace doppel::fast {

struct Routines {
  /// Runs code with the state register pointing at `state`; comes back when the code leaves.
  void (*enter)(void* state, const void* code) = nullptr;
  /// Called by the first bytes of code that was forgotten, in place of what stood there.
  const void* forgotten = nullptr;
  const void *to_link = nullptr, *slow_access = nullptr;  // ir::ExecutionState has them apart
  ir::Routines of_code;
};

/// Generates the routines into empty code memory. Fails with a sentence when the memory is too small.
Result<Routines> generate_routines(const GuestLayout& layout, CodeMemory& memory);

}  // namespace doppel::fast
