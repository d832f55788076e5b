#pragma once
// What generated code of whole functions knows of the program that it runs in. Register r12 points to the context of
// the instance whose code runs; everything that is the instance's is reached through it, so that the code itself names
// nothing.
//
// The convention of calls, the order of LLVM's preserve_none: r12 has the callee's context, and no register but rsp and
// rbp has its value still when the call returns. Integers and references are passed in r14, r15, rdi, rsi, rdx, rcx,
// r8, r9, r11, floats and vectors in xmm0 to xmm7; what is more lies in `area`, a cell for each argument or result, by
// its number, from where a function takes it before it does anything else. So a tail call needs no room in its caller's
// frame. The first result is in rax or xmm0, others are in `area`. The upper halves of registers with an i32 are open.
// r10 has the caller's context wherever code may be called through a FunctionRow. r13 is left for the instruction
// budget.
#include <array>
#include <cstddef>
#include <cstdint>

namespace doppel::ir {

struct ProgramContext;

/// A value where its type is known.
struct alignas(16) ProgramCell {
  std::uint64_t low = 0, high = 0;
};

/// What registers have when code is entered from the host, or leaves to it.
struct ProgramRegisters {
  std::array<std::uint64_t, 9> general{};
  std::uint64_t result = 0;  ///< rax
  std::array<ProgramCell, 8> vector{};
};

inline constexpr std::size_t most_cells = 1024;  ///< arguments or results that a call can have

/// Of a program, one for all instances.
struct ProgramState {
  std::uint64_t host_stack = 0;  ///< rsp of the routine that entered generated code last
  std::uint64_t stack = 0;       ///< of generated code that waits for the host; below is free
  std::uint64_t trap_pc = 0;     ///< the host address that a trap came from
  std::uint64_t fault = 0;       ///< Fault of the runtime, if it was that
  ProgramRegisters registers;    ///< of calls to the host
  void* program = nullptr;       ///< the engine
  std::array<ProgramCell, most_cells> area;
};

/// A function by its number in the store.
struct FunctionRow {
  const void* code = nullptr;
  ProgramContext* context = nullptr;
  std::uint32_t type = 0;
  std::uint32_t pad = 0;
  std::uint64_t more = 0;
};
static_assert(sizeof(FunctionRow) == 32);

/// A memory or a table: where it is, and its bytes or elements.
struct ProgramView {
  void* base = nullptr;
  std::uint64_t size = 0;
};

/// Behind it lie, in this order: a view of each memory, one of each table, a pointer to each global's value, a pointer
/// to the FunctionRow of each imported function, a pointer to the code of each of the module's own functions.
struct ProgramContext {
  std::uint64_t stack_limit = 0;  ///< what rsp may not go below
  const void* trap = nullptr;     ///< called by code that traps
  const void* runtime = nullptr;  ///< called for a Routine
  const void* subtype = nullptr;  ///< called to compare types that are not the same
  ProgramCell* area = nullptr;    ///< ProgramState::area
  FunctionRow* rows = nullptr;    ///< of all functions of the store
  ProgramState* state = nullptr;
  const std::uint32_t* functions = nullptr;  ///< the number in the store of each function of the module
  const void* const* vectors = nullptr;      ///< what does the VectorOps that are done out of line
  void* instance = nullptr;
};

/// Where things lie in the context of a module's instances, in bytes.
struct ContextLayout {
  std::uint32_t memories = 0, tables = 0, globals = 0, imports = 0, functions = 0;  // counts
  constexpr std::uint32_t memory(std::uint64_t n) const {
    return std::uint32_t(sizeof(ProgramContext) + n * sizeof(ProgramView));
  }
  constexpr std::uint32_t table(std::uint64_t n) const {
    return memory(memories) + std::uint32_t(n * sizeof(ProgramView));
  }
  constexpr std::uint32_t global(std::uint64_t n) const { return table(tables) + std::uint32_t(n * 8); }
  constexpr std::uint32_t import(std::uint64_t n) const { return global(globals) + std::uint32_t(n * 8); }
  /// `n` counts from the module's own first function.
  constexpr std::uint32_t code(std::uint64_t n) const { return import(imports) + std::uint32_t(n * 8); }
  constexpr std::uint32_t bytes() const { return code(functions); }
};

}  // namespace doppel::ir
