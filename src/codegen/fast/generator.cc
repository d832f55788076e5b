#include "codegen/fast/generator.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

namespace doppel::fast {

using ir::no_value;
using ir::Op;

namespace {

/// Whether the interpreter may have to execute the operation's guest instruction, behind which the code goes on.
bool may_interpret(Op op) {
  return op == Op::atomic || op == Op::load_linked || op == Op::store_conditional || op == Op::fma || op == Op::toint ||
         op == Op::guard;
}

}  // namespace

Generator::Generator(const GuestLayout& layout) : layout_(layout) {}

bool Generator::generate(const ir::Code& code, GeneratedCode& out) {
  holder_.reset();
  holder_.init(asmjit::Environment::host());
  holder_.attach(&a_);
  prepare(code);
  out.marks.clear();
  marks_ = out.keep_marks ? &out.marks : nullptr;
  emit_entry(code);
  for (current_ = 0; current_ < code_->size(); current_++) {
    if (dead_[current_]) continue;
    mark(current_, false);
    emit(current_);
    release_if_unused(current_);
    unlock();
  }
  emit_sides();
  holder_.flatten();
  holder_.resolveUnresolvedLinks();
  out.bytes.resize(holder_.codeSize());
  holder_.copyFlattenedData(out.bytes.data(), out.bytes.size());
  out.links.clear();
  for (const auto& link : links_)
    out.links.push_back({.displacement = std::uint32_t(link.displacement),
                         .stub = std::uint32_t(holder_.labelOffset(link.stub)),
                         .stub_return = std::uint32_t(holder_.labelOffset(link.stub_return)),
                         .target = link.target,
                         .separate = link.separate});
  holder_.detach(&a_);
  return true;
}

void Generator::prepare(const ir::Code& code) {
  whole_ = &code;
  code_ = &code.instructions;
  places_.assign(code_->size(), {});
  sides_.clear();
  links_.clear();
  in_scratch_.fill(no_value);
  in_vector_.fill(no_value);
  held_.fill(no_value);
  slots_used_ = slots_freed_ = 0;
  unlock();
  mark_dead_sets();
  // Backwards, so that what only unused values use is not counted.
  for (auto index = code_->size(); index-- > 0;) {
    const auto& i = (*code_)[index];
    if (dead_[index]) continue;
    const auto& t = ir::traits(i.op);
    places_[index].constant = i.op == Op::constant;
    places_[index].page = i.op == Op::page;
    if ((t.pure || i.op == Op::get) && places_[index].uses == 0) {
      dead_[index] = 1;
      continue;
    }
    for (const auto argument : {i.a, i.b, i.c})
      if (argument != no_value) places_[argument].uses++;
  }
}

/// A register that is set again before anything can see it need not be set: but for what the interpreter may have set
/// in place of the code, because no other value may be taken to be there still.
void Generator::mark_dead_sets() {
  dead_.assign(code_->size(), 0);
  std::uint64_t overwritten[2] = {};
  for (auto index = code_->size(); index-- > 0;) {
    const auto& i = (*code_)[index];
    const auto& t = ir::traits(i.op);
    auto& word = overwritten[i.reg / 64];
    const auto bit = 1ULL << i.reg % 64;
    if (i.op == Op::set || i.op == Op::setf) {
      dead_[index] = (word & bit) != 0;
      word |= bit;
    } else if (i.op == Op::get) {
      word &= ~bit;
    } else if ((t.memory && !ir::in_window(i)) || t.leaves) {
      overwritten[0] = overwritten[1] = 0;
      if (!may_interpret(i.op)) continue;
      for (auto set = index + 1; set < code_->size() && (*code_)[set].offset == i.offset; set++)
        if ((*code_)[set].op == Op::set || (*code_)[set].op == Op::setf) dead_[set] = 0;
    }
  }
}

bool Generator::is_floating(Value value) const {
  const auto& i = definition(value);
  const auto result = ir::traits(i.op).result[0];
  return result == 'f' || (result == 't' && ir::is_float(i.type));
}

void Generator::use(Value value) {
  auto& place = places_[value];
  assert(place.uses > 0);
  if (--place.uses > 0) return;
  if (place.scratch != nowhere) in_scratch_[unsigned(place.scratch)] = no_value;
  if (place.vector != nowhere) in_vector_[unsigned(place.vector)] = no_value;
  if (place.slot != nowhere) slots_freed_ |= 1ULL << place.slot;  // the operation may yet read it
  place.scratch = place.vector = place.slot = nowhere;
}

void Generator::use_arguments(const Instruction& i) {
  for (const auto argument : {i.a, i.b, i.c})
    if (argument != no_value) use(argument);
}

std::int8_t Generator::free_slot() {
  const auto slot = std::countr_one(slots_used_);
  assert(slot < int(spill_slots));
  slots_used_ |= 1ULL << slot;
  return std::int8_t(slot);
}

/// An empty scratch register, or one whose value is elsewhere too, or else one whose value is spilled.
unsigned Generator::take_scratch() {
  unsigned victim = scratch_count;
  for (unsigned n = 0; n < scratch_count && victim == scratch_count; n++)
    if (!(locked_ >> n & 1) && in_scratch_[n] == no_value) victim = n;
  for (unsigned n = 0; n < scratch_count && victim == scratch_count; n++) {
    const auto at = (next_scratch_ + n) % scratch_count;
    if (locked_ >> at & 1) continue;
    const auto& place = places_[in_scratch_[at]];
    if (place.home != nowhere || place.slot != nowhere || place.constant || place.page) victim = at;
  }
  for (unsigned n = 0; n < scratch_count && victim == scratch_count; n++)
    if (!(locked_ >> n & 1)) victim = n;
  assert(victim < scratch_count);
  evict(victim);
  next_scratch_ = victim + 1;
  locked_ |= 1U << victim;
  return victim;
}

void Generator::evict(unsigned n) {
  const auto value = std::exchange(in_scratch_[n], no_value);
  if (value == no_value) return;
  auto& place = places_[value];
  if (place.home == nowhere && place.slot == nowhere && !place.constant && !place.page) {
    place.slot = free_slot();
    a_.mov(slot(unsigned(place.slot)), scratch[n]);
  }
  place.scratch = nowhere;
}

x86::Gp Generator::claim(unsigned n) {
  evict(n);
  locked_ |= 1U << n;
  return scratch[n];
}

void Generator::evict_clean(Value value) {
  const auto n = unsigned(places_[value].scratch);
  evict(n);
  locked_ |= 1U << n;
}

void Generator::bind_scratch(const x86::Gp& reg, Value value) {
  for (unsigned n = 0; n < scratch_count; n++)
    if (scratch[n] == reg) in_scratch_[n] = value, places_[value].scratch = std::int8_t(n);
}

void Generator::release_if_unused(Value value) {
  auto& place = places_[value];
  if (place.uses > 0) return;
  if (place.scratch != nowhere) in_scratch_[unsigned(place.scratch)] = no_value;
  if (place.vector != nowhere) in_vector_[unsigned(place.vector)] = no_value;
  place.scratch = place.vector = nowhere;
}

unsigned Generator::take_vector() {
  unsigned victim = vector_count;
  for (unsigned n = 0; n < vector_count && victim == vector_count; n++)
    if (!(locked_vectors_ >> n & 1) && in_vector_[n] == no_value) victim = n;
  for (unsigned n = 0; n < vector_count && victim == vector_count; n++) {
    const auto at = (next_vector_ + n) % vector_count;
    if (locked_vectors_ >> at & 1) continue;
    const auto& place = places_[in_vector_[at]];
    if (place.home != nowhere || place.slot != nowhere) victim = at;
  }
  for (unsigned n = 0; n < vector_count && victim == vector_count; n++)
    if (!(locked_vectors_ >> n & 1)) victim = n;
  assert(victim < vector_count);
  if (const auto value = in_vector_[victim]; value != no_value) {
    auto& place = places_[value];
    if (place.home == nowhere && place.slot == nowhere) {
      place.slot = free_slot();
      a_.movsd(slot(unsigned(place.slot)), x86::xmm(victim));
    }
    place.vector = nowhere;
  }
  in_vector_[victim] = no_value;
  next_vector_ = victim + 1;
  locked_vectors_ |= 1U << victim;
  return victim;
}

x86::Gp Generator::new_gp(Value value) {
  const auto n = take_scratch();
  in_scratch_[n] = value;
  places_[value].scratch = std::int8_t(n);
  return scratch[n];
}

x86::Xmm Generator::new_vector(Value value) {
  const auto n = take_vector();
  in_vector_[n] = value;
  places_[value].vector = std::int8_t(n);
  return x86::xmm(n);
}

void Generator::lock(Value value) {
  if (value == no_value) return;
  const auto& place = places_[value];
  if (place.scratch != nowhere) locked_ |= 1U << place.scratch;
  if (place.vector != nowhere) locked_vectors_ |= 1U << place.vector;
}

x86::Gp Generator::gp(Value value) {
  const auto& place = places_[value];
  if (place.home != nowhere && !in_memory(unsigned(place.home))) return pin(unsigned(place.home));
  if (place.scratch == nowhere) {
    const auto n = take_scratch();
    load_into(scratch[n], value);
    in_scratch_[n] = value;
    places_[value].scratch = std::int8_t(n);
  }
  lock(value);
  return scratch[unsigned(place.scratch)];
}

x86::Xmm Generator::xmm(Value value) {
  auto& place = places_[value];
  if (place.vector == nowhere) {
    const auto n = take_vector();
    const auto from = place.slot != nowhere ? slot(unsigned(place.slot)) : home(unsigned(place.home));
    a_.movsd(x86::xmm(n), from);
    in_vector_[n] = value;
    place.vector = std::int8_t(n);
  }
  lock(value);
  return x86::xmm(unsigned(place.vector));
}

asmjit::Operand Generator::gp_or_memory(Value value) {
  const auto& place = places_[value];
  if (place.constant || place.scratch != nowhere) return gp(value);
  if (place.home != nowhere)
    return in_memory(unsigned(place.home)) ? asmjit::Operand(home(unsigned(place.home))) : gp(value);
  if (place.page) return DOPPEL_FIELD(layout_, page, 8);
  return slot(unsigned(place.slot));
}

bool Generator::small(Value value, std::int32_t& out) const {
  if (!places_[value].constant) return false;
  const auto imm = definition(value).imm;
  out = std::int32_t(imm);
  return out == imm;
}

void Generator::load_into(const x86::Gp& to, Value value) {
  const auto& place = places_[value];
  if (place.constant) {
    const auto imm = definition(value).imm;
    if (imm == 0)
      a_.xor_(to.r32(), to.r32());
    else if (imm > 0 && imm <= 0xffffffffLL)
      a_.mov(to.r32(), std::uint32_t(imm));
    else
      a_.mov(to, imm);
  } else if (place.scratch != nowhere) {
    if (scratch[unsigned(place.scratch)] != to) a_.mov(to, scratch[unsigned(place.scratch)]);
  } else if (place.home != nowhere) {
    const auto reg = unsigned(place.home);
    if (in_memory(reg))
      a_.mov(to, home(reg));
    else if (pin(reg) != to)
      a_.mov(to, pin(reg));
  } else if (place.page) {
    a_.mov(to, DOPPEL_FIELD(layout_, page, 8));
  } else if (place.slot != nowhere) {
    a_.mov(to, slot(unsigned(place.slot)));
  } else {
    assert(place.vector != nowhere);
    a_.movq(to, x86::xmm(unsigned(place.vector)));
  }
}

/// A guest register is about to change: the value that was only there moves, if it is still wanted.
void Generator::save_holder(unsigned reg) {
  const auto value = std::exchange(held_[reg], no_value);
  if (value == no_value) return;
  auto& place = places_[value];
  if (place.home != std::int8_t(reg)) return;
  place.home = nowhere;
  if (place.uses == 0 || place.constant || place.page) return;
  for (unsigned other = 0; other < layout_.registers; other++)
    if (held_[other] == value) {
      place.home = std::int8_t(other);
      return;
    }
  if (place.scratch != nowhere || place.slot != nowhere || place.vector != nowhere) return;
  place.home = std::int8_t(reg);
  if (is_floating(value)) {
    xmm(value);
  } else {
    const auto n = take_scratch();
    load_into(scratch[n], value);
    in_scratch_[n] = value;
    place.scratch = std::int8_t(n);
  }
  place.home = nowhere;
}

x86::Gp Generator::destination(Value index) {
  const auto next = index + 1;
  if (next < code_->size()) {
    const auto& set = (*code_)[next];
    if (set.op == Op::set && set.a == index && !dead_[next] && !in_memory(set.reg)) {
      // The arguments are used up here: only later uses keep the register's old value alive.
      save_holder(set.reg);
      held_[set.reg] = index;
      places_[index].home = std::int8_t(set.reg);
      return pin(set.reg);
    }
  }
  return new_gp(index);
}

/// The interpreter may have changed every guest register; of the values nothing but constants is used behind it.
void Generator::forget_registers() {
  for (auto& value : in_scratch_)
    if (value != no_value) places_[std::exchange(value, no_value)].scratch = nowhere;
  for (auto& value : in_vector_)
    if (value != no_value) places_[std::exchange(value, no_value)].vector = nowhere;
  for (unsigned reg = 0; reg < layout_.registers; reg++)
    if (const auto value = std::exchange(held_[reg], no_value); value != no_value) places_[value].home = nowhere;
}

}  // namespace doppel::fast
