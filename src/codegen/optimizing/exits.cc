// How a path begins, goes round and is left.
#include <algorithm>
#include <cassert>
#include <cstring>

#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::no_value;
using ir::Op;
using ir::Type;
using Kind = Location::Kind;

namespace {

constexpr std::int64_t page_bytes = 4096;
constexpr unsigned spares = 16;  // ExecutionState::vectors, which only calls use

Change change_of(const ir::Instruction& i) {
  if (i.op == Op::box) return Change::box;
  const bool sign = i.op == Op::sext;
  return i.type == Type::i8    ? (sign ? Change::sext8 : Change::zext8)
         : i.type == Type::i16 ? (sign ? Change::sext16 : Change::zext16)
                               : (sign ? Change::sext32 : Change::zext32);
}

}  // namespace

/// Paths over several pages rely on these being mapped as they were: where the hart's view of memory is another one
/// since it last looked, it looks.
void Generator::emit_check(PathSites& sites) {
  sites = {};
  if (pages_.size() < 2) return;
  const auto ask = a_.newLabel(), begin = a_.newLabel(), good = a_.newLabel();
  constexpr std::int32_t later = INT32_MAX;  // takes a whole word, which is the instruction's last
  const auto word = [&] { return std::uint32_t(a_.offset() - 4); };
  a_.bind(begin);
  a_.mov(x86::rbx, DOPPEL_FIELD(layout_, jumps, 8));
  a_.mov(x86::rax, DOPPEL_FIELD(layout_, checks, 8));
  a_.mov(x86::rbx, x86::qword_ptr(x86::rbx, -8));
  a_.cmp(x86::rbx, x86::ptr(x86::rax, later, 8));
  sites.view = word();
  a_.jne(ask);
  a_.mov(x86::rbx, DOPPEL_FIELD(layout_, page, 8));
  a_.cmp(x86::rbx, x86::ptr(x86::rax, later, 8));
  sites.page = word();
  a_.je(good);
  a_.bind(ask);
  a_.mov(DOPPEL_FIELD(layout_, site, 4), later);
  sites.number = word();
  a_.call(DOPPEL_FIELD(layout_, routines.check_path, 8));
  a_.jnz(begin);
  a_.long_().sub(fast::budget, later);
  sites.entry_count = word();
  a_.long_().jmp(good);  // elsewhere, once it is known where
  sites.fallback = word();
  a_.bind(good);
}

void settle(PathCode& path, std::uint32_t check, std::uint32_t entry_count) {
  const auto& sites = path.sites;
  if (sites.fallback == 0) return;
  const auto entry = std::uint32_t(check * sizeof(ir::PathCheck));
  const auto put = [&](std::uint32_t at, std::uint32_t value) {
    std::memcpy(path.code.bytes.data() + at, &value, sizeof value);
  };
  put(sites.view, entry + std::uint32_t(offsetof(ir::PathCheck, view)));
  put(sites.page, entry + std::uint32_t(offsetof(ir::PathCheck, page)));
  put(sites.number, check);
  put(sites.entry_count, entry_count);
}

/// One compare tells whether to come back: because the budget is used up or because somebody raised the limit.
void Generator::emit_head() {
  round_ = a_.newLabel();
  a_.bind(round_);
  emit_copy();
  a_.sub(fast::budget, std::int32_t(path_->guest_count));
  a_.cmp(fast::budget, DOPPEL_FIELD(layout_, limit, 8));
  a_.jl(add_exit(Exit::Kind::leave, path_->begin, std::int32_t(path_->guest_count)).label);
}

void Generator::emit_end(Value n) {
  const auto begin = moves_.size();
  loop_ ? collect_header() : collect_canonical();
  order_moves(begin);
  emit_moves(begin, moves_.size());
  loop_ ? void(a_.jmp(round_)) : go_to(definition(n).imm, false);
}

void Generator::emit_jump_to(Value n) {
  use(a(n));
  auto& exit = add_exit(Exit::Kind::jump, 0, 0);
  a_.jmp(exit.label);
}

void Generator::emit_branch(Value n) {
  const auto& i = definition(n);
  const auto code = emit_comparison(i, a(n), b(n));
  a_.j(code, add_exit(Exit::Kind::link, i.imm, std::int32_t(i.left)).label);
  consume(n);
}

/// Where control goes elsewhere, the address of that is the guest's pc.
void Generator::emit_expect(Value n) {
  const auto& i = definition(n);
  std::int64_t offset;
  const auto target = use(a(n));
  if (is_place(b(n), offset) && info_[b(n)].reg == nowhere) {
    load(passing, b(n));
    a_.cmp(target, passing);
  } else {
    a_.cmp(target, use(b(n)));
  }
  auto& exit = add_exit(Exit::Kind::jump, 0, std::int32_t(i.left));
  a_.jne(exit.label);
  consume(n);
}

