#pragma once
// FunctionDecoder: everything that goes on with the next instruction.
#include <fmt/format.h>

#include "guest/wasm/function_decoder.h"

namespace doppel::wasm {

namespace detail {

constexpr ValueType type_of_letter(char letter) {
  switch (letter) {
    case 'i':
      return i32;
    case 'l':
      return i64;
    case 'f':
      return f32;
    case 'd':
      return f64;
    case 'v':
      return v128;
    default:
      return bottom;  // the address type
  }
}

/// The `signature` and `immediates` of a row, taken apart.
struct Shape {
  bool described = false, memory = false;
  std::uint8_t count = 0;
  std::array<ValueType, 3> arguments;
  bool gives = false;
  ValueType result;
  char immediate = 0;
  std::uint8_t natural_align = 0, lanes = 0;
};

/// log2 of how many bytes an access transfers; the width is the first number in its name behind the dot, or the type's.
constexpr std::uint8_t natural_align(std::string_view text) {
  const auto dot = text.find('.');
  const auto name = text.substr(dot + 1);
  const auto width = name.find_first_of("0123456789");
  if (name.find('x') != std::string_view::npos && width != std::string_view::npos) return 3;  // load8x8 and so on
  const auto digits = width == std::string_view::npos ? text.substr(1, dot - 1) : name.substr(width);
  unsigned bits = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') break;
    bits = bits * 10 + unsigned(c - '0');
  }
  return std::uint8_t(std::countr_zero(bits / 8));
}

constexpr Shape shape_of(const OpcodeRow& row) {
  Shape shape;
  if (row.signature == "*") return shape;
  shape.described = true;
  const auto colon = row.signature.find(':');
  for (const char c : row.signature.substr(0, colon)) {
    if (shape.count < 3) shape.arguments[shape.count] = type_of_letter(c);
    shape.count++;
  }
  if (const auto results = row.signature.substr(colon + 1); !results.empty())
    shape.gives = true, shape.result = type_of_letter(results[0]);
  shape.memory = row.immediates.find_first_of("mM") != std::string_view::npos;
  shape.immediate = row.immediates.empty() ? '\0' : row.immediates.back();
  if (row.immediates.starts_with('m')) shape.natural_align = natural_align(row.text);
  if (shape.immediate == 'n')
    shape.lanes =
        shape.memory ? std::uint8_t(16 >> shape.natural_align) : std::uint8_t(row.text[row.text.find('x') + 1] - '0');
  if (row.text.starts_with("i8x16.") && shape.immediate == 'n') shape.lanes = 16;
  return shape;
}

constexpr std::array<Shape, opcode_count> all_shapes() {
  std::array<Shape, opcode_count> shapes;
  for (std::size_t n = 0; n < opcode_count; n++) shapes[n] = shape_of(opcode_rows[n]);
  return shapes;
}
inline constexpr auto shapes = all_shapes();
static_assert(shapes[std::size_t(Opcode::i32_load16_u)].natural_align == 1 &&
              shapes[std::size_t(Opcode::f64_store)].natural_align == 3 &&
              shapes[std::size_t(Opcode::v128_load)].natural_align == 4 &&
              shapes[std::size_t(Opcode::v128_load32x2_u)].natural_align == 3 &&
              shapes[std::size_t(Opcode::v128_load16_lane)].lanes == 8 &&
              shapes[std::size_t(Opcode::f64x2_replace_lane)].lanes == 2);

}  // namespace detail

template <class Consumer>
void FunctionDecoder<Consumer>::instruction() {
  const auto first = reader_.byte();
  const auto opcode = is_prefix(first) ? decode(first, reader_.u32()) : decode(0, first);
  if (reader_.failed()) return;
  if (opcode == Opcode::count) return reader_.fail_at(at_, fmt::format("illegal opcode {:02x}", first));
  const auto& shape = detail::shapes[std::size_t(opcode)];
  if (shape.described) return shape.memory ? described_memory(opcode) : described(opcode);
  switch (row(opcode).feature) {
    case Feature::gc:
      return fail(fmt::format("{} needs garbage collection, which is not supported", row(opcode).text));
    case Feature::exceptions:
      return fail(fmt::format("{} needs exceptions, which are not supported", row(opcode).text));
    case Feature::mvp:
      return special(opcode);
  }
}

