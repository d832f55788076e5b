// Which registers values are in, and what gives way to what.
#include <bit>
#include <cassert>

#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::no_value;
using ir::Op;
using ir::Type;

/// Whether nobody wants the value any more: behind the running operation, or where that may leave, from it on.
bool Generator::dead(Value v) const {
  const auto& info = info_[v];
  return info.next_use == never &&
         (info.exit_last < std::int32_t(now_) || (info.exit_last == std::int32_t(now_) && !exits_now_));
}

bool Generator::is_place(Value v, std::int64_t& offset) const {
  if (is_header(v)) return false;
  const auto& i = definition(v);
  if (i.op == Op::page) return offset = 0, true;
  if (i.op != Op::add || i.type != Type::i64 || is_header(resolve(i.a)) || definition(i.a).op != Op::page ||
      !is_constant(resolve(i.b)))
    return false;
  offset = definition(i.b).imm;
  return std::int32_t(offset) == offset;
}

/// Whether the value costs no more to make again than to read from memory.
bool Generator::remade(Value v) const {
  std::int64_t offset;
  return is_constant(v) || is_place(v, offset);
}

bool Generator::small(Value v, std::int32_t& out) const {
  if (!is_constant(v)) return false;
  out = std::int32_t(definition(v).imm);
  return out == definition(v).imm;
}

/// A register for something new: an empty one, or that of the value which is wanted last. It is locked then.
template <std::size_t size>
unsigned Generator::take(std::array<Value, size>& file, std::uint32_t locked) {
  unsigned best = size;
  std::uint64_t best_score = 0;
  for (unsigned n = size; n-- > 0;) {
    if (locked >> n & 1) continue;
    const auto value = file[n];
    if (value == no_value || dead(value)) {
      if (value != no_value) info_[value].reg = nowhere;
      file[n] = no_value;
      return n;
    }
    const auto& info = info_[value];
    const bool stored = info.home != nowhere || info.slot != nowhere || remade(value);
    const auto score = std::uint64_t(info.next_use) + (stored ? 64 : 0) + 1;
    if (score > best_score) best = n, best_score = score;
  }
  assert(best < size);
  evict(file[best]);
  return best;
}

unsigned Generator::take_gp() {
  const auto n = take(in_gp_, locked_);
  locked_ |= 1U << n;
  return n;
}
unsigned Generator::take_vector() {
  const auto n = take(in_vector_, locked_vectors_);
  locked_vectors_ |= 1U << n;
  return n;
}

void Generator::evict(Value v) {
  auto& info = info_[v];
  if (info.home == nowhere && info.slot == nowhere && !remade(v)) spill(v);
  (info.vector ? in_vector_[unsigned(info.reg)] : in_gp_[unsigned(info.reg)]) = no_value;
  info.reg = nowhere;
}

/// Stores a value: in the place of a guest register that has it, which saves the exits doing so, or in the frame.
void Generator::spill(Value v) {
  auto& info = info_[v];
  x86::Mem to;
  for (unsigned reg = 0; reg < layout_.registers && info.home == nowhere; reg++) {
    if (current_[reg] != v || !kept(reg)) continue;
    const auto holder = holder_of_[reg];
    if (holder != no_value) {
      auto& other = info_[holder];
      if (holder == read_ || (!dead(holder) && other.reg == nowhere && other.slot == nowhere)) continue;
      other.home = nowhere;
    }
    holder_of_[reg] = v;
    info.home = std::int8_t(reg);
    to = home(reg);
  }
  if (info.home == nowhere) {
    if (~slots_ == 0)
      for (auto& other : info_)
        if (const auto value = Value(&other - info_.data());
            other.slot != nowhere && value != read_ && dead(value) && !(reserved_slots_ >> other.slot & 1))
          slots_ &= ~(1ULL << other.slot), other.slot = nowhere;
    auto n = std::countr_one(slots_);
    if (n == fast::spill_slots) failed_ = true, n = 0;
    slots_ |= 1ULL << n;
    info.slot = std::int16_t(n);
    to = slot(n);
  }
  if (info.vector)
    a_.vmovsd(to, x86::xmm(unsigned(info.reg)));
  else
    a_.mov(to, registers[unsigned(info.reg)]);
}

x86::Mem Generator::memory_of(Value v, unsigned size) const {
  const auto& info = info_[v];
  return info.slot != nowhere ? slot(info.slot, size) : home(unsigned(info.home), size);
}