Location Generator::place(Value v) const {
  const auto& info = info_[v];
  std::int64_t offset;
  if (info.reg != nowhere) return {.kind = info.vector ? Kind::vector : Kind::gp, .number = std::uint16_t(info.reg)};
  if (is_constant(v)) return {.kind = Kind::immediate, .value = definition(v).imm};
  if (is_place(v, offset)) return {.kind = Kind::page, .value = offset};
  if (info.slot != nowhere) return {.kind = Kind::slot, .number = std::uint16_t(info.slot)};
  assert(info.home != nowhere);
  return {.kind = Kind::home, .number = std::uint16_t(info.home)};
}

Move Generator::move_of(Value v, Location to) const {
  const auto& info = info_[v];
  if (info.sunk) return {.to = to, .from = place(arguments_[v][0]), .change = change_of(definition(v))};
  const bool there = (to.kind == Kind::home && info.home == std::int8_t(to.number)) ||
                     (to.kind == Kind::gp && !info.vector && info.reg == std::int8_t(to.number)) ||
                     (to.kind == Kind::vector && info.vector && info.reg == std::int8_t(to.number));
  return {.to = to, .from = there ? to : place(v)};
}

/// The moves that put every guest register where code of `fast` has it.
void Generator::collect_canonical() {
  for (unsigned reg = 0; reg < layout_.registers; reg++) {
    if (!kept(reg)) continue;
    const auto to = pinned(reg) ? Location{.kind = Kind::gp, .number = layout_.host[reg]}
                                : Location{.kind = Kind::home, .number = std::uint16_t(reg)};
    const auto move = move_of(current_[reg], to);
    if (move.from != move.to || move.change != Change::none) moves_.push_back(move);
  }
}

/// Likewise where the path's begin has it.
void Generator::collect_header() {
  for (unsigned reg = 0; reg < layout_.registers; reg++) {
    if (!kept(reg)) continue;
    const auto in = header_[reg];
    const auto to = in == nowhere
                        ? Location{.kind = Kind::home, .number = std::uint16_t(reg)}
                        : Location{.kind = floating_[reg] ? Kind::vector : Kind::gp, .number = std::uint16_t(in)};
    const auto move = move_of(current_[reg], to);
    if (move.from != move.to || move.change != Change::none) moves_.push_back(move);
  }
}

Generator::Exit& Generator::add_exit(Exit::Kind kind, std::int64_t target, std::int32_t refund) {
  const auto begin = moves_.size();
  if (kind == Exit::Kind::jump) moves_.push_back({.to = {.kind = Kind::target}, .from = place(a(now_))});
  collect_canonical();
  order_moves(begin);
  exits_.push_back({.kind = kind,
                    .label = a_.newLabel(),
                    .target = target,
                    .refund = refund,
                    .moves_begin = begin,
                    .moves_end = moves_.size(),
                    .at = now_});
  return exits_.back();
}

/// Leaves for code without windows, which does the instruction.
Generator::Label Generator::exit_before(const Instruction& i) {
  return add_exit(Exit::Kind::separate, i.offset, std::int32_t(i.left) + 1).label;
}

void Generator::emit_exit(Exit& exit) {
  mark(exit.at, true);
  a_.bind(exit.label);
  emit_moves(exit.moves_begin, exit.moves_end);
  if (exit.refund != 0) a_.add(fast::budget, exit.refund);
  switch (exit.kind) {
    case Exit::Kind::link:
      return go_to(exit.target, false);
    case Exit::Kind::separate:
      return go_to(exit.target, true);
    case Exit::Kind::leave:
      a_.mov(x86::rax, DOPPEL_FIELD(layout_, page, 8));
      a_.add(x86::rax, std::int32_t(exit.target));
      a_.mov(x86::ptr(fast::state, layout_.pc, 8), x86::rax);
      break;
    case Exit::Kind::jump:
      a_.mov(x86::rax, x86::ptr(fast::state, layout_.pc, 8));
      a_.and_(x86::rax, -2);
      return fast::leave_for_rax(a_, layout_);
  }
  a_.jmp(DOPPEL_FIELD(layout_, routines.to_dispatch, 8));
}

void Generator::emit_fix(const Fix& fix) {
  mark(fix.at, true);
  a_.bind(fix.label);
  if (fix.type == Type::f64)
    a_.vmovsd(fix.value, DOPPEL_FIELD(layout_, canonical64, 8));
  else
    a_.vmovss(fix.value, DOPPEL_FIELD(layout_, canonical32, 4));
  a_.jmp(fix.resume);
}

/// On to a place: directly on the path's own pages, else through the jump cache.
void Generator::go_to(std::int64_t target, bool separate) {
  const auto page = std::int32_t(target >> 12);
  const auto offset = target & (page_bytes - 1);
  const bool known = std::ranges::find(pages_, page) != pages_.end();
  if (known && (separate || offset < page_bytes - 2)) {
    if (page != 0) a_.add(DOPPEL_FIELD(layout_, page, 8), page * std::int32_t(page_bytes));
    link(target, separate);
    return;
  }
  a_.mov(x86::rax, DOPPEL_FIELD(layout_, page, 8));
  a_.add(x86::rax, std::int32_t(target));
  fast::leave_for_rax(a_, layout_);
}