template <class Consumer>
std::uint32_t FunctionDecoder<Consumer>::read_index(std::size_t count, std::string_view what) {
  const auto index = reader_.u32();
  if (index >= count && !reader_.failed()) fail(fmt::format("unknown {} {}", what, index));
  return index;
}

template <class Consumer>
MemoryArgument FunctionDecoder<Consumer>::read_memory_argument(unsigned natural_align) {
  constexpr std::uint32_t with_memory = 1U << 6;
  MemoryArgument argument;
  const auto flags = reader_.u32();
  if (flags >= 2 * with_memory) return reader_.fail("malformed memop flags"), argument;
  if (flags & with_memory) argument.memory = reader_.u32();
  argument.align = std::uint8_t(flags & (with_memory - 1));
  argument.offset = reader_.u64();
  if (reader_.failed()) return argument;
  if (argument.memory >= module_.memories.size())
    return fail(fmt::format("unknown memory {}", argument.memory)), argument;
  if (argument.align > natural_align) return fail("alignment must not be larger than natural"), argument;
  if (argument.offset > 0xffff'ffff && !module_.memories[argument.memory].limits.is64) fail("offset out of range");
  return argument;
}

/// What the table describes, with its operands' values in order.
template <class Consumer>
void FunctionDecoder<Consumer>::described(Opcode opcode) {
  const auto& shape = detail::shapes[std::size_t(opcode)];
  Immediate immediate;
  switch (shape.immediate) {
    case 'i':
      immediate.bits = std::uint32_t(reader_.s32());
      break;
    case 'I':
      immediate.bits = std::uint64_t(reader_.s64());
      break;
    case 's':
      immediate.bits = reader_.fixed32();
      break;
    case 'd':
      immediate.bits = reader_.fixed64();
      break;
    case 'v':
      immediate.bytes = reader_.skip(16);
      break;
    case 'S':
      immediate.bytes = reader_.skip(16);
      if (immediate.bytes && std::any_of(immediate.bytes, immediate.bytes + 16, [](auto lane) { return lane >= 32; }))
        return fail("invalid lane index");
      break;
    case 'n':
      immediate.bits = reader_.byte();
      if (immediate.bits >= shape.lanes) return fail("invalid lane index");
      break;
    case 'e':
    case 'D':
      return bulk_memory(opcode);
    default:
      break;
  }
  std::array<Value, 3> values{};
  for (unsigned n = shape.count; n-- > 0;) values[n] = pop(shape.arguments[n]).value;
  if (reader_.failed()) return;
  Value result{};
  if (reached()) result = consumer_.plain(opcode, values.data(), immediate);
  if (shape.gives) push(shape.result, result);
}

template <class Consumer>
void FunctionDecoder<Consumer>::described_memory(Opcode opcode) {
  const auto& shape = detail::shapes[std::size_t(opcode)];
  if (!row(opcode).immediates.starts_with('m')) return bulk_memory(opcode);
  const auto argument = read_memory_argument(shape.natural_align);
  Immediate lane;
  if (shape.immediate == 'n') {
    lane.bits = reader_.byte();
    if (!reader_.failed() && lane.bits >= shape.lanes) return fail("invalid lane index");
  }
  if (reader_.failed()) return;
  Value value{};
  if (shape.count == 2) value = pop(shape.arguments[1]).value;
  const auto address = pop(address_of_memory(argument.memory)).value;
  if (reader_.failed()) return;
  if (shape.gives) {
    Value result{};
    if (reached()) result = consumer_.load(opcode, argument, address, value, lane);
    push(shape.result, result);
  } else if (reached()) {
    consumer_.store(opcode, argument, address, value, lane);
  }
}

/// Whole stretches of memories and tables, and their sizes.
template <class Consumer>
void FunctionDecoder<Consumer>::bulk_memory(Opcode opcode) {
  const bool drops = opcode == Opcode::data_drop || opcode == Opcode::elem_drop;
  const bool names_data = opcode == Opcode::data_drop || opcode == Opcode::memory_init;
  const auto first = drops || names_data ? reader_.u32() : 0;
  const auto second = drops ? 0 : read_index(module_.memories.size(), "memory");
  if (reader_.failed()) return;
  // The count is there before the segments are, so that a body can be checked on its own.
  if (names_data && !module_.data_count) return reader_.fail("data count section required");
  if (names_data && first >= *module_.data_count) return fail(fmt::format("unknown data segment {}", first));
  if (opcode == Opcode::elem_drop && first >= module_.elements.size())
    return fail(fmt::format("unknown elem segment {}", first));
  const auto& shape = detail::shapes[std::size_t(opcode)];
  const auto address = shape.memory ? address_of_memory(second) : i32;
  std::array<Value, 3> values{};
  for (unsigned n = shape.count; n-- > 0;)
    values[n] = pop(shape.arguments[n] == bottom ? address : shape.arguments[n]).value;
  if (reader_.failed()) return;
  Value result{};
  if (reached()) result = consumer_.bulk(opcode, first, second, values.data());
  if (shape.gives) push(address, result);
}

template <class Consumer>
void FunctionDecoder<Consumer>::table_instruction(Opcode opcode) {
  std::uint32_t first = 0;
  if (opcode == Opcode::table_init) first = reader_.u32();
  const auto table = read_index(module_.tables.size(), "table");
  if (opcode == Opcode::table_copy) first = read_index(module_.tables.size(), "table");  // where it is copied from
  if (opcode == Opcode::table_init && first >= module_.elements.size())
    fail(fmt::format("unknown elem segment {}", first));
  if (reader_.failed()) return;
  const auto element = module_.tables[table].type.element;
  const auto address = address_of_table(table);
  std::array<ValueType, 3> types;
  unsigned count = 0;
  ValueType result = bottom;
  switch (opcode) {
    case Opcode::table_get:
      types = {address}, count = 1, result = element;
      break;
    case Opcode::table_set:
      types = {address, element}, count = 2;
      break;
    case Opcode::table_size:
      result = address;
      break;
    case Opcode::table_grow:
      types = {element, address}, count = 2, result = address;
      break;
    case Opcode::table_fill:
      types = {address, element, address}, count = 3;
      break;
    case Opcode::table_init:
      if (!is_subtype(module_.elements[first].type, element)) return mismatch(module_.elements[first].type, element);
      types = {address, i32, i32}, count = 3;
      break;
    default: {
      const auto& from = module_.tables[first].type;
      if (!is_subtype(from.element, element)) return mismatch(from.element, element);
      const auto source = address_of_table(first);
      types = {address, source, address == i64 && source == i64 ? i64 : i32}, count = 3;
    }
  }
  std::array<Value, 3> values{};
  for (auto n = count; n-- > 0;) values[n] = pop(types[n]).value;
  if (reader_.failed()) return;
  Value given{};
  if (reached()) given = consumer_.table(opcode, first, table, values.data());
  if (result != bottom) push(result, given);
}

template <class Consumer>
void FunctionDecoder<Consumer>::select(ValueType type) {
  const auto condition = pop(i32);
  auto second = type == bottom ? pop() : pop(type);
  auto first = type == bottom ? pop() : pop(type);
  if (type == bottom) {
    if (first.type.is_reference() || second.type.is_reference())
      return fail("type mismatch: select of references says its type");
    if (first.type != second.type && first.type != bottom && second.type != bottom)
      return mismatch(second.type, first.type);
    type = first.type == bottom ? second.type : first.type;
  }
  if (reader_.failed()) return;
  Value result{};
  if (reached()) result = consumer_.select(type, condition.value, first.value, second.value);
  push(type, result);
}

template <class Consumer>
void FunctionDecoder<Consumer>::local(Opcode opcode) {
  const auto index = read_index(locals_.size(), "local");
  if (reader_.failed()) return;
  const auto type = locals_[index];
  if (opcode == Opcode::local_get) {
    if (!initialized_[index]) [[unlikely]]
      return fail(fmt::format("uninitialized local {}", index));
    return push(type, reached() ? consumer_.local_get(index) : Value{});
  }
  auto operand = pop(type);
  if (reader_.failed()) return;
  if (!initialized_[index]) initialized_[index] = true, initialized_by_.push_back(index);
  if (reached()) consumer_.local_set(index, operand.value);
  if (opcode == Opcode::local_tee) push(type, operand.value);
}

template <class Consumer>
void FunctionDecoder<Consumer>::global(Opcode opcode) {
  const auto index = read_index(module_.globals.size(), "global");
  if (reader_.failed()) return;
  const auto& type = module_.globals[index].type;
  if (opcode == Opcode::global_get) return push(type.type, reached() ? consumer_.global_get(index) : Value{});
  if (!type.mutable_) return fail(fmt::format("immutable global {}", index));
  const auto operand = pop(type.type);
  if (!reader_.failed() && reached()) consumer_.global_set(index, operand.value);
}

/// What the table does not describe.
template <class Consumer>
void FunctionDecoder<Consumer>::special(Opcode opcode) {
  switch (opcode) {
    case Opcode::block:
    case Opcode::loop:
    case Opcode::if_:
    case Opcode::else_:
    case Opcode::end:
      return structured(opcode);
    case Opcode::br:
    case Opcode::br_if:
    case Opcode::br_table:
    case Opcode::return_:
    case Opcode::br_on_null:
    case Opcode::br_on_non_null:
      return branching(opcode);
    case Opcode::call:
    case Opcode::call_indirect:
    case Opcode::call_ref:
    case Opcode::return_call:
    case Opcode::return_call_indirect:
    case Opcode::return_call_ref:
      return calling(opcode);
    case Opcode::local_get:
    case Opcode::local_set:
    case Opcode::local_tee:
      return local(opcode);
    case Opcode::global_get:
    case Opcode::global_set:
      return global(opcode);
    default:
      return rare(opcode);
  }
}

template <class Consumer>
void FunctionDecoder<Consumer>::rare(Opcode opcode) {
  switch (opcode) {
    case Opcode::unreachable:
      if (reached()) consumer_.unreachable();
      return set_unreachable();
    case Opcode::drop: {
      const auto operand = pop();
      if (!reader_.failed() && reached()) consumer_.drop(operand.type, operand.value);
      return;
    }
    case Opcode::select:
      return select(bottom);
    case Opcode::select_typed: {
      if (reader_.u32() != 1) return reader_.failed() ? void() : fail("invalid result arity");
      const auto type = read_value_type(reader_, module_.types);
      return reader_.failed() ? void() : select(type);
    }
    case Opcode::ref_null: {
      const auto heap = read_heap_type(reader_, module_.types);
      if (!reader_.failed()) push(ValueType::reference(heap, true), reached() ? consumer_.ref_null() : Value{});
      return;
    }
    case Opcode::ref_func: {
      const auto index = read_index(module_.functions.size(), "function");
      if (reader_.failed()) return;
      const auto& function = module_.functions[index];
      if (!function.referable) return fail("undeclared function reference");
      return push(ValueType::reference(HeapType::defined(function.type), false),
                  reached() ? consumer_.ref_func(index) : Value{});
    }
    case Opcode::ref_is_null: {
      const auto operand = pop_reference();
      return push(i32, reached() ? consumer_.ref_is_null(operand.value) : Value{});
    }
    case Opcode::ref_as_non_null: {
      const auto operand = pop_reference();
      if (reached()) consumer_.ref_as_non_null(operand.value);
      return push(operand.type == bottom ? bottom : ValueType::reference(operand.type.heap(), false), operand.value);
    }
    case Opcode::memory_copy:
      return memory_copy();
    default:
      return table_instruction(opcode);
  }
}

template <class Consumer>
void FunctionDecoder<Consumer>::memory_copy() {
  const auto to = read_index(module_.memories.size(), "memory");
  const auto from = read_index(module_.memories.size(), "memory");
  if (reader_.failed()) return;
  const auto destination = address_of_memory(to), source = address_of_memory(from);
  std::array<Value, 3> values{};
  values[2] = pop(destination == i64 && source == i64 ? i64 : i32).value;
  values[1] = pop(source).value;
  values[0] = pop(destination).value;
  if (!reader_.failed() && reached()) consumer_.bulk(Opcode::memory_copy, from, to, values.data());
}

}  // namespace doppel::wasm
