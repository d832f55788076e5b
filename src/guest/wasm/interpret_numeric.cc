// Numeric and vector instructions that only compute (core specification, 4.6.4 and 4.6.5): what they take and give follows
// from their signatures in opcodes.inc, what they do from operations.inc.
#include <utility>

#include "guest/wasm/interpreter.h"
#include "guest/wasm/operations.h"

namespace doppel::wasm {
namespace {

template <char letter>
struct OperandOf;
template <>
struct OperandOf<'i'> {
  using Type = U32;
};
template <>
struct OperandOf<'l'> {
  using Type = U64;
};
template <>
struct OperandOf<'f'> {
  using Type = float;
};
template <>
struct OperandOf<'d'> {
  using Type = double;
};
template <>
struct OperandOf<'v'> {
  using Type = V128;
};

constexpr std::size_t arity(Opcode opcode) { return row(opcode).signature.find(':'); }
/// Where the nth operand lies above the first, in words.
constexpr std::size_t place(Opcode opcode, std::size_t n) {
  std::size_t words = 0;
  for (const char letter : row(opcode).signature.substr(0, n)) words += letter == 'v' ? 2 : 1;
  return words;
}
template <Opcode opcode, std::size_t n>
using Operand = OperandOf<row(opcode).signature[n]>::Type;

template <typename T>
bool give(Interpreter& in, T result) {
  in.push_as(result);
  return true;
}
template <typename T>
bool give(Interpreter& in, Partial<T> result) {
  return result.trap ? in.trap(*result.trap) : give(in, result.value);
}

/// `immediates` are the lane or lanes, if there are any.
template <Opcode opcode, std::size_t... n>
bool compute(Interpreter& in, std::index_sequence<n...>, auto... immediates) {
  const std::uint64_t* const first = in.sp -= place(opcode, arity(opcode));
  const auto result =
      operation<opcode>(immediates..., Interpreter::from_words<Operand<opcode, n>>(first + place(opcode, n))...);
  using Result = OperandOf<row(opcode).signature.back()>::Type;
  static_assert(std::is_same_v<decltype(result), const Result> || std::is_same_v<decltype(result), const Partial<Result>>);
  return give(in, result);
}

template <Opcode opcode>
bool compute(Interpreter& in) {
  constexpr auto operands = std::make_index_sequence<arity(opcode)>();
  if constexpr (row(opcode).immediates == "n")
    return compute<opcode>(in, operands, in.fixed<U8>());
  else if constexpr (row(opcode).immediates == "S")
    return compute<opcode>(in, operands, in.fixed<vector::Lanes<U8>>());
  else
    return compute<opcode>(in, operands);
}

}  // namespace

#define OPERATION(name, ...)                     \
  template <>                                    \
  bool execute<Opcode::name>(Interpreter & in) { \
    return compute<Opcode::name>(in);            \
  }
#include "guest/wasm/operations.inc"

template <>
bool execute<Opcode::i32_const>(Interpreter& in) {
  return give(in, U32(in.s64()));
}
template <>
bool execute<Opcode::i64_const>(Interpreter& in) {
  return give(in, U64(in.s64()));
}
template <>
bool execute<Opcode::f32_const>(Interpreter& in) {
  return give(in, in.fixed<U32>());
}
template <>
bool execute<Opcode::f64_const>(Interpreter& in) {
  return give(in, in.fixed<U64>());
}
template <>
bool execute<Opcode::v128_const>(Interpreter& in) {
  return give(in, in.fixed<V128>());
}

}  // namespace doppel::wasm
