// FunctionGenerator: calls; ir/program_context.h has the convention.
#include <algorithm>

#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::FunctionOp;
using ir::no_value;
using ir::Type;
namespace Inst = x86::Inst;

/// All that lives on behind the call gets into its word; arguments are used but still where they are.
void FunctionGenerator::before_call(std::span<const Value> arguments) {
  for (const auto v : arguments) places_[v].uses--;
  for (const auto in : {Bank::general, Bank::vector})
    each_occupied(in, [&](std::uint8_t reg) {
      for (auto v = registers(in)[reg].first; v != no_value; v = places_[v].next)
        if (places_[v].uses != 0) store_value(v);
    });
  store_constants();
}

/// rdx has the area.
void FunctionGenerator::pass_in_area(Value v, std::size_t n) {
  const auto kind = type(v);
  const auto cell = x86::Mem(x86::rdx, std::int32_t(n * 16), ir::bytes(kind));
  auto reg = places_[v].reg;
  if (ir::is_general(kind)) {
    if (reg == no_register) load_into(reg = 1, v);
    a_.mov(cell, gp(reg, kind));
    return;
  }
  if (reg == no_register) load_into(reg = std::uint8_t(vector_scratch.id()), v);
  a_.emit(move_id(kind), cell, x86::xmm(reg));
}

namespace {

struct Move {
  std::uint8_t to, from;
  bool done = false;
};

/// Emits moves that happen at once: each when nothing waits for what it overwrites; what is left are cycles.
void move_together(std::span<Move> moves, auto&& move, auto&& exchange) {
  for (bool progress = true; progress;) {
    progress = false;
    for (auto& m : moves) {
      if (m.done) continue;
      const bool waited_for = std::ranges::any_of(
          moves, [&](const Move& other) { return &other != &m && !other.done && other.from == m.to; });
      if (waited_for) continue;
      if (m.to != m.from) move(m.to, m.from);
      m.done = progress = true;
    }
  }
  for (auto& m : moves) {
    if (m.done) continue;
    if (m.to != m.from) {
      exchange(m.to, m.from);
      for (auto& other : moves)  // what was in `to` is in `from` now
        if (!other.done && &other != &m)
          other.from = other.from == m.to ? m.from : other.from == m.from ? m.to : other.from;
    }
    m.done = true;
  }
}

}  // namespace

void FunctionGenerator::pass_in_registers(std::span<const Value> arguments) {
  std::array<Move, argument_registers.size()> generals;
  std::array<Move, vector_arguments> vectors;
  std::array<std::pair<std::uint8_t, Value>, argument_registers.size() + vector_arguments> loads;
  std::size_t general_moves = 0, vector_moves = 0, load_count = 0, general_count = 0, vector_count = 0;
  for (const auto v : arguments) {
    const bool general = ir::is_general(type(v));
    if (general ? general_count >= argument_registers.size() : vector_count >= vector_arguments) continue;
    const auto to = general ? argument_registers[general_count++] : std::uint8_t(vector_count++);
    if (places_[v].reg == no_register)
      loads[load_count++] = {to, v};
    else
      (general ? generals[general_moves++] : vectors[vector_moves++]) = {to, places_[v].reg};
  }
  // Vectors first: their constants come through rcx.
  move_together(
      std::span(vectors).first(vector_moves), [&](auto to, auto from) { a_.vmovaps(x86::xmm(to), x86::xmm(from)); },
      [&](auto a, auto b) {
        a_.vmovaps(vector_scratch, x86::xmm(a));
        a_.vmovaps(x86::xmm(a), x86::xmm(b));
        a_.vmovaps(x86::xmm(b), vector_scratch);
      });
  for (const auto& [to, v] : std::span(loads).first(load_count))
    if (!ir::is_general(type(v))) load_into(to, v);
  move_together(
      std::span(generals).first(general_moves), [&](auto to, auto from) { a_.mov(x86::gpq(to), x86::gpq(from)); },
      [&](auto a, auto b) { a_.xchg(x86::gpq(a), x86::gpq(b)); });
  for (const auto& [to, v] : std::span(loads).first(load_count))
    if (ir::is_general(type(v))) load_into(to, v);
}

/// rax is kept.
void FunctionGenerator::pass_arguments(std::span<const Value> arguments) {
  std::size_t generals = 0, vectors = 0;
  bool area = false;
  for (std::size_t n = 0; n < arguments.size(); n++) {
    const bool general = ir::is_general(type(arguments[n]));
    if (general ? generals++ < argument_registers.size() : vectors++ < vector_arguments) continue;
    if (!std::exchange(area, true)) a_.mov(x86::rdx, context(DOPPEL_CONTEXT(area)));
    pass_in_area(arguments[n], n);
  }
  pass_in_registers(arguments);
}

