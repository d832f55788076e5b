// FunctionGenerator: which values are in which registers.
#include <bit>

#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::no_value;
using ir::Type;
namespace Inst = x86::Inst;

x86::Mem FunctionGenerator::frame(std::uint32_t word, std::uint32_t bytes) const {
  return x86::Mem(x86::rbp, std::int32_t(word * 8) - std::int32_t(frame_bytes_), bytes);
}

x86::Mem FunctionGenerator::word(std::uint32_t operand_word, Type type) const {
  return frame(variable_words_ + operand_word, ir::bytes(type));
}

x86::Mem FunctionGenerator::variable_word(std::uint64_t variable) const {
  return frame(function_->variable_at[variable], ir::bytes(function_->variables[variable]));
}

bool FunctionGenerator::fits_immediate(Value v) const {
  const auto& i = function_->code[v];
  if (i.op != ir::FunctionOp::constant || !ir::is_general(i.type)) return false;
  return i.type == Type::i32 || std::int64_t(i.imm) == std::int32_t(i.imm);
}

void FunctionGenerator::attach(Value v, std::uint8_t reg) {
  auto& r = registers(bank(type(v)))[reg];
  places_[v].reg = reg;
  places_[v].next = r.first;
  r.first = v;
  occupied_[std::size_t(bank(type(v)))] |= 1U << reg;
}

void FunctionGenerator::detach(Value v) {
  auto& place = places_[v];
  if (place.reg == no_register) return;
  const auto in = bank(type(v));
  auto& r = registers(in)[place.reg];
  Value* at = &r.first;
  while (*at != v) at = &places_[*at].next;
  *at = place.next;
  if (r.empty()) occupied_[std::size_t(in)] &= ~(1U << place.reg);
  place.reg = no_register;
}

/// The value is in `reg` now, which had nothing.
void FunctionGenerator::define(Value v, std::uint8_t reg) {
  if (places_[v].uses != 0) attach(v, reg);
}

void FunctionGenerator::used(Value v) {
  if (--places_[v].uses == 0) detach(v);
}

void FunctionGenerator::store_value(Value v) {
  auto& place = places_[v];
  if (place.stored) return;
  place.stored = true;
  const auto kind = type(v);
  const auto at = word(function_->code[v].slot, kind);
  if (ir::is_general(kind))
    a_.mov(at, gp(place.reg, kind));
  else
    a_.emit(move_id(kind), at, x86::xmm(place.reg));
}

void FunctionGenerator::store_values(Bank bank, std::uint8_t reg) {
  for (auto v = registers(bank)[reg].first; v != no_value; v = places_[v].next) store_value(v);
}

void FunctionGenerator::forget(Bank bank, std::uint8_t reg) {
  auto& r = registers(bank)[reg];
  for (auto v = r.first; v != no_value; v = places_[v].next) places_[v].reg = no_register;
  r = {};
  occupied_[std::size_t(bank)] &= ~(1U << reg);
}

void FunctionGenerator::evict(Bank bank, std::uint8_t reg) {
  store_values(bank, reg);
  forget(bank, reg);
}

namespace {

constexpr std::uint32_t bits_of(std::span<const std::uint8_t> pool) {
  std::uint32_t bits = 0;
  for (const auto reg : pool) bits |= 1U << reg;
  return bits;
}

}  // namespace

/// A register with nothing in it, locked: a free one, else one that only knows a variable, else what comes next in
/// turn.
std::uint8_t FunctionGenerator::allocate(Bank bank) {
  const auto n = std::size_t(bank);
  const auto pool = (bank == Bank::general ? bits_of(general_registers) : bits_of(vector_registers)) & ~locked_[n];
  if (const auto free = pool & ~occupied_[n]; free != 0) {
    const auto reg = std::uint8_t(std::countr_zero(free));
    lock(bank, reg);
    return reg;
  }
  auto& turn = next_victim_[n];
  const auto in_turn = [&](std::uint32_t among) {
    const auto later = among & ~0U << turn;
    return std::uint8_t(std::countr_zero(later ? later : among));
  };
  std::uint32_t known = 0;
  for (auto rest = pool; rest != 0; rest &= rest - 1) {
    const auto reg = std::countr_zero(rest);
    if (registers(bank)[std::size_t(reg)].first == no_value) known |= 1U << reg;
  }
  const auto reg = in_turn(known ? known : pool);
  turn = std::uint8_t((reg + 1) & 15);
  evict(bank, reg);
  lock(bank, reg);
  return reg;
}

void FunctionGenerator::move(Type type, std::uint8_t to, std::uint8_t from) {
  if (to == from) return;
  if (ir::is_general(type))
    a_.mov(gp(to, type), gp(from, type));
  else
    a_.vmovaps(x86::xmm(to), x86::xmm(from));
}

