// What is found out about a path before code is made: which values are wanted where, and what is in registers where it
// goes round.
#include <algorithm>

#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::no_value;
using ir::Op;
using ir::Type;

bool Generator::is_exit(const Instruction& i) const {
  return i.op == Op::window || i.op == Op::branch || i.op == Op::expect || i.op == Op::jump || i.op == Op::jump_to ||
         i.op == Op::fma || i.op == Op::toint || i.op == Op::fmin || i.op == Op::fmax;
}

bool Generator::has_effect(const Instruction& i) const {
  const auto& t = ir::traits(i.op);
  if (i.op == Op::get || i.op == Op::set || i.op == Op::setf || i.op == Op::load || i.op == Op::loadf) return false;
  return !t.pure;
}

/// Whether the operation may be left to the exits that want its result.
bool Generator::can_sink(const Instruction& i) const {
  return ((i.op == Op::sext || i.op == Op::zext) && i.type != Type::i64) || i.op == Op::box;
}

void Generator::prepare(const ir::Code& path) {
  path_ = &path;
  list_ = &path.instructions;
  const auto& last = path.instructions.back();
  loop_ = last.op == Op::jump && last.imm == path.begin;
  info_.assign(list_->size() + layout_.registers, {});
  exits_.clear(), fixes_.clear(), misses_.clear(), moves_.clear(), links_.clear();
  kept_windows_.clear(), looks_.clear(), copy_ = {};
  in_gp_.fill(no_value), in_vector_.fill(no_value);
  slots_ = reserved_slots_ = 0;
  failed_ = false;
  unlock();
  find_registers();
  find_arguments();
  find_exit_needs();
  find_uses();
}

void Generator::find_registers() {
  touched_.fill(false), written_.fill(false), floating_.fill(false), weight_.fill(0);
  for (const auto& i : *list_) {
    if (i.op != Op::get && i.op != Op::set && i.op != Op::setf) continue;
    touched_[i.reg] = true;
    written_[i.reg] |= i.op != Op::get;
    floating_[i.reg] |= i.op == Op::setf || (i.op == Op::get && ir::is_float(i.type));
  }
  for (unsigned reg = 0; reg < layout_.registers; reg++) {
    current_[reg] = header(reg);
    info_[header(reg)].vector = floating_[reg];
  }
}

/// What operations read: a selection reads its comparison's arguments, an access what its address is made of.
void Generator::find_arguments() {
  const auto count = list_->size();
  arguments_.assign(count, {no_value, no_value, no_value, no_value});
  displacement_.assign(count, 0);
  for (Value n = 0; n < count; n++) {
    const auto& i = definition(n);
    auto& arguments = arguments_[n];
    const auto result = ir::traits(i.op).result;
    info_[n].vector = result == "f" || (result == "t" && ir::is_float(i.type));
    if (i.op == Op::select && !is_header(resolve(i.a)) && definition(i.a).op == Op::compare) {
      const auto& comparison = definition(i.a);
      arguments = {resolve(comparison.a), resolve(comparison.b), resolve(i.b), resolve(i.c)};
      continue;
    }
    arguments = {resolve(i.a), resolve(i.b), resolve(i.c), no_value};
    if (i.op != Op::window && !ir::in_window(i)) continue;
    auto& total = displacement_[n] = i.imm;
    while (!is_header(arguments[0]) && definition(arguments[0]).op == Op::add &&
           definition(arguments[0]).type == Type::i64) {
      const auto& sum = definition(arguments[0]);
      const auto right = resolve(sum.b);
      if (!is_constant(right) || definition(sum.a).op == Op::page) break;
      const auto both = total + definition(right).imm;
      if (both < INT32_MIN / 2 || both > INT32_MAX / 2) break;
      total = both;
      arguments[0] = resolve(sum.a);
    }
  }
}

