// Control instructions (core specification, 4.6.8) but calls, and parametric ones (4.6.1).
#include <algorithm>

#include "guest/wasm/interpreter.h"

namespace doppel::wasm {
namespace {

/// A branch that is not taken: the next one is another's.
bool fall_through(Interpreter& in) {
  in.entry++;
  return true;
}
bool take(Interpreter& in) {
  in.branch();
  return true;
}

}  // namespace

template <>
bool execute<Opcode::unreachable>(Interpreter& in) {
  return in.trap(Trap::unreachable);
}
template <>
bool execute<Opcode::nop>(Interpreter&) {
  return true;
}
template <>
bool execute<Opcode::block>(Interpreter& in) {
  in.skip_block_type();
  return true;
}
template <>
bool execute<Opcode::loop>(Interpreter& in) {
  in.skip_block_type();
  return true;
}
template <>
bool execute<Opcode::if_>(Interpreter& in) {
  in.skip_block_type();
  return in.pop() == 0 ? take(in) : fall_through(in);
}
/// Reached from the branch before it.
template <>
bool execute<Opcode::else_>(Interpreter& in) {
  return take(in);
}
template <>
bool execute<Opcode::end>(Interpreter& in) {
  return in.pc != in.body_end || in.leave();
}
template <>
bool execute<Opcode::br>(Interpreter& in) {
  return take(in);
}
template <>
bool execute<Opcode::br_if>(Interpreter& in) {
  in.skip_leb();
  return in.pop() != 0 ? take(in) : fall_through(in);
}
template <>
bool execute<Opcode::br_table>(Interpreter& in) {
  const std::uint64_t labels = in.u32();
  in.entry += std::min(in.pop(), labels);
  return take(in);
}
template <>
bool execute<Opcode::br_on_null>(Interpreter& in) {
  in.skip_leb();
  if (in.sp[-1] != 0) return fall_through(in);
  in.sp--;
  return take(in);
}
template <>
bool execute<Opcode::br_on_non_null>(Interpreter& in) {
  in.skip_leb();
  if (in.sp[-1] != 0) return take(in);
  in.sp--;
  return fall_through(in);
}

template <>
bool execute<Opcode::drop>(Interpreter& in) {
  in.sp -= in.is_wide() ? 2 : 1;
  return true;
}
template <>
bool execute<Opcode::select>(Interpreter& in) {
  const std::uint64_t condition = in.pop();
  const std::uint32_t words = in.is_wide() ? 2 : 1;
  in.sp -= words;
  if (condition == 0) std::copy_n(in.sp, words, in.sp - words);
  return true;
}
template <>
bool execute<Opcode::select_typed>(Interpreter& in) {
  for (auto types = in.u32(); types > 0; types--) in.skip_block_type();
  return execute<Opcode::select>(in);
}

}  // namespace doppel::wasm
