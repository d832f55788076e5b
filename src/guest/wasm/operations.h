#pragma once
// The function of each instruction that only computes (core specification, 4.3): the same for the interpreter, for the
// folding of constants and for the tests of generated code.
#include "guest/wasm/float_numeric.h"
#include "guest/wasm/numeric.h"
#include "guest/wasm/opcode.h"
#include "guest/wasm/vector_numeric.h"

namespace doppel::wasm {

/// Takes the instruction's lane (U8) or lanes (an array of 16), if it has them, and its operands as U32, U64, float,
/// double and V128; gives its result or a Partial of it.
template <Opcode opcode>
inline constexpr auto operation = nullptr;

#define OPERATION(name, ...)                                             \
  template <>                                                            \
  inline constexpr auto operation<Opcode::name> = [](auto... operands) { \
    using namespace numeric;                                             \
    using namespace vector;                                              \
    return __VA_ARGS__(operands...);                                     \
  };
#include "guest/wasm/operations.inc"

}  // namespace doppel::wasm