/// Until when values are wanted because the path may be left with them in guest registers.
void Generator::find_exit_needs() {
  std::array<std::int32_t, max_registers> since;
  since.fill(-1);
  auto now = current_;
  std::int32_t last_exit = -1;
  const auto need = [&](unsigned reg) {
    if (last_exit > since[reg]) info_[now[reg]].exit_last = std::max(info_[now[reg]].exit_last, last_exit);
  };
  for (Value n = 0; n < list_->size(); n++) {
    const auto& i = definition(n);
    if (is_exit(i)) last_exit = std::int32_t(n);
    if (i.op != Op::set && i.op != Op::setf) continue;
    need(i.reg);
    now[i.reg] = resolve(i.a);
    since[i.reg] = std::int32_t(n);
  }
  for (unsigned reg = 0; reg < layout_.registers; reg++)
    if (kept(reg)) need(reg);
  // Where the path goes round, values that are in registers there are read.
  if (loop_) {
    if (repeated_) find_kept(now), find_copy_loop(now);
    choose_header();
    for (unsigned reg = 0; reg < layout_.registers; reg++)
      if (kept(reg) && header_[reg] != nowhere) {
        auto& value = info_[now[reg]];
        value.next_use = std::uint32_t(list_->size() - 1);
        if (value.hint == nowhere) value.hint = header_[reg];
      }
  }
}

/// By how much a round moves what is computed so, as far as that is easily seen; words that go round at 32 bits are
/// taken not to.
std::optional<std::int64_t> Generator::step_of(Value v, const std::array<Value, max_registers>& at_end,
                                               unsigned depth) const {
  if (depth == 0) return std::nullopt;
  if (is_header(v)) {
    auto end = at_end[v - list_->size()];
    if (end == v) return 0;
    if (!is_header(end) && definition(end).op == Op::sext) end = resolve(definition(end).a);
    if (is_header(end) || definition(end).op != Op::add || resolve(definition(end).a) != v) return std::nullopt;
    return is_constant(resolve(definition(end).b)) ? std::optional(definition(definition(end).b).imm) : std::nullopt;
  }
  const auto& i = definition(v);
  const auto part = [&](Value from) { return step_of(resolve(from), at_end, depth - 1); };
  switch (i.op) {
    case Op::constant:
    case Op::page:
      return 0;
    case Op::sext:
    case Op::zext:
      return part(i.a);
    case Op::shl: {
      const auto from = part(i.a);
      return from && is_constant(resolve(i.b))
                 ? std::optional(std::int64_t(std::uint64_t(*from) << (definition(i.b).imm & 31)))
                 : std::nullopt;
    }
    case Op::add:
    case Op::sub: {
      const auto left = part(i.a), right = part(i.b);
      if (!left || !right) return std::nullopt;
      return std::int64_t(i.op == Op::add ? std::uint64_t(*left) + std::uint64_t(*right)
                                          : std::uint64_t(*left) - std::uint64_t(*right));
    }
    default:
      return std::nullopt;
  }
}

/// Windows whose base a round leaves as it is or moves by little.
void Generator::find_kept(const std::array<Value, max_registers>& at_end) {
  constexpr std::size_t most = 8;
  constexpr unsigned deep = 6;
  constexpr std::int64_t longest_step = 256;  // so that pages change in few rounds
  for (Value n = 0; n < list_->size() && kept_windows_.size() < most; n++) {
    if (definition(n).op != Op::window) continue;
    const auto step = step_of(arguments_[n][0], at_end, deep);
    if (!step || *step < -longest_step || *step > longest_step) continue;
    if (*step == 0 && !is_header(arguments_[n][0])) continue;
    const auto slot = std::uint16_t(fast::spill_slots - 2 * (kept_windows_.size() + 1));
    reserved_slots_ |= 3ULL << slot;
    kept_windows_.push_back(
        {.window = n, .page_slot = slot, .addend_slot = std::uint16_t(slot + 1), .upwards = *step >= 0});
  }
  slots_ = reserved_slots_;
}

/// Backwards: what nobody wants is not made, what only exits want is left to them.
void Generator::find_uses() {
  const auto count = list_->size();
  next_.assign(count, {never, never, never, never});
  for (auto n = Value(count); n-- > 0;) {
    const auto& i = definition(n);
    auto& value = info_[n];
    if (i.op == Op::set || i.op == Op::setf) {
      auto& set = info_[resolve(i.a)];
      const auto place = loop_ ? header_[i.reg] : pinned(i.reg) ? std::int8_t(layout_.host[i.reg]) : nowhere;
      if (set.hint == nowhere) set.hint = place;
      continue;
    }
    const bool wanted = value.uses > 0 || value.exit_last >= 0 || value.next_use != never;
    if (i.op == Op::get || (!wanted && !has_effect(i))) continue;
    value.live = true;
    if (can_sink(i) && value.uses == 0 && !remade(arguments_[n][0])) {
      value.sunk = true;
      auto& from = info_[arguments_[n][0]];
      from.uses++;
      from.exit_last = std::max(from.exit_last, value.exit_last);
      if (value.next_use != never && from.next_use == never) from.next_use = value.next_use;
      continue;
    }
    for (unsigned k = 0; k < 4; k++)
      if (const auto from = arguments_[n][k]; from != no_value) next_[n][k] = info_[from].next_use;
    for (const auto from : arguments_[n])
      if (from != no_value) info_[from].next_use = n, info_[from].uses++;
  }
}