/// The FunctionRow of a callee that is no function of the module's own, in rax.
void FunctionGenerator::find_callee(const Instruction& i) {
  switch (i.op) {
    case FunctionOp::call:
    case FunctionOp::tail_call:
      a_.mov(x86::rax, context(shape_.layout.import(i.imm)));
      return;
    case FunctionOp::call_ref:
    case FunctionOp::tail_call_ref:
      load_into(0, i.c);
      break;
    default: {
      const auto element = table_element(i.c, std::uint32_t(i.imm >> 32), shape_.traps.undefined_element);
      a_.mov(x86::rax, element);
      a_.test(x86::rax, x86::rax);
      a_.jz(trap_label(shape_.traps.uninitialized_element));
    }
  }
  // Reference::function: the number and one, times four; a row has 32 bytes.
  a_.shl(x86::rax, 3);
  a_.add(x86::rax, context(DOPPEL_CONTEXT(rows)));
  a_.sub(x86::rax, std::int32_t(sizeof(ir::FunctionRow)));
  const bool indirect = i.op == FunctionOp::call_indirect || i.op == FunctionOp::tail_call_indirect;
  if (indirect) check_type(std::uint32_t(i.imm));
}

void FunctionGenerator::check_type(std::uint32_t type) {
  const auto same = a_.newLabel();
  a_.cmp(x86::dword_ptr(x86::rax, offsetof(ir::FunctionRow, type)), type);
  a_.je(same);
  a_.mov(x86::ecx, type);
  a_.call(context(DOPPEL_CONTEXT(subtype)));  // keeps everything but rcx, which is 0 if it is no subtype
  a_.test(x86::ecx, x86::ecx);
  a_.jz(trap_label(shape_.traps.type_mismatch));
  a_.bind(same);
}

void FunctionGenerator::emit_call(const Instruction& i, bool tail) {
  const bool named = i.op == FunctionOp::call || i.op == FunctionOp::tail_call;
  const bool own = named && i.imm >= shape_.layout.imports;
  if (tail) a_.leave();
  if (own) {
    const auto at = context(shape_.layout.code(i.imm - shape_.layout.imports));
    tail ? a_.jmp(at) : a_.call(at);
  } else {
    a_.mov(x86::r10, x86::r12);
    a_.mov(x86::r12, x86::qword_ptr(x86::rax, offsetof(ir::FunctionRow, context)));
    const auto at = x86::qword_ptr(x86::rax, offsetof(ir::FunctionRow, code));
    tail ? a_.jmp(at) : a_.call(at);
  }
  if (tail) return;
  sites_.push_back({std::uint32_t(a_.offset()), i.pc, CodeSite::no_trap});
  a_.mov(x86::r12, x86::qword_ptr(x86::rbp, -8));
}

void FunctionGenerator::call(Value v, const Instruction& i) {
  const auto arguments = function_->list(argument_list(i));
  const bool tail = ir::row(i.op).effect == ir::FunctionOpRow::Effect::ends;
  const bool own = (i.op == FunctionOp::call || i.op == FunctionOp::tail_call) && i.imm >= shape_.layout.imports;
  if (!own) find_callee(i);
  if (direct_arguments(i)[2] != no_value) used(i.c);
  before_call(arguments);
  pass_arguments(arguments);
  forget_all();
  emit_call(i, tail);
  if (!tail && i.type != Type::none) take_result(v, i.type);
}

void FunctionGenerator::take_result(Value v, Type type) {
  if (places_[v].uses == 0) return;
  const auto reg = result(type);
  move(type, reg, 0);
  attach(v, reg);
}

void FunctionGenerator::extra_result(Value v, const Instruction& i) {
  if (places_[v].uses == 0) return;
  const auto reg = result(i.type);
  a_.mov(x86::rax, context(DOPPEL_CONTEXT(area)));
  const auto cell = x86::Mem(x86::rax, std::int32_t(i.imm * 16), ir::bytes(i.type));
  if (ir::is_general(i.type))
    a_.mov(gp(reg, i.type), cell);
  else
    a_.emit(move_id(i.type), x86::xmm(reg), cell);
  attach(v, reg);
}

/// The routine takes words from the area, and leaves its result in rax.
void FunctionGenerator::runtime(Value v, const Instruction& i) {
  const auto arguments = function_->list(argument_list(i));
  before_call(arguments);
  if (!arguments.empty()) a_.mov(x86::rdx, context(DOPPEL_CONTEXT(area)));
  for (std::size_t n = 0; n < arguments.size(); n++) {
    const auto kind = type(arguments[n]);
    auto reg = places_[arguments[n]].reg;
    if (reg == no_register) load_into(reg = 1, arguments[n]);
    a_.mov(x86::qword_ptr(x86::rdx, std::int32_t(n * 16)), gp(reg, Type::i64));
    static_cast<void>(kind);
  }
  forget_all();
  a_.mov(x86::esi, i.flag);
  a_.mov(x86::rdx, i.imm);
  a_.call(context(DOPPEL_CONTEXT(runtime)));
  sites_.push_back({std::uint32_t(a_.offset()), i.pc, CodeSite::no_trap});
  if (i.type != Type::none) take_result(v, i.type);
}

}  // namespace doppel::fast
