// FunctionGenerator: blocks, variables, jumps and returns.
#include <algorithm>
#include <map>

#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::FunctionOp;
using ir::no_value;
using ir::Type;
namespace Inst = x86::Inst;

void FunctionGenerator::begin_block(const Instruction& i) {
  forget_all();
  a_.bind(labels_[i.imm]);
}

void FunctionGenerator::get_variable(Value v, const Instruction& i) {
  if (places_[v].uses == 0) return;
  const auto known = variable_register(i.type, std::int64_t(i.imm));
  if (known != no_register) return attach(v, known);
  const auto reg = result(i.type);
  const auto at = variable_word(i.imm);
  if (ir::is_general(i.type))
    a_.mov(gp(reg, i.type), at);
  else
    a_.emit(move_id(i.type), x86::xmm(reg), at);
  know(bank(i.type), reg, std::int64_t(i.imm));
  attach(v, reg);
}

void FunctionGenerator::set_variable(const Instruction& i) {
  const auto in = bank(i.type);
  const auto at = variable_word(i.imm);
  const auto known = variable_register(i.type, std::int64_t(i.imm));
  if (known != no_register) forget_variable(in, known);
  if (places_[i.a].reg == no_register && fits_immediate(i.a)) {
    a_.mov(at, std::int32_t(function_->code[i.a].imm));
    return used(i.a);
  }
  const auto reg = fetch(i.a);
  if (ir::is_general(i.type))
    a_.mov(at, gp(reg, i.type));
  else
    a_.emit(move_id(i.type), at, x86::xmm(reg));
  used(i.a);
  if (registers(in)[reg].variable == -1) know(in, reg, std::int64_t(i.imm));
}

void FunctionGenerator::global(Value v, const Instruction& i) {
  a_.mov(x86::rax, context(shape_.layout.global(i.imm)));
  const auto at = x86::Mem(x86::rax, 0, ir::bytes(i.type));
  const bool general = ir::is_general(i.type);
  const auto id = move_id(i.type);
  if (i.op == FunctionOp::get_global) {
    const auto reg = result(i.type);
    general ? a_.mov(gp(reg, i.type), at) : a_.emit(id, x86::xmm(reg), at);
    return define(v, reg);
  }
  if (places_[i.a].reg == no_register && fits_immediate(i.a)) {
    a_.mov(at, std::int32_t(function_->code[i.a].imm));
  } else {
    const auto reg = fetch(i.a);
    general ? a_.mov(at, gp(reg, i.type)) : a_.emit(id, at, x86::xmm(reg));
  }
  used(i.a);
}

bool FunctionGenerator::is_next(std::uint64_t block) const {
  const auto next = current_ + 1;
  return next < function_->code.size() && function_->code[next].op == FunctionOp::block &&
         function_->code[next].imm == block;
}

void FunctionGenerator::use_all(std::span<const Value> arguments) {
  for (const auto v : arguments) used(v);
}

/// Into the given word, of the operands; a value that is there already is not stored twice.
void FunctionGenerator::pass_one(Value v, std::uint32_t to) {
  const auto& i = function_->code[v];
  const auto kind = type(v);
  if (to == i.slot) {
    if (places_[v].reg != no_register) return store_value(v);
    if (places_[v].stored) return;
  }
  const auto at = word(to, kind);
  if (ir::is_general(kind)) {
    if (places_[v].reg == no_register && fits_immediate(v)) {
      a_.mov(at, std::int32_t(i.imm));
      return;
    }
    auto reg = places_[v].reg;
    if (reg == no_register) load_into(reg = 0, v);
    a_.mov(at, gp(reg, kind));
    return;
  }
  auto reg = places_[v].reg;
  if (reg == no_register) load_into(reg = std::uint8_t(vector_scratch.id()), v);
  a_.emit(move_id(kind), at, x86::xmm(reg));
}

/// Arguments go to a block's parameters in ascending order: their words are never above the ones they come from.
void FunctionGenerator::pass(std::span<const Value> arguments, std::uint32_t height) {
  for (const auto v : arguments) {
    pass_one(v, height);
    height += ir::words_of(type(v));
  }
}

bool FunctionGenerator::in_place(std::span<const Value> arguments, std::uint32_t height) const {
  for (const auto v : arguments) {
    if (function_->code[v].slot != height) return false;
    height += ir::words_of(type(v));
  }
  return true;
}

void FunctionGenerator::jump(const Instruction& i) {
  const auto arguments = function_->list(argument_list(i));
  const auto height = function_->blocks[i.imm].height;
  store_all_below(height);
  pass(arguments, height);
  use_all(arguments);
  if (!is_next(i.imm)) a_.jmp(labels_[i.imm]);
}