void FunctionGenerator::load_constant(std::uint8_t reg, Type type, std::uint64_t bits) {
  if (!ir::is_general(type)) {
    float_constant(x86::xmm(reg), type == Type::f64, bits);
  } else if (bits <= 0xffff'ffff) {
    a_.mov(x86::gpd(reg), std::uint32_t(bits));
  } else {
    a_.mov(x86::gpq(reg), bits);
  }
}

/// Into any register of the value's bank; its place stays what it is.
void FunctionGenerator::load_into(std::uint8_t reg, Value v) {
  const auto& i = function_->code[v];
  const auto kind = type(v);
  if (places_[v].reg != no_register) return move(kind, reg, places_[v].reg);
  if (i.op == ir::FunctionOp::constant) return load_constant(reg, kind, i.imm);
  if (i.op == ir::FunctionOp::vector_constant) return load_vector_constant(reg, i);
  const auto at = word(i.slot, kind);
  if (ir::is_general(kind))
    a_.mov(gp(reg, kind), at);
  else
    a_.emit(move_id(kind), x86::xmm(reg), at);
}

/// The register that has the value, locked, which must not be written to.
std::uint8_t FunctionGenerator::fetch(Value v) {
  const auto in = bank(type(v));
  if (places_[v].reg == no_register) {
    const auto reg = allocate(in);
    load_into(reg, v);
    attach(v, reg);
    return reg;
  }
  lock(in, places_[v].reg);
  return places_[v].reg;
}

/// Uses the value and gives a register, locked and with nothing in it, that has it: to be written to.
std::uint8_t FunctionGenerator::writable(Value v) {
  auto& place = places_[v];
  const auto in = bank(type(v));
  if (place.reg != no_register && place.uses == 1) {
    auto& r = registers(in)[place.reg];
    if (r.first == v && place.next == no_value && r.variable == -1) {
      const auto reg = place.reg;
      used(v);
      lock(in, reg);
      return reg;
    }
  }
  if (place.reg != no_register) lock(in, place.reg);
  const auto reg = allocate(in);
  load_into(reg, v);
  used(v);
  return reg;
}

/// A source of an integer operation: an immediate, the register, or the word where it is only there.
asmjit::Operand FunctionGenerator::operand(Value v) {
  const auto& i = function_->code[v];
  const auto kind = type(v);
  if (places_[v].reg == no_register) {
    if (fits_immediate(v)) return asmjit::Imm(std::int32_t(i.imm));
    const bool constant = i.op == ir::FunctionOp::constant || i.op == ir::FunctionOp::vector_constant;
    if (!constant && places_[v].uses == 1) return word(i.slot, kind);
  }
  const auto reg = fetch(v);
  return ir::is_general(kind) ? asmjit::Operand(gp(reg, kind)) : asmjit::Operand(x86::xmm(reg));
}

/// Values in words below `height`, which a jump leaves alive, get into them.
void FunctionGenerator::store_all_below(std::uint32_t height) {
  for (const auto in : {Bank::general, Bank::vector})
    each_occupied(in, [&](std::uint8_t reg) {
      for (auto v = registers(in)[reg].first; v != no_value; v = places_[v].next)
        if (function_->code[v].slot < height) store_value(v);
    });
  if (!constants_.empty()) store_constants();
}

void FunctionGenerator::store_constants() {
  for (const auto v : constants_) {
    const auto& i = function_->code[v];
    if (places_[v].uses == 0 || places_[v].stored) continue;
    places_[v].stored = true;
    const auto at = word(i.slot, i.type);
    if (i.op == ir::FunctionOp::vector_constant) {
      load_vector_constant(15, i);
      a_.vmovups(at, vector_scratch);
    } else if (ir::bytes(i.type) == 4 || std::int64_t(i.imm) == std::int32_t(i.imm)) {
      a_.mov(at, std::int32_t(i.imm));
    } else {
      a_.mov(x86::rcx, i.imm);
      a_.mov(at, x86::rcx);
    }
  }
  constants_.clear();
}

void FunctionGenerator::forget_all() {
  for (const auto in : {Bank::general, Bank::vector}) each_occupied(in, [&](std::uint8_t reg) { forget(in, reg); });
}

/// The register that has a variable or a memory's base, or no_register.
std::uint8_t FunctionGenerator::variable_register(Type type, std::int64_t variable) {
  const auto& all = registers(bank(type));
  for (auto rest = occupied_[std::size_t(bank(type))]; rest != 0; rest &= rest - 1) {
    const auto reg = std::size_t(std::countr_zero(rest));
    if (all[reg].variable == variable) return std::uint8_t(reg);
  }
  return no_register;
}

}  // namespace doppel::fast