void Generator::load(const x86::Gp& to, Value v) {
  const auto& info = info_[v];
  std::int64_t offset;
  if (info.reg != nowhere) {
    if (registers[unsigned(info.reg)] != to) a_.mov(to, registers[unsigned(info.reg)]);
  } else if (is_constant(v)) {
    const auto imm = definition(v).imm;
    imm >= 0 && imm <= 0xffffffffLL ? a_.mov(to.r32(), std::uint32_t(imm)) : a_.mov(to, imm);
  } else if (is_place(v, offset)) {
    a_.mov(to, DOPPEL_FIELD(layout_, page, 8));
    if (offset != 0) a_.lea(to, x86::ptr(to, std::int32_t(offset)));
  } else {
    a_.mov(to, memory_of(v));
  }
}

x86::Gp Generator::use(Value v) {
  auto& info = info_[v];
  if (info.reg == nowhere) {
    const auto n = take_gp();
    load(registers[n], v);
    info.reg = std::int8_t(n);
    in_gp_[n] = v;
  }
  locked_ |= 1U << info.reg;
  return registers[unsigned(info.reg)];
}

x86::Xmm Generator::use_vector(Value v) {
  auto& info = info_[v];
  if (info.reg == nowhere) {
    const auto n = take_vector();
    a_.vmovsd(x86::xmm(n), memory_of(v));
    info.reg = std::int8_t(n);
    in_vector_[n] = v;
  }
  locked_vectors_ |= 1U << info.reg;
  return x86::xmm(unsigned(info.reg));
}

/// In memory where it is there only and not wanted again soon, else in a register.
asmjit::Operand Generator::use_anywhere(Value v) {
  const auto& info = info_[v];
  const bool in_memory = info.reg == nowhere && (info.slot != nowhere || info.home != nowhere) && !remade(v);
  if (in_memory && info.next_use == now_) {
    for (unsigned k = 0; k < 4; k++)
      if (arguments_[now_][k] == v && next_[now_][k] == never) return read_ = v, memory_of(v);
  }
  return use(v);
}

/// The running operation has read its arguments.
void Generator::consume(Value n) {
  for (unsigned k = 0; k < 4; k++)
    if (const auto v = arguments_[n][k]; v != no_value) info_[v].next_use = next_[n][k];
}

void Generator::define_in(Value v, unsigned reg) {
  in_gp_[reg] = v;
  info_[v].reg = std::int8_t(reg);
  locked_ |= 1U << reg;
}

/// A register for the result: where it is wanted later, or that of an argument which is used up, or any.
x86::Gp Generator::define(Value v, Value reuse) {
  const auto usable = [&](int n) {
    if (locked_ >> n & 1) return false;
    const auto value = in_gp_[unsigned(n)];
    return value == no_value || dead(value);
  };
  const auto claim = [&](int n) {
    if (const auto value = in_gp_[unsigned(n)]; value != no_value) info_[value].reg = nowhere;
    define_in(v, unsigned(n));
    return registers[unsigned(n)];
  };
  const auto from = reuse != no_value ? info_[reuse].reg : nowhere;
  if (from != nowhere && dead(reuse)) locked_ &= ~(1U << from);
  const auto hint = info_[v].hint;
  if (hint != nowhere && usable(hint)) return claim(hint);
  if (from != nowhere && usable(from)) return claim(from);
  if (from != nowhere) locked_ |= 1U << from;
  define_in(v, take_gp());
  return registers[unsigned(info_[v].reg)];
}

x86::Xmm Generator::define_vector(Value v) {
  auto& info = info_[v];
  unsigned n;
  const auto in_hint = info.hint != nowhere ? in_vector_[unsigned(info.hint)] : no_value;
  if (info.hint != nowhere && !(locked_vectors_ >> info.hint & 1) && (in_hint == no_value || dead(in_hint))) {
    if (in_hint != no_value) info_[in_hint].reg = nowhere;
    n = unsigned(info.hint);
    locked_vectors_ |= 1U << n;
  } else {
    n = take_vector();
  }
  in_vector_[n] = v;
  info.reg = std::int8_t(n);
  return x86::xmm(n);
}

/// Empties rdx, which wide multiplication and division write. Before the operation's arguments are used.
void Generator::claim_rdx() {
  if (const auto v = in_gp_[rdx_place]; v != no_value) {
    if (dead(v)) {
      info_[v].reg = nowhere;
    } else {
      locked_ |= 1U << rdx_place;
      const auto to = take_gp();
      if (in_gp_[rdx_place] == v) {
        a_.mov(registers[to], x86::rdx);
        in_gp_[to] = v;
        info_[v].reg = std::int8_t(to);
      }
      locked_ &= ~(1U << to);
    }
    in_gp_[rdx_place] = no_value;
  }
  locked_ |= 1U << rdx_place;
}

}  // namespace doppel::optimizing
