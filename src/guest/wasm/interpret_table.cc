// Table instructions (core specification, 4.6.9).
#include "guest/wasm/bulk_operations.h"
#include "guest/wasm/interpreter.h"

namespace doppel::wasm {
namespace {

bool done(Interpreter& in, bulk::Outcome outcome) { return !outcome || in.trap(*outcome); }

}  // namespace

template <>
bool execute<Opcode::table_get>(Interpreter& in) {
  const auto& elements = in.table(in.u32()).elements;
  const std::uint64_t index = in.pop();
  if (index >= elements.size()) return in.trap(Trap::table_bounds);
  in.push(elements[index].bits);
  return true;
}
template <>
bool execute<Opcode::table_set>(Interpreter& in) {
  auto& elements = in.table(in.u32()).elements;
  const Reference value{in.pop()};
  const std::uint64_t index = in.pop();
  if (index >= elements.size()) return in.trap(Trap::table_bounds);
  elements[index] = value;
  return true;
}
template <>
bool execute<Opcode::table_size>(Interpreter& in) {
  const TableInstance& table = in.table(in.u32());
  in.push_size(table.elements.size(), table.type.limits.is64);
  return true;
}
template <>
bool execute<Opcode::table_grow>(Interpreter& in) {
  const std::uint32_t table = in.instance->tables[in.u32()];
  const std::uint64_t elements = in.pop();
  const Reference initial{in.pop()};
  in.push_size(in.store.grow_table(table, elements, initial), in.store.tables[table].type.limits.is64);
  return true;
}
template <>
bool execute<Opcode::table_fill>(Interpreter& in) {
  const std::uint32_t table = in.instance->tables[in.u32()];
  const std::uint64_t size = in.pop();
  const Reference value{in.pop()};
  return done(in, bulk::table_fill(in.store, table, in.pop(), value, size));
}
template <>
bool execute<Opcode::table_copy>(Interpreter& in) {
  const std::uint32_t to_table = in.instance->tables[in.u32()], from_table = in.instance->tables[in.u32()];
  const std::uint64_t size = in.pop(), from = in.pop(), to = in.pop();
  return done(in, bulk::table_copy(in.store, to_table, from_table, to, from, size));
}
template <>
bool execute<Opcode::table_init>(Interpreter& in) {
  const std::uint32_t segment = in.u32(), table = in.instance->tables[in.u32()];
  const std::uint64_t size = in.pop(), from = in.pop(), to = in.pop();
  return done(in, bulk::table_init(in.store, *in.instance, table, segment, to, from, size));
}
template <>
bool execute<Opcode::elem_drop>(Interpreter& in) {
  in.instance->dropped_elements[in.u32()] = true;
  return true;
}

}  // namespace doppel::wasm
