#include "guest/wasm/instruction_skip.h"
#include "guest/wasm/module_parse.h"

namespace doppel::wasm {

ConstantExpression read_constant_expression(ModuleParse& parse) {
  const std::uint32_t begin = parse.in.offset();
  skip_expression(parse.in, [&](ByteReader& in, Opcode opcode) {
    if (opcode != Opcode::ref_func) return false;
    parse.make_referable(in.u32());
    return true;
  });
  return {begin, parse.in.offset()};
}

}  // namespace doppel::wasm