void Generator::link(std::int64_t target, bool separate) {
  // The displacement is replaced while others may execute it: it must lie in one aligned word.
  while ((a_.offset() + 1) % 8 > 4) a_.nop();
  links_.push_back({.stub = a_.newLabel(),
                    .stub_return = a_.newLabel(),
                    .displacement = a_.offset() + 1,
                    .page = std::int32_t(target >> 12),
                    .target = std::uint16_t(target & (page_bytes - 1)),
                    .separate = separate});
  a_.long_().jmp(links_.back().stub);
}

/// Circles take a spare word each: of fewer registers than twice the spare words there cannot be more.
void Generator::order_moves(std::size_t begin) {
  static_assert((gp_count + vector_count) / 2 <= spares);
  [[maybe_unused]] const bool ordered = put_in_order(moves_, begin, spares);
  assert(ordered);
}

void Generator::emit_moves(std::size_t begin, std::size_t end) {
  for (auto n = begin; n < end; n++) emit_move(moves_[n]);
}

x86::Mem Generator::memory(const Location& location) const {
  switch (location.kind) {
    case Kind::home:
      return home(location.number);
    case Kind::slot:
      return slot(location.number);
    case Kind::target:
      return x86::ptr(fast::state, layout_.pc, 8);
    default:
      return x86::ptr(fast::state,
                      layout_.execution + std::int32_t(offsetof(ir::ExecutionState, vectors) + 8 * location.number), 8);
  }
}

namespace {

void extend(x86::Assembler& a, const x86::Gp& to, asmjit::Operand from, Change change) {
  constexpr unsigned sizes[] = {8, 1, 2, 4, 1, 2, 4};
  const auto size = sizes[unsigned(change)];
  if (from.isMem())
    from.as<x86::Mem>().setSize(size);
  else if (size != 8)
    from = size == 4   ? asmjit::Operand(from.as<x86::Gp>().r32())
           : size == 2 ? asmjit::Operand(from.as<x86::Gp>().r16())
                       : asmjit::Operand(from.as<x86::Gp>().r8());
  switch (change) {
    case Change::sext8:
    case Change::sext16:
      a.emit(x86::Inst::kIdMovsx, to, from);
      return;
    case Change::sext32:
      a.emit(x86::Inst::kIdMovsxd, to, from);
      return;
    case Change::zext8:
    case Change::zext16:
      a.emit(x86::Inst::kIdMovzx, to.r32(), from);
      return;
    case Change::zext32:
      a.emit(x86::Inst::kIdMov, to.r32(), from);
      return;
    default:
      a.emit(x86::Inst::kIdMov, to, from);
  }
}

void box(x86::Assembler& a, const x86::Xmm& to) {
  a.vpcmpeqd(passing_vector, passing_vector, passing_vector);
  a.vpsllq(passing_vector, passing_vector, 32);
  a.vorps(to, to, passing_vector);
}

}  // namespace

void Generator::emit_move(const Move& move) {
  const auto& [to, from, change] = move;
  if (to.kind == Kind::vector) {
    const auto target = x86::xmm(to.number);
    if (from.kind == Kind::vector)
      a_.vmovaps(target, x86::xmm(from.number));
    else
      a_.vmovsd(target, memory(from));
    if (change == Change::box) box(a_, target);
    return;
  }
  if (from.kind == Kind::vector) {
    const auto target = memory(to);
    if (change != Change::box) {
      a_.vmovsd(target, x86::xmm(from.number));
      return;
    }
    auto half = target;
    half.setSize(4);
    a_.vmovss(half, x86::xmm(from.number));
    half.addOffset(4);
    a_.mov(half, -1);
    return;
  }
  const auto target = to.kind == Kind::gp ? registers[to.number] : passing;
  switch (from.kind) {
    case Kind::immediate:
      if (to.kind != Kind::gp && std::int32_t(from.value) == from.value) {
        a_.mov(memory(to), std::int32_t(from.value));
        return;
      }
      from.value >= 0 && from.value <= 0xffffffffLL ? a_.mov(target.r32(), std::uint32_t(from.value))
                                                    : a_.mov(target, from.value);
      break;
    case Kind::page:
      a_.mov(target, DOPPEL_FIELD(layout_, page, 8));
      if (from.value != 0) a_.lea(target, x86::ptr(target, std::int32_t(from.value)));
      break;
    case Kind::gp:
      if (to.kind != Kind::gp && change == Change::none) {
        a_.mov(memory(to), registers[from.number]);
        return;
      }
      extend(a_, target, registers[from.number], change);
      break;
    default:
      extend(a_, target, memory(from), change == Change::box ? Change::zext32 : change);
      if (change == Change::box) {
        auto half = memory(to);
        half.setSize(4);
        a_.mov(half, target.r32());
        half.addOffset(4);
        a_.mov(half, -1);
        return;
      }
  }
  if (to.kind != Kind::gp) a_.mov(memory(to), target);
}

}  // namespace doppel::optimizing
