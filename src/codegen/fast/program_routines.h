#pragma once
// Host code that a program needs besides its functions: the way in, the way out, and what leads to the host and back on
// another stack. ir/program_context.h has the convention.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ir/program_context.h"

namespace doppel::fast {

/// What the host calls generated code with. `registers` have arguments before and results afterwards.
struct ProgramEntry {
  ir::ProgramRegisters registers;
  const void* code = nullptr;
  ir::ProgramContext* context = nullptr;
  std::uint64_t stack = 0;  ///< a multiple of 16
};

/// What the routines call.
struct ProgramCallbacks {
  /// Does ir::Routine `routine`; 0, or the code went wrong as ProgramState::fault says.
  int (*runtime)(ir::ProgramContext* context, std::uint32_t routine, std::uint64_t numbers) = nullptr;
  /// A call of the host's function `number` of the store; likewise. `caller` is null where the host calls.
  int (*host)(ir::ProgramState* state, std::uint32_t number, ir::ProgramContext* caller) = nullptr;
  /// The code of the module's own function `index`, counted from its first own one, which is called for the first time.
  const void* (*compile)(ir::ProgramContext* context, std::uint32_t index) = nullptr;
  /// Whether the function in the row is of a subtype.
  int (*subtype)(const ir::FunctionRow* row, std::uint32_t type) = nullptr;
};

struct ProgramRoutines {
  std::vector<std::byte> bytes;
  // Where they begin:
  std::size_t enter = 0;    ///< int enter(ProgramEntry*, ProgramState*): 0 as the function returned, else it trapped
  std::size_t trap = 0;     ///< ProgramContext::trap
  std::size_t fault = 0;    ///< where a signal's handler goes on, the instruction that faulted in rax
  std::size_t runtime = 0;  ///< ProgramContext::runtime
  std::size_t subtype = 0;  ///< ProgramContext::subtype
  std::size_t host = 0;     ///< jumped to by stubs of the host's functions
  std::size_t compile = 0;  ///< and of functions that have no code yet
};
ProgramRoutines make_program_routines(const ProgramCallbacks& callbacks);

/// `count` stubs, each of stub_bytes: mov ebx, first + n; jmp to `target`, which is at the given distance from the
/// first stub's begin.
inline constexpr std::size_t stub_bytes = 16;
std::vector<std::byte> make_stubs(std::uint32_t first, std::uint32_t count, std::ptrdiff_t target);

}  // namespace doppel::fast
