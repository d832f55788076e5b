// Loops that copy memory forwards, one element a round, as every memcpy has them for what is short or not aligned:
// where such a path goes round, what can be copied at once is.
#include <algorithm>
#include <bit>

#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::Condition;
using ir::no_value;
using ir::Op;
using ir::Type;

/// The guest register whose value at the round's begin `v` is plus a constant.
std::optional<Generator::Moving> Generator::moving(Value v) const {
  const auto at = [&](Value from, std::int64_t offset) { return Moving{unsigned(from - list_->size()), offset}; };
  if (is_header(v)) return at(v, 0);
  const auto& sum = definition(v);
  if (sum.op != Op::add || sum.type != Type::i64 || !is_header(resolve(sum.a)) || !is_constant(resolve(sum.b)))
    return std::nullopt;
  return at(resolve(sum.a), definition(resolve(sum.b)).imm);
}

/// Whether the path does nothing in a round but load an element, store it and count: then how.
void Generator::find_copy_loop(const std::array<Value, max_registers>& at_end) {
  CopyLoop copy;
  Value branch = no_value;
  for (Value n = 0; n + 1 < list_->size(); n++) {
    const auto& i = definition(n);
    const auto take = [&](Value& role) { return std::exchange(role, n) == no_value; };
    switch (i.op) {
      case Op::window:
        break;  // each access has its own, and there are two
      case Op::load:
        if (!take(copy.load)) return;
        break;
      case Op::store:
        if (!take(copy.store) || resolve(i.b) != copy.load) return;
        break;
      case Op::branch:
        if (!take(branch)) return;
        break;
      default:
        if (has_effect(i) || i.op == Op::loadf) return;
    }
  }
  if (copy.store == no_value || branch == no_value || definition(copy.load).type != definition(copy.store).type) return;
  copy.size = std::uint8_t(ir::bytes(definition(copy.load).type));
  // By how much a round moves each register, where it does not leave the element there.
  for (unsigned reg = 0; reg < layout_.registers; reg++) {
    if (!written_[reg] || at_end[reg] == header(reg)) continue;
    const auto end = moving(at_end[reg]);
    if (end && end->reg == reg && (std::abs(end->offset) == 1 || std::abs(end->offset) == copy.size))
      copy.steps[reg] = std::int8_t(end->offset);
    else if (at_end[reg] == copy.load)
      copy.loaded |= 1ULL << reg;
    else
      return;
  }
  const auto from = arguments_[copy.load][0], to = arguments_[copy.store][0];
  if (!is_header(from) || !is_header(to)) return;
  copy.from = unsigned(from - list_->size()), copy.to = unsigned(to - list_->size());
  if (copy.steps[copy.from] != copy.size || copy.steps[copy.to] != copy.size) return;
  if (!find_copy_end(copy, branch)) return;
  copy_ = copy;
}

/// Whether it can be told how many rounds there will be.
bool Generator::find_copy_end(CopyLoop& copy, Value branch) const {
  const auto& i = definition(branch);
  if (i.type != Type::i64 || (i.condition != Condition::eq && i.condition != Condition::geu)) return false;
  const auto fixed = [&](Value v) { return is_constant(v) || (is_header(v) && copy.steps[v - list_->size()] == 0); };
  auto counter = a(branch), bound = b(branch);
  if (i.condition == Condition::eq && fixed(counter)) std::swap(counter, bound);
  const auto count = moving(counter);
  if (!count || !fixed(bound) || copy.loaded >> count->reg & 1) return false;
  if (is_header(bound) && copy.loaded >> (bound - list_->size()) & 1) return false;
  const auto step = copy.steps[count->reg];
  if (step == 0 || (i.condition == Condition::geu && step < 0)) return false;
  copy.counter = count->reg, copy.offset = count->offset, copy.bound = bound;
  copy.condition = i.condition;
  const auto fits = [](std::int64_t value) { return std::int32_t(value) == value; };
  return fits(count->offset) && (is_header(bound) || fits(definition(bound).imm));
}

/// Copies elements for as many rounds as go round for sure, as far as pages and the budget reach and nothing has to be
/// looked up by the machine: the round that follows sees to the rest.
void Generator::emit_copy() {
  if (copy_.load == no_value) return;
  std::vector<x86::Gp> free;
  for (unsigned place = 0; place < gp_count; place++)
    if (in_gp_[place] == no_value) free.push_back(registers[place]);
  const auto in_memory = [&](unsigned reg) { return info_[header(reg)].reg == nowhere; };
  for (unsigned reg = 0; reg < layout_.registers; reg++)
    if ((copy_.steps[reg] != 0 || copy_.loaded >> reg & 1) && in_memory(reg)) return;
  if (free.size() < 3 || (is_header(copy_.bound) && info_[copy_.bound].reg == nowhere)) return;
  const auto count = free[0], from = free[1], to = free[2];
  const auto skip = a_.newLabel();
  emit_copy_rounds(count, from, skip);
  emit_copy_limits(count, skip);
  emit_copy_place(from, copy_.from, copy_.load, skip);
  emit_copy_place(to, copy_.to, copy_.store, skip);
  // What lies less than that behind its source is copied from its own copy.
  const auto shift = std::countr_zero(copy_.size);
  if (shift) a_.shl(count, shift);
  a_.mov(passing, to);
  a_.sub(passing, from);
  a_.cmp(passing, count);
  a_.jb(skip);
  emit_copy_bytes(count, from, to);
  const auto last = x86::ptr(to, count, 0, -std::int32_t(copy_.size), copy_.size);
  for (unsigned reg = 0; reg < layout_.registers; reg++)
    if (copy_.loaded >> reg & 1) load_element(round_register(reg), last, definition(copy_.load).flag != 0);
  const auto rounds = shift ? from : count;
  if (shift) a_.mov(rounds, count), a_.shr(rounds, shift);
  for (unsigned reg = 0; reg < layout_.registers; reg++) {
    const auto step = copy_.steps[reg];
    if (step == 0) continue;
    a_.emit(step > 0 ? x86::Inst::kIdAdd : x86::Inst::kIdSub, round_register(reg),
            std::abs(step) == copy_.size ? count : rounds);
  }
  a_.imul(passing, rounds, std::int32_t(path_->guest_count));
  a_.sub(fast::budget, passing);
  a_.bind(skip);
}

