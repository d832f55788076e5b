#pragma once
// Instructions as far as is needed to find where they end (core specification, 5.4).
#include <vector>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/opcode.h"

namespace doppel::wasm {

/// The next instruction without its immediates; Opcode::count after a failure, "illegal opcode" with its bytes.
Opcode read_opcode(ByteReader& in);
/// Goes over an instruction's immediates; fails where they have no form that they can have.
void skip_immediates(ByteReader& in, Opcode opcode);

/// Where one is among nested blocks, told each instruction from an expression's first to its last `end`.
class BlockNesting {
 public:
  /// Fails with "END opcode expected" at an `else` without an `if`.
  void enter(ByteReader& in, Opcode opcode);
  bool ended() const { return ended_; }

 private:
  std::vector<bool> may_have_else_;  // of each open block, the outermost first
  bool ended_ = false;
};

/// Goes over an expression (5.4.9). Of each instruction `visit(in, opcode)` is called, which says whether it went over
/// the immediates itself.
template <typename Visit>
void skip_expression(ByteReader& in, const Visit& visit) {
  BlockNesting nesting;
  while (!nesting.ended() && !in.failed()) {
    const Opcode opcode = read_opcode(in);
    if (opcode == Opcode::count) return;
    nesting.enter(in, opcode);
    if (!visit(in, opcode)) skip_immediates(in, opcode);
  }
}

}  // namespace doppel::wasm
