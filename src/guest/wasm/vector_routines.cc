#include "guest/wasm/vector_routines.h"

#include <cstring>
#include <utility>

#include "guest/wasm/operations.h"

namespace doppel::wasm {
namespace {

template <char letter>
constexpr auto type_of() {
  if constexpr (letter == 'i')
    return U32{};
  else if constexpr (letter == 'l')
    return U64{};
  else if constexpr (letter == 'f')
    return float{};
  else if constexpr (letter == 'd')
    return double{};
  else
    return V128{};
}

template <typename T>
T from_cell(const ir::ProgramCell& cell) {
  T value;
  std::memcpy(&value, &cell, sizeof value);
  return value;
}

template <Opcode opcode, std::size_t n>
auto operand(const ir::ProgramCell* cells) {
  return from_cell<decltype(type_of<row(opcode).signature[n]>())>(cells[n]);
}

template <Opcode opcode, std::size_t... n>
auto compute(const ir::ProgramCell* cells, [[maybe_unused]] std::uint32_t lane, std::index_sequence<n...>) {
  constexpr int shuffled = 3;
  if constexpr (row(opcode).immediates == "n")
    return operation<opcode>(U8(lane), operand<opcode, n>(cells)...);
  else if constexpr (row(opcode).immediates == "S")
    return operation<opcode>(from_cell<vector::Lanes<U8>>(cells[shuffled]), operand<opcode, n>(cells)...);
  else
    return operation<opcode>(operand<opcode, n>(cells)...);
}

template <Opcode opcode>
void routine(ir::ProgramCell* cells, std::uint32_t lane) {
  constexpr auto operands = std::make_index_sequence<row(opcode).signature.find(':')>();
  const auto result = compute<opcode>(cells, lane, operands);
  std::memcpy(cells, &result, sizeof result);
}

}  // namespace

const std::array<const void*, ir::vector_op_count>& vector_routines() {
  static const std::array<const void*, ir::vector_op_count> all = {
#define VECTOR(name, arguments, result, immediate) reinterpret_cast<const void*>(&routine<Opcode::name>),
#include "ir/vector_ops.inc"
  };
  return all;
}

}  // namespace doppel::wasm