/// Which guest registers are in host registers where the path goes round: those that are read and written most. A
/// pinned one stays where it is, or leaves its register to another.
void Generator::choose_header() {
  constexpr unsigned most = 9, most_vectors = 12;
  header_.fill(nowhere);
  for (Value n = 0; n < list_->size(); n++) {
    const auto& i = definition(n);
    if (i.op == Op::set || i.op == Op::setf) weight_[i.reg]++;
    for (const auto from : arguments_[n])
      if (from != no_value && is_header(from)) weight_[from - list_->size()] += 2;
  }
  std::vector<unsigned> order;
  for (unsigned reg = 0; reg < layout_.registers; reg++)
    if (touched_[reg]) order.push_back(reg);
  std::ranges::sort(order,
                    [&](unsigned x, unsigned y) { return weight_[x] != weight_[y] ? weight_[x] > weight_[y] : x < y; });
  unsigned integers = 0, vectors = 0;
  std::uint32_t taken = 0;
  std::vector<unsigned> homeless;
  for (const auto reg : order) {
    if (floating_[reg]) {
      if (vectors < most_vectors) header_[reg] = std::int8_t(vectors++);
    } else if (integers < most) {
      integers++;
      if (pinned(reg))
        header_[reg] = std::int8_t(layout_.host[reg]), taken |= 1U << layout_.host[reg];
      else
        homeless.push_back(reg);
    }
  }
  // Pinned registers that the path does not touch stay as long as there is room.
  for (unsigned reg = 0; reg < layout_.registers; reg++)
    if (pinned(reg) && !touched_[reg] && integers < most)
      integers++, header_[reg] = std::int8_t(layout_.host[reg]), taken |= 1U << layout_.host[reg];
  for (const auto reg : homeless) {
    auto place = int(gp_count) - 1;
    while (place >= 0 && (taken >> place & 1)) place--;
    taken |= 1U << place;
    header_[reg] = std::int8_t(place);
  }
}

/// Where values are when the path begins; of one that goes round, after enter_header()'s moves.
void Generator::enter_header() {
  holder_of_.fill(no_value);
  for (unsigned reg = 0; reg < layout_.registers; reg++) {
    if (!kept(reg)) continue;
    const auto value = header(reg);
    auto& info = info_[value];
    const auto place = loop_ ? header_[reg] : pinned(reg) ? std::int8_t(layout_.host[reg]) : nowhere;
    const bool in_home = place == nowhere || (!pinned(reg) && !(loop_ && written_[reg]));
    if (in_home) info.home = std::int8_t(reg), holder_of_[reg] = value;
    if (!loop_) {
      if (place != nowhere) info.reg = place, in_gp_[unsigned(place)] = value;
      continue;
    }
    if (place == nowhere) {
      if (pinned(reg)) a_.mov(home(reg), registers[layout_.host[reg]]);
      continue;
    }
    info.reg = place;
    (floating_[reg] ? in_vector_[unsigned(place)] : in_gp_[unsigned(place)]) = value;
  }
  for (const auto& kept : kept_windows_) a_.mov(slot(kept.page_slot), -1);  // no page
  // Only now, with those that make room stored.
  for (unsigned reg = 0; loop_ && reg < layout_.registers; reg++) {
    if (!kept(reg) || header_[reg] == nowhere || pinned(reg)) continue;
    if (floating_[reg])
      a_.vmovsd(x86::xmm(unsigned(header_[reg])), home(reg));
    else
      a_.mov(registers[unsigned(header_[reg])], home(reg));
  }
}

}  // namespace doppel::optimizing
