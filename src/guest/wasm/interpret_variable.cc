// Variable instructions (core specification, 4.6.2) and those on references (4.6.3).
#include <algorithm>

#include "guest/wasm/interpreter.h"

namespace doppel::wasm {
namespace {

/// The local that the instruction names, as words of the stack.
std::span<std::uint64_t> local(Interpreter& in) {
  const auto* const offset = in.info->local_offset.data() + in.u32();
  return {in.locals + offset[0], in.locals + offset[1]};
}
GlobalInstance& global(Interpreter& in) { return in.store.globals[in.instance->globals[in.u32()]]; }

}  // namespace

template <>
bool execute<Opcode::local_get>(Interpreter& in) {
  for (const std::uint64_t word : local(in)) in.push(word);
  return true;
}
template <>
bool execute<Opcode::local_set>(Interpreter& in) {
  const auto words = local(in);
  in.sp -= words.size();
  std::ranges::copy_n(in.sp, std::ptrdiff_t(words.size()), words.begin());
  return true;
}
template <>
bool execute<Opcode::local_tee>(Interpreter& in) {
  const auto words = local(in);
  std::ranges::copy_n(in.sp - words.size(), std::ptrdiff_t(words.size()), words.begin());
  return true;
}
template <>
bool execute<Opcode::global_get>(Interpreter& in) {
  const auto& [type, value] = global(in);
  in.push(value.low);
  if (type.type.words() == 2) in.push(value.high);
  return true;
}
template <>
bool execute<Opcode::global_set>(Interpreter& in) {
  auto& [type, value] = global(in);
  if (type.type.words() == 2) value.high = in.pop();
  value.low = in.pop();
  return true;
}

template <>
bool execute<Opcode::ref_null>(Interpreter& in) {
  in.skip_leb();
  in.push(Reference::null().bits);
  return true;
}
template <>
bool execute<Opcode::ref_is_null>(Interpreter& in) {
  in.push_as<U32>(Reference{in.pop()}.is_null());
  return true;
}
template <>
bool execute<Opcode::ref_func>(Interpreter& in) {
  in.push(Reference::function(in.instance->functions[in.u32()]).bits);
  return true;
}
template <>
bool execute<Opcode::ref_as_non_null>(Interpreter& in) {
  return !Reference{in.sp[-1]}.is_null() || in.trap(Trap::null_reference);
}

}  // namespace doppel::wasm
