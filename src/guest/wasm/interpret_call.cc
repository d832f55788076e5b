// Calls (core specification, 4.6.11): frames come and go on the execution's stack; C++ does not recurse.
#include <algorithm>

#include "guest/wasm/function_infos.h"
#include "guest/wasm/interpreter.h"
#include "guest/wasm/stack_words.h"

namespace doppel::wasm {
namespace {

/// The function that an element of a table or an operand refers to, if it is one of the type.
bool find_callee(Interpreter& in, Reference reference, TypeId type, std::uint32_t& function) {
  function = reference.function_number();
  if (function >= in.store.functions.size()) return in.trap(Trap::invalid_function);  // restored from what was damaged
  const TypeId actual = in.store.functions[function].type;
  if (actual != type && !is_subtype(actual, type)) return in.trap(Trap::type_mismatch);
  return true;
}

bool find_indirect(Interpreter& in, std::uint32_t& function) {
  const TypeId type = in.instance->module->types[in.u32()];
  const auto& elements = in.table(in.u32()).elements;
  const std::uint64_t index = in.pop();
  if (index >= elements.size()) return in.trap(Trap::undefined_element);
  if (elements[index].is_null()) return in.trap(Trap::uninitialized_element);
  return find_callee(in, elements[index], type, function);
}

bool find_referred(Interpreter& in, std::uint32_t& function) {
  const TypeId type = in.instance->module->types[in.u32()];
  const Reference reference{in.pop()};
  if (reference.is_null()) return in.trap(Trap::null_function);
  return find_callee(in, reference, type, function);
}

}  // namespace

template <>
bool execute<Opcode::call>(Interpreter& in) {
  return in.call(in.instance->functions[in.u32()]);
}
template <>
bool execute<Opcode::return_call>(Interpreter& in) {
  return in.tail_call(in.instance->functions[in.u32()]);
}
template <>
bool execute<Opcode::call_indirect>(Interpreter& in) {
  std::uint32_t function = 0;
  return find_indirect(in, function) && in.call(function);
}
template <>
bool execute<Opcode::return_call_indirect>(Interpreter& in) {
  std::uint32_t function = 0;
  return find_indirect(in, function) && in.tail_call(function);
}
template <>
bool execute<Opcode::call_ref>(Interpreter& in) {
  std::uint32_t function = 0;
  return find_referred(in, function) && in.call(function);
}
template <>
bool execute<Opcode::return_call_ref>(Interpreter& in) {
  std::uint32_t function = 0;
  return find_referred(in, function) && in.tail_call(function);
}
template <>
bool execute<Opcode::return_>(Interpreter& in) {
  return in.leave();
}

bool Interpreter::call(std::uint32_t function) {
  if (store.functions[function].instance == FunctionEntry::host) return call_host(function);
  save();
  return enter(function);
}

bool Interpreter::tail_call(std::uint32_t function) {
  if (store.functions[function].instance == FunctionEntry::host) return call_host(function) && leave();
  const FunctionInfo* const callee = prepare(function);
  if (!callee || !make_room(execution_.frames_.back().locals, *callee)) return false;
  std::copy_n(sp - callee->parameter_words, callee->parameter_words, locals);
  sp = locals + callee->parameter_words;
  execution_.frames_.pop_back();
  execution_.entries_.pop_back();
  return enter(function);
}

/// Null, with a trap, where the function's body is not valid.
const FunctionInfo* Interpreter::prepare(std::uint32_t function) {
  const FunctionEntry& entry = store.functions[function];
  const FunctionInfo* const found = store.instances[entry.instance].infos->of_function(entry.index);
  if (!found) trap(Trap::invalid_function);
  return found;
}

/// For a frame whose locals are to begin at word `begin` of the stack.
bool Interpreter::make_room(std::uint64_t begin, const FunctionInfo& callee) {
  const std::uint64_t need = begin + callee.local_words + callee.max_operand_words;
  if (need > execution_.most_words_) return trap(Trap::stack_exhausted);
  if (need > execution_.stack_.size()) grow_stack(need);
  return true;
}

void Interpreter::grow_stack(std::size_t words) {
  auto& stack = execution_.stack_;
  const auto top = sp - stack.data(), base = locals ? locals - stack.data() : 0,
             before = operands_ ? operands_ - stack.data() : 0;
  stack.resize(std::clamp<std::size_t>(stack.size() * 2, words, std::max<std::size_t>(words, execution_.most_words_)));
  sp = stack.data() + top;
  locals = stack.data() + base;
  operands_ = stack.data() + before;
}

/// Begins an activation whose arguments are on top of the stack.
bool Interpreter::enter(std::uint32_t function) {
  const FunctionInfo* const callee = prepare(function);
  if (!callee) return false;
  const auto begin = std::uint32_t(sp - execution_.stack_.data()) - callee->parameter_words;
  if (execution_.frames_.size() >= execution_.most_frames_) return trap(Trap::stack_exhausted);
  if (!make_room(begin, *callee)) return false;
  execution_.frames_.push_back({function, callee->code_begin, begin});
  execution_.entries_.push_back(0);
  std::fill_n(sp, callee->local_words - callee->parameter_words, 0);
  sp = execution_.stack_.data() + begin + callee->local_words;
  resume();
  return true;
}

/// Goes on with the topmost frame; `sp` is right already.
void Interpreter::resume() {
  const Frame& frame = execution_.frames_.back();
  const FunctionEntry& function = store.functions[frame.function];
  instance = &store.instances[function.instance];
  info = instance->infos->of_function(function.index);
  bytes = instance->module->bytes->data();
  body_end = bytes + instance->module->functions[function.index].body.end;
  pc = bytes + frame.pc;
  entry = info->branches.data() + execution_.entries_.back();
  locals = execution_.stack_.data() + frame.locals;
}

/// Makes the execution what it is at `pc`.
void Interpreter::save() {
  execution_.height_ = std::uint32_t(sp - execution_.stack_.data());
  if (execution_.frames_.back().pc == 0) return;  // nothing has begun
  execution_.frames_.back().pc = std::uint32_t(pc - bytes);
  execution_.entries_.back() = std::uint32_t(entry - info->branches.data());
}

bool Interpreter::leave() {
  const auto function = execution_.frames_.back().function;
  std::copy_n(sp - info->result_words, info->result_words, locals);
  sp = locals + info->result_words;
  execution_.frames_.pop_back();
  execution_.entries_.pop_back();
  if (!execution_.frames_.empty()) return resume(), true;
  finish(function);
  return stop({});
}

/// The results are all that is on the stack.
void Interpreter::finish(std::uint32_t function) {
  const auto& types = store.type_of(function).results;
  execution_.results_.resize(types.size());
  to_cells(types, execution_.stack_.data(), execution_.results_.data());
  execution_.height_ = 0;
}

/// Sets out with what the execution has.
bool Interpreter::begin() {
  sp = execution_.stack_.data() + execution_.height_;
  const Frame first = execution_.frames_.back();
  if (first.pc != 0) return resume(), true;
  if (store.functions[first.function].instance == FunctionEntry::host) return begin_host(first.function);
  execution_.frames_.pop_back();
  execution_.entries_.pop_back();
  if (enter(first.function)) return true;
  execution_.frames_.push_back(first);
  execution_.entries_.push_back(0);
  return false;
}

bool Interpreter::begin_host(std::uint32_t function) {
  const DefinedType& type = store.type_of(function);
  grow_stack(std::max(words_of(type.parameters), words_of(type.results)));
  const HostOutcome outcome = call_host_function(function, execution_.stack_.data(), nullptr);
  if (outcome.kind != HostOutcome::Kind::returned) return stop_for(outcome);
  execution_.frames_.clear();
  execution_.entries_.clear();
  finish(function);
  return false;
}

/// Nothing is taken from the stack before the function has returned, so that it can be called again. The code that
/// calls has room for the results, but not that of tail calls.
bool Interpreter::call_host(std::uint32_t function) {
  const DefinedType& type = store.type_of(function);
  const auto parameters = words_of(type.parameters), results = words_of(type.results);
  if (const auto end = std::size_t(sp - execution_.stack_.data()) - parameters + results;
      end > execution_.stack_.size())
    grow_stack(end);
  save();
  const HostOutcome outcome = call_host_function(function, sp - parameters, instance);
  if (outcome.kind != HostOutcome::Kind::returned) return stop_for(outcome);
  sp = sp - parameters + results;
  return true;
}

/// Leaves what it returns where its arguments are.
HostOutcome Interpreter::call_host_function(std::uint32_t function, std::uint64_t* arguments, Instance* caller) {
  const HostFunction& host = store.host_functions[store.functions[function].index];
  arguments_.resize(host.parameters.size());
  results_.assign(host.results.size(), {});
  to_cells(host.parameters, arguments, arguments_.data());
  const auto outcome = host.call({store, caller, arguments_, results_});
  if (outcome.kind == HostOutcome::Kind::returned) wasm::to_words(host.results, results_.data(), arguments);
  return outcome;
}

bool Interpreter::stop_for(const HostOutcome& outcome) {
  switch (outcome.kind) {
    case HostOutcome::Kind::returned:
    case HostOutcome::Kind::trapped:
      return trap(outcome.trap);
    case HostOutcome::Kind::ended:
      return stop({.kind = Stop::Kind::ended, .status = outcome.status});
    case HostOutcome::Kind::waits:
      return stop({.kind = Stop::Kind::waits});
  }
  return trap(outcome.trap);
}

}  // namespace doppel::wasm
