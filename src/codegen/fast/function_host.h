#pragma once
// The host registers' parts in code of whole functions; ir/program_context.h has the convention of calls.
#include <asmjit/x86.h>

#include <array>

namespace doppel::fast {

/// By their numbers: r14, r15, rdi, rsi, rdx, rcx, r8, r9, r11.
inline constexpr std::array<std::uint8_t, 9> argument_registers = {14, 15, 7, 6, 2, 1, 8, 9, 11};
inline constexpr unsigned vector_arguments = 8;

/// What values may be in; rax, rcx, rdx and xmm13 to xmm15 are free inside each operation.
inline constexpr std::array<std::uint8_t, 9> general_registers = {3, 6, 7, 8, 9, 10, 11, 14, 15};
inline constexpr std::array<std::uint8_t, 13> vector_registers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
inline const asmjit::x86::Xmm vector_scratch = asmjit::x86::xmm15, vector_scratch2 = asmjit::x86::xmm14,
                              vector_scratch3 = asmjit::x86::xmm13;

/// A field of the context, in bytes.
#define DOPPEL_CONTEXT(member) offsetof(::doppel::ir::ProgramContext, member)

}  // namespace doppel::fast