/// The condition under which a value of i32 is not 0, for the flags as they are now; it is used.
x86::CondCode FunctionGenerator::condition(Value v) {
  if (flags_of_ == v) {
    flags_of_ = no_value;
    return flags_;
  }
  const auto reg = fetch(v);
  a_.test(x86::gpd(reg), x86::gpd(reg));
  used(v);
  return x86::CondCode::kNotZero;
}

/// What has to be stored is stored before flags are made: by plain moves, which keep them.
void FunctionGenerator::jump_if(const Instruction& i) {
  const auto arguments = function_->list(argument_list(i));
  const auto height = function_->blocks[i.imm].height;
  const bool there = in_place(arguments, height);
  store_all_below(height);
  if (there) pass(arguments, height);
  auto holds = condition(i.a);
  if (i.flag == 1) holds = x86::negateCond(holds);
  if (there) {
    a_.j(holds, labels_[i.imm]);
  } else {
    const auto on = a_.newLabel();
    a_.j(x86::negateCond(holds), on);
    const auto stored = stored_flags(arguments);  // what happens here does not happen on the other way
    pass(arguments, height);
    a_.jmp(labels_[i.imm]);
    a_.bind(on);
    set_stored_flags(arguments, stored);
  }
  use_all(arguments);
}

std::span<const std::uint8_t> FunctionGenerator::stored_flags(std::span<const Value> values) {
  stored_.clear();
  for (const auto v : values) stored_.push_back(places_[v].stored);
  return stored_;
}

void FunctionGenerator::set_stored_flags(std::span<const Value> values, std::span<const std::uint8_t> flags) {
  for (std::size_t n = 0; n < values.size(); n++) places_[values[n]].stored = flags[n] != 0;
}

/// Through a table of distances; blocks whose arguments have to move get a way of their own.
void FunctionGenerator::jump_table(const Instruction& i) {
  const auto arguments = function_->list(argument_list(i));
  const auto labels = std::span(function_->labels).subspan(i.c, std::size_t(i.imm >> 32));
  std::uint32_t height = 0;
  for (const auto block : labels) height = std::max(height, function_->blocks[block].height);
  store_all_below(height);
  load_into(0, i.a);
  used(i.a);
  std::map<std::uint32_t, Label> passing;
  for (const auto block : labels)
    if (in_place(arguments, function_->blocks[block].height))
      pass(arguments, function_->blocks[block].height);
    else
      passing.emplace(block, Label());
  for (auto& [block, label] : passing) label = a_.newLabel();
  const auto way = [&](std::uint32_t block) {
    const auto found = passing.find(block);
    return found == passing.end() ? labels_[block] : found->second;
  };
  if (labels.size() > 1) {
    const auto table = a_.newLabel();
    a_.cmp(x86::eax, std::uint32_t(labels.size() - 1));
    a_.jae(way(labels.back()));
    a_.lea(x86::rcx, x86::ptr(table));
    a_.movsxd(x86::rax, x86::dword_ptr(x86::rcx, x86::rax, 2));
    a_.add(x86::rax, x86::rcx);
    a_.jmp(x86::rax);
    a_.bind(table);
    for (const auto block : labels.first(labels.size() - 1)) {
      distances_.push_back({std::uint32_t(a_.offset()), way(block), table});
      a_.embedUInt32(0);
    }
  } else {
    a_.jmp(way(labels.back()));
  }
  const auto stored = stored_flags(arguments);
  for (const auto& [block, label] : passing) {
    a_.bind(label);
    set_stored_flags(arguments, stored);
    pass(arguments, function_->blocks[block].height);
    a_.jmp(labels_[block]);
  }
  use_all(arguments);
}

FunctionGenerator::Label FunctionGenerator::trap_label(std::uint16_t trap) {
  const auto pc = current_ < function_->code.size() ? function_->code[current_].pc : 0;
  if (!traps_.empty() && traps_.back().pc == pc && traps_.back().trap == trap) return traps_.back().label;
  traps_.push_back({a_.newLabel(), pc, trap});
  return traps_.back().label;
}

/// The next instruction may fault.
void FunctionGenerator::site(std::uint16_t trap) {
  sites_.push_back({std::uint32_t(a_.offset()), function_->code[current_].pc, trap});
}

void FunctionGenerator::return_(const Instruction& i) {
  const auto results = function_->list(argument_list(i));
  if (results.size() > 1) {
    a_.mov(x86::rdx, context(DOPPEL_CONTEXT(area)));
    for (std::size_t n = 1; n < results.size(); n++) pass_in_area(results[n], n);
  }
  if (!results.empty()) load_into(0, results[0]);
  use_all(results);
  a_.leave();
  a_.ret();
}

}  // namespace doppel::fast
