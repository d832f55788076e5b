#pragma once
// FunctionDecoder: the operand stack, blocks, branches and calls.
#include <fmt/format.h>

#include <algorithm>

#include "guest/wasm/function_decoder.h"

namespace doppel::wasm {

template <class Consumer>
FunctionDecoder<Consumer>::FunctionDecoder(const Module& module, std::uint32_t function, Consumer& consumer)
    : module_(module),
      function_(module.functions[function]),
      type_(type_registry::type(function_.type)),
      consumer_(consumer),
      reader_(module.bytes->data(), function_.body.begin, function_.body.end) {
  constexpr std::size_t usual_height = 64;
  stack_.reserve(usual_height);  // so that even no operands have a place
}

template <class Consumer>
std::optional<ModuleError> FunctionDecoder<Consumer>::run() {
  at_ = reader_.offset();
  read_locals();
  control_.push_back({.kind = ControlKind::function, .type = {.function = &type_}});
  if (!reader_.failed()) consumer_.begin();
  while (!control_.empty() && !reader_.failed()) {
    at_ = reader_.offset();
    instruction();
  }
  if (!reader_.failed() && !reader_.at_end()) reader_.fail("END opcode expected");
  if (!reader_.failed()) return std::nullopt;
  return ModuleError{
      .malformed = reader_.malformed(), .offset = reader_.failure_offset(), .message = reader_.message()};
}

template <class Consumer>
void FunctionDecoder<Consumer>::read_locals() {
  for (const auto type : type_.parameters) locals_.push_back(type);
  std::uint64_t count = 0;
  for (auto groups = reader_.u32(); groups > 0 && !reader_.failed(); groups--) {
    const auto n = reader_.u32();
    const auto type = read_value_type(reader_, module_.types);
    if (count += n; count > 0xffff'ffff) return reader_.fail("too many locals");
    if (count > limits::locals) return fail("too many locals");
    locals_.insert(locals_.end(), n, type);
  }
  initialized_.assign(locals_.size(), true);
  for (auto n = type_.parameters.size(); n < locals_.size(); n++)
    if (!locals_[n].defaultable()) initialized_[n] = false;
}

template <class Consumer>
void FunctionDecoder<Consumer>::mismatch(ValueType found, ValueType expected) {
  fail(fmt::format("type mismatch: {} where {} is expected", spelling(found), spelling(expected)));
}

template <class Consumer>
auto FunctionDecoder<Consumer>::pop() -> Operand {
  auto& control = control_.back();
  if (stack_.size() == control.height) [[unlikely]] {
    if (!control.unreachable) fail("type mismatch: there is no operand");
    return {bottom};
  }
  const auto operand = stack_.back();
  stack_.pop_back();
  return operand;
}

template <class Consumer>
auto FunctionDecoder<Consumer>::pop(ValueType expected) -> Operand {
  const auto operand = pop();
  if (operand.type != expected && !is_subtype(operand.type, expected)) [[unlikely]]
    mismatch(operand.type, expected);
  return operand;
}

template <class Consumer>
auto FunctionDecoder<Consumer>::pop_reference() -> Operand {
  const auto operand = pop();
  if (!operand.type.is_reference() && operand.type != bottom)
    fail(fmt::format("type mismatch: {} where a reference is expected", spelling(operand.type)));
  return operand;
}

template <class Consumer>
void FunctionDecoder<Consumer>::pop_all(std::span<const ValueType> types, std::vector<Operand>& out) {
  out.resize(types.size());
  for (auto n = types.size(); n-- > 0;) out[n] = pop(types[n]);
}

/// The operands on top, which have to fit `types`, without taking them; with `convert` they have these types then.
template <class Consumer>
auto FunctionDecoder<Consumer>::top(std::span<const ValueType> types, bool convert) -> Operand* {
  const auto& control = control_.back();
  const auto available = stack_.size() - control.height;
  if (available < types.size()) [[unlikely]] {
    if (!control.unreachable) return fail("type mismatch: there are too few operands"), nullptr;
    stack_.insert(stack_.begin() + control.height, types.size() - available, Operand{bottom});
  }
  auto* first = stack_.data() + (stack_.size() - types.size());
  for (std::size_t n = 0; n < types.size(); n++) {
    if (first[n].type != types[n] && !is_subtype(first[n].type, types[n])) [[unlikely]]
      return mismatch(first[n].type, types[n]), nullptr;
    if (convert) first[n].type = types[n];
  }
  return first;
}

template <class Consumer>
void FunctionDecoder<Consumer>::set_unreachable() {
  auto& control = control_.back();
  stack_.resize(control.height);
  control.unreachable = true;
}

template <class Consumer>
BlockType FunctionDecoder<Consumer>::read_block_type() {
  const auto first = reader_.peek();
  if (first == 0x40) return reader_.byte(), BlockType{};
  if ((first & 0xc0) == 0x40) return {.single = read_value_type(reader_, module_.types)};
  const auto index = reader_.s33();
  if (reader_.failed()) return {};
  if (index < 0 || std::uint64_t(index) >= module_.types.size())
    return fail(fmt::format("unknown type {}", index)), BlockType{};
  const auto& type = type_registry::type(module_.types[std::size_t(index)]);
  if (type.form != DefinedType::Form::func)
    return fail("type mismatch: a block's type is no function type"), BlockType{};
  return {.function = &type};
}

template <class Consumer>
void FunctionDecoder<Consumer>::open(ControlKind kind, BlockType type) {
  if (top(type.parameters(), true) == nullptr || reader_.failed()) return;
  const bool dead = !reached();
  control_.push_back({.kind = kind,
                      .dead = dead,
                      .height = std::uint32_t(stack_.size() - type.parameters().size()),
                      .initialized = std::uint32_t(initialized_by_.size()),
                      .type = type});
  if (dead) return;
  auto& control = control_.back();
  if (kind == ControlKind::loop)
    consumer_.loop(control, stack_.data() + control.height);
  else if (kind == ControlKind::block)
    consumer_.block(control);
}

template <class Consumer>
void FunctionDecoder<Consumer>::open_if() {
  const auto type = read_block_type();
  const auto condition = pop(i32);
  open(ControlKind::if_, type);
  if (reader_.failed() || control_.back().dead) return;
  auto& control = control_.back();
  consumer_.if_(control, condition.value, stack_.data() + control.height);
}

/// Both ways out of a block: its results, and no more, are on the stack.
template <class Consumer>
void FunctionDecoder<Consumer>::begin_else() {
  auto& control = control_.back();
  if (control.kind != ControlKind::if_) return reader_.fail("END opcode expected");
  const auto results = control.type.results();
  auto* operands = top(results, true);
  if (operands == nullptr) return;
  if (stack_.size() != control.height + results.size())
    return fail("type mismatch: operands are left at the end of a block");
  const bool was_reached = reached();
  control.kind = ControlKind::else_;
  const auto parameters = control.type.parameters();
  arguments_.resize(parameters.size());
  for (std::size_t n = 0; n < parameters.size(); n++) arguments_[n] = {parameters[n]};
  if (!control.dead) consumer_.else_(control, was_reached ? operands : nullptr, arguments_.data());
  stack_.resize(control.height);
  stack_.insert(stack_.end(), arguments_.begin(), arguments_.end());
  control.unreachable = false;
  for (; initialized_by_.size() > control.initialized; initialized_by_.pop_back())
    initialized_[initialized_by_.back()] = false;
}

template <class Consumer>
void FunctionDecoder<Consumer>::end_block() {
  auto& control = control_.back();
  const auto results = control.type.results();
  auto* operands = top(results, true);
  if (operands == nullptr) return;
  if (stack_.size() != control.height + results.size())
    return fail("type mismatch: operands are left at the end of a block");
  if (control.kind == ControlKind::if_) {
    const auto parameters = control.type.parameters();
    if (!std::ranges::equal(parameters, results, [](auto a, auto b) { return is_subtype(a, b); }))
      return fail("type mismatch: an if without else has to give what it takes");
  }
  for (; initialized_by_.size() > control.initialized; initialized_by_.pop_back())
    initialized_[initialized_by_.back()] = false;
  const bool dead = control.dead;
  if (!dead) {
    consumer_.end(control, reached() ? operands : nullptr);
    if (control_.size() > 1) consumer_.results(control, operands);
  }
  control_.pop_back();
}

template <class Consumer>
auto FunctionDecoder<Consumer>::read_label() -> Control* {
  const auto depth = reader_.u32();
  if (reader_.failed()) return nullptr;
  if (depth >= control_.size()) return fail(fmt::format("unknown label {}", depth)), nullptr;
  return &control(depth);
}

template <class Consumer>
void FunctionDecoder<Consumer>::br_table() {
  const auto index = pop(i32);
  const auto count = reader_.u32();
  if (count > reader_.left()) return reader_.fail("unexpected end of section or function");
  std::vector<std::uint32_t> depths(std::size_t{count} + 1);
  Operand* operands = nullptr;
  std::size_t arity = 0;
  for (auto& depth : depths) {
    depth = reader_.u32();
    if (reader_.failed()) return;
    if (depth >= control_.size()) return fail(fmt::format("unknown label {}", depth));
    const auto label = control(depth).label();
    if (&depth != depths.data() && label.size() != arity)
      return fail("type mismatch: the labels take different numbers of operands");
    arity = label.size();
    operands = top(label, false);
    if (operands == nullptr) return;
  }
  if (reached()) consumer_.br_table(index.value, std::span<const std::uint32_t>(depths), operands);
  set_unreachable();
}

template <class Consumer>
void FunctionDecoder<Consumer>::br_on_null(bool branch_on_null) {
  auto* label = read_label();
  if (label == nullptr) return;
  auto reference = pop_reference();
  const auto type = reference.type == bottom ? bottom : ValueType::reference(reference.type.heap(), false);
  if (branch_on_null) {
    auto* operands = top(label->label(), true);
    if (operands == nullptr) return;
    if (reached()) consumer_.br_on_null(*label, reference.value, operands);
    push(type, reference.value);
    return;
  }
  const auto types = label->label();
  if (types.empty()) return fail("type mismatch: the label takes no reference");
  push(type, reference.value);
  auto* operands = top(types, true);
  if (operands == nullptr) return;
  if (reached()) consumer_.br_on_non_null(*label, reference.value, operands);
  stack_.pop_back();
}

template <class Consumer>
void FunctionDecoder<Consumer>::branching(Opcode opcode) {
  switch (opcode) {
    case Opcode::br:
    case Opcode::return_: {
      auto* label = opcode == Opcode::br ? read_label() : &control_.front();
      auto* operands = label == nullptr ? nullptr : top(label->label(), false);
      if (operands == nullptr) return;
      if (reached()) opcode == Opcode::br ? consumer_.br(*label, operands) : consumer_.return_(operands);
      return set_unreachable();
    }
    case Opcode::br_if: {
      auto* label = read_label();
      if (label == nullptr) return;
      const auto condition = pop(i32);
      auto* operands = top(label->label(), true);
      if (operands != nullptr && reached()) consumer_.br_if(*label, condition.value, operands);
      return;
    }
    case Opcode::br_table:
      return br_table();
    default:
      return br_on_null(opcode == Opcode::br_on_null);
  }
}

template <class Consumer>
void FunctionDecoder<Consumer>::structured(Opcode opcode) {
  switch (opcode) {
    case Opcode::block:
      return open(ControlKind::block, read_block_type());
    case Opcode::loop:
      return open(ControlKind::loop, read_block_type());
    case Opcode::if_:
      return open_if();
    case Opcode::else_:
      return begin_else();
    default:
      return end_block();
  }
}

template <class Consumer>
const DefinedType* FunctionDecoder<Consumer>::read_function_type(TypeId* id) {
  const auto index = read_index(module_.types.size(), "type");
  if (reader_.failed()) return nullptr;
  *id = module_.types[index];
  const auto& type = type_registry::type(*id);
  if (type.form != DefinedType::Form::func) return fail("type mismatch: it is no function type"), nullptr;
  return &type;
}

/// `tell` gives the consumer the arguments and where results go.
template <class Consumer>
void FunctionDecoder<Consumer>::call(const DefinedType& type, bool tail, auto&& tell) {
  pop_all(type.parameters, arguments_);
  if (reader_.failed()) return;
  if (tail && !std::ranges::equal(type.results, type_.results, [](auto a, auto b) { return is_subtype(a, b); }))
    return fail("type mismatch: what a tail call gives is not what the function gives");
  const auto height = stack_.size();
  if (!tail)
    for (const auto result : type.results) push(result);
  if (reached()) tell(arguments_.data(), stack_.data() + height);
  if (tail) set_unreachable();
}

template <class Consumer>
void FunctionDecoder<Consumer>::calling(Opcode opcode) {
  const bool tail =
      opcode == Opcode::return_call || opcode == Opcode::return_call_indirect || opcode == Opcode::return_call_ref;
  if (opcode == Opcode::call || opcode == Opcode::return_call) {
    const auto index = read_index(module_.functions.size(), "function");
    if (reader_.failed()) return;
    return call(type_registry::type(module_.functions[index].type), tail,
                [&](Operand* arguments, Operand* results) { consumer_.call(index, tail, arguments, results); });
  }
  TypeId id = 0;
  const auto* type = read_function_type(&id);
  if (type == nullptr) return;
  if (opcode == Opcode::call_ref || opcode == Opcode::return_call_ref) {
    const auto callee = pop(ValueType::reference(HeapType::defined(id), true));
    return call(*type, tail, [&](Operand* arguments, Operand* results) {
      consumer_.call_ref(id, callee.value, callee.type.nullable(), tail, arguments, results);
    });
  }
  const auto table = read_index(module_.tables.size(), "table");
  if (reader_.failed()) return;
  if (!is_subtype(module_.tables[table].type.element, funcref))
    return fail("type mismatch: the table is not of functions");
  const auto element = pop(address_of_table(table));
  call(*type, tail, [&](Operand* arguments, Operand* results) {
    consumer_.call_indirect(id, table, element.value, tail, arguments, results);
  });
}

}  // namespace doppel::wasm
