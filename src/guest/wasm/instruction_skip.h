#pragma once
// Instructions as far as is needed to find where they end (core specification, 5.4).
#include "guest/wasm/byte_reader.h"
#include "guest/wasm/opcode.h"

namespace doppel::wasm {

/// The next instruction without its immediates; Opcode::count after a failure, "illegal opcode" with its bytes.
Opcode read_opcode(ByteReader& in);
/// Goes over an instruction's immediates; fails where they have no form that they can have.
void skip_immediates(ByteReader& in, Opcode opcode);

}  // namespace doppel::wasm
