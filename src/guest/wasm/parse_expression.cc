#include "guest/wasm/instruction_skip.h"
#include "guest/wasm/module_parse.h"

namespace doppel::wasm {
namespace {

// How much deeper one is behind an instruction.
int nesting(Opcode opcode) {
  switch (opcode) {
    case Opcode::block:
    case Opcode::loop:
    case Opcode::if_:
    case Opcode::try_table:
      return 1;
    case Opcode::end:
      return -1;
    default:
      return 0;
  }
}

void read_function_reference(ModuleParse& parse) {
  const std::uint32_t function = parse.in.u32();
  if (function < parse.module.functions.size()) parse.module.functions[function].referable = true;
}

}  // namespace

ConstantExpression read_constant_expression(ModuleParse& parse) {
  const std::uint32_t begin = parse.in.offset();
  for (std::int64_t depth = 1; depth > 0 && !parse.in.failed();) {
    const Opcode opcode = read_opcode(parse.in);
    if (opcode == Opcode::count) break;
    depth += nesting(opcode);
    if (opcode == Opcode::ref_func) {
      read_function_reference(parse);
    } else {
      skip_immediates(parse.in, opcode);
    }
  }
  return {begin, parse.in.offset()};
}

}  // namespace doppel::wasm