x86::Gp Generator::round_register(unsigned reg) const { return registers[unsigned(info_[header(reg)].reg)]; }

/// Leaves in `count` how many times at least the path's branch is not taken from here on.
void Generator::emit_copy_rounds(const x86::Gp& count, const x86::Gp& spare, Label skip) {
  const auto step = copy_.steps[copy_.counter];
  const auto counter_in = step > 0 ? spare : count, bound_in = step > 0 ? count : spare;
  a_.lea(counter_in, x86::ptr(round_register(copy_.counter), std::int32_t(copy_.offset)));
  if (is_header(copy_.bound))
    a_.mov(bound_in, round_register(unsigned(copy_.bound - list_->size())));
  else
    a_.mov(bound_in, std::int32_t(definition(copy_.bound).imm));
  a_.sub(count, spare);
  copy_.condition == Condition::geu ? a_.jbe(skip) : a_.jz(skip);
  if (std::abs(step) > 1) a_.shr(count, std::countr_zero(copy_.size));
}

/// No further than to the end of each page, and not if that were too little or more than the budget has.
void Generator::emit_copy_limits(const x86::Gp& count, Label skip) {
  const auto shift = std::countr_zero(copy_.size);
  for (const auto& [reg, access] : {std::pair{copy_.from, copy_.load}, std::pair{copy_.to, copy_.store}}) {
    a_.lea(passing, x86::ptr(round_register(reg), std::int32_t(displacement_[access])));
    a_.or_(passing, -4096);
    a_.neg(passing);
    if (shift) a_.shr(passing, shift);
    a_.cmp(count, passing);
    a_.cmova(count, passing);
  }
  constexpr int least_bytes = 8, least_rounds = 2;
  a_.cmp(count, std::max(least_rounds, least_bytes >> shift));
  a_.jb(skip);
  a_.imul(passing, count, -std::int32_t(path_->guest_count));
  a_.add(passing, fast::budget);
  a_.cmp(passing, DOPPEL_FIELD(layout_, limit, 8));
  a_.jl(skip);
}

/// Where an access of the round that begins goes. A window that is kept from round to round knows it then, too.
void Generator::emit_copy_place(const x86::Gp& to, unsigned reg, Value access, Label skip) {
  const auto window = definition(access).op == Op::load ? b(access) : c(access);
  const auto base = round_register(reg);
  const auto offset = std::int32_t(displacement_[access]);
  auto first_byte = definition(window);
  first_byte.size = 1;
  emit_look_up(to, base, offset, first_byte, skip);
  if (const auto kept = std::ranges::find(kept_windows_, window, &Kept::window); kept != kept_windows_.end()) {
    a_.mov(slot(kept->page_slot), passing);
    a_.mov(slot(kept->addend_slot), to);
  }
  a_.lea(to, x86::ptr(to, base, 0, offset));
}

/// At least eight; those at the end are read before others are written there.
void Generator::emit_copy_bytes(const x86::Gp& count, const x86::Gp& from, const x86::Gp& to) {
  const auto piece = passing_vector, end = x86::xmm(vector_count - 1);
  const auto many = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
  a_.cmp(count, 16);
  a_.jae(many);
  a_.vmovq(piece, x86::qword_ptr(from));
  a_.vmovq(end, x86::qword_ptr(from, count, 0, -8));
  a_.vmovq(x86::qword_ptr(to), piece);
  a_.vmovq(x86::qword_ptr(to, count, 0, -8), end);
  a_.jmp(done);
  a_.bind(many);
  a_.vmovdqu(end, x86::ptr(from, count, 0, -16));
  a_.xor_(passing.r32(), passing.r32());
  a_.sub(count, 16);
  a_.bind(next);
  a_.vmovdqu(piece, x86::ptr(from, passing));
  a_.vmovdqu(x86::ptr(to, passing), piece);
  a_.add(passing, 16);
  a_.cmp(passing, count);
  a_.jb(next);
  a_.vmovdqu(x86::ptr(to, count), end);
  a_.add(count, 16);
  a_.bind(done);
}

}  // namespace doppel::optimizing
