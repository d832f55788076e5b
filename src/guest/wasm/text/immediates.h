#pragma once
// What follows an instruction's name (core specification, 6.5): parsed as the row of opcodes.inc says.
#include "guest/wasm/opcode.h"
#include "guest/wasm/text/assembly.h"
#include "guest/wasm/text/label_scope.h"

namespace doppel::wasm::text {

/// Where an instruction stands.
struct InstructionScope {
  Assembly& assembly;
  const IndexSpace& locals;
  const LabelScope& labels;
};

/// Writes the instruction whose name was taken: its opcode and the immediates that come next in the text.
void assemble_instruction(const InstructionScope& scope, Opcode opcode, Encoder& out);

/// The natural alignment of an instruction that accesses memory, as an exponent of two.
unsigned natural_alignment(std::string_view instruction);

/// The prefix, if it has one, and the code.
void encode_opcode(Opcode opcode, Encoder& out);

}  // namespace doppel::wasm::text
