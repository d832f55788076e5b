#pragma once
// What the interpreter has to know of a function besides its bytes: how much stack it takes and where branches go.
#include <cstdint>
#include <variant>
#include <vector>

#include "guest/wasm/module.h"

namespace doppel::wasm {

/// Where a branch goes. `if` has one for when its condition is 0, `else` one for when the branch before it ends,
/// br_table one for each label, the default's last. Code that is never reached has none.
struct BranchEntry {
  std::uint32_t at = 0;       ///< the byte in the module of the branching instruction; entries are ordered by it
  std::uint32_t pc = 0;       ///< where it goes on
  std::uint32_t next = 0;     ///< the first entry from there on
  std::uint32_t drop_to = 0;  ///< the operand stack's height there without what is kept, in words
  std::uint16_t keep = 0;     ///< words on top of the stack that it takes along
};

/// Heights and sizes are in 64-bit words, of which a v128 takes two.
struct FunctionInfo {
  std::uint32_t parameter_words = 0, local_words = 0;  ///< the locals' have the parameters'
  std::uint32_t result_words = 0;
  std::uint32_t max_operand_words = 0;
  std::uint32_t code_begin = 0;  ///< the first instruction's byte in the module
  std::vector<BranchEntry> branches;
  std::vector<std::uint32_t> local_offset;  ///< of each local from the first, in words; one more at the end
  std::vector<std::uint32_t> wide;          ///< bytes in the module of each drop and select of a v128, in order
};

/// Decodes and validates a function of the module's own.
std::variant<FunctionInfo, ModuleError> function_info(const Module& module, std::uint32_t function);

}  // namespace doppel::wasm
