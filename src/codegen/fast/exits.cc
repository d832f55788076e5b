// How a block is entered and left, and what is done out of its line.
#include <cassert>

#include "codegen/fast/generator.h"

namespace doppel::fast {

using ir::Op;
using ir::Site;
using ir::Type;

namespace {

constexpr std::int64_t guest_page = 4096;
/// Whether a jump may be linked for good: an instruction in the last two bytes may reach into another page, whose
/// mapping may change.
bool in_page(std::int64_t target) { return target >= 0 && target < guest_page - 2; }

}  // namespace

std::uint32_t Generator::site(const Instruction& i) const {
  const bool store = i.op == Op::store || i.op == Op::storef;
  return Site{
      std::uint16_t(i.offset), std::uint8_t(i.left), std::uint8_t(ir::bytes(i.type)), i.flag != 0, i.length == 2, store}
      .pack();
}

Generator::Side& Generator::add_side(Side::Kind kind, const Instruction& i) {
  sides_.push_back({.label = a_.newLabel(), .resume = a_.newLabel(), .instruction = &i, .kind = kind});
  return sides_.back();
}

/// Every entry takes the block's instructions from the budget, and one compare tells whether to come back: because the
/// budget is used up or because somebody raised the limit.
void Generator::emit_entry(const ir::Code& code) {
  entry_ = a_.newLabel();
  a_.bind(entry_);
  // A prefix that means nothing here makes it long enough: a count of at most 127 has one byte.
  constexpr std::uint8_t ds_prefix = 0x3e;
  a_.embedUInt8(ds_prefix);
  a_.sub(budget, std::int32_t(code.guest_count));
  assert(holder_.labelOffset(entry_) + entry_bytes == a_.offset());
  a_.cmp(budget, DOPPEL_FIELD(layout_, limit, 8));
  static const Instruction none;
  auto& side = add_side(Side::Kind::refuse, none);
  a_.jl(side.label);
}

void Generator::link_jump(std::int64_t target, bool separate) {
  if (target == whole_->begin && !separate) {
    a_.jmp(entry_);
    return;
  }
  // The displacement is replaced while others may execute it: it must lie in one aligned word.
  while ((a_.offset() + 1) % 8 > 4) a_.nop();
  links_.push_back({.stub = a_.newLabel(),
                    .stub_return = a_.newLabel(),
                    .target = std::uint16_t(target),
                    .separate = separate,
                    .displacement = a_.offset() + 1});
  a_.long_().jmp(links_.back().stub);
}

void Generator::emit_far_jump(std::int64_t target) {
  a_.mov(x86::rax, DOPPEL_FIELD(layout_, page, 8));
  a_.add(x86::rax, std::int32_t(target));
  leave_for_rax(a_, layout_);
}

void Generator::emit_jump(std::int64_t target) {
  if (in_page(target))
    link_jump(target);
  else
    emit_far_jump(target);
}

void Generator::emit_jump_to(const Instruction& i) {
  load_into(x86::rax, i.a);
  a_.and_(x86::rax, -2);
  use_arguments(i);
  leave_for_rax(a_, layout_);
}

void Generator::emit_branch(Value index) {
  const auto& i = definition(index);
  const auto code = emit_comparison(i);
  if (in_page(i.imm) && i.imm <= i.offset) {
    // Backwards: a loop, most likely taken.
    const auto next = a_.newLabel();
    a_.j(x86::negateCond(code), next);
    if (i.left != 0) a_.add(budget, std::int32_t(i.left));
    link_jump(i.imm);
    a_.bind(next);
    return;
  }
  a_.j(code, add_side(Side::Kind::taken, i).label);
}

x86::Mem Generator::state_word(const Instruction& i) const {
  return x86::ptr(state, std::int32_t(i.imm) + (i.flag ? layout_.execution : -layout_.begin), 8);
}

void Generator::emit_set_state(const Instruction& i) {
  std::int32_t imm;
  if (small(i.a, imm))
    a_.mov(state_word(i), imm);
  else
    a_.mov(state_word(i), gp(i.a));
  use_arguments(i);
}

void Generator::emit_guard(const Instruction& i) {
  const auto value = gp(i.a);
  use_arguments(i);
  auto& side = add_side(Side::Kind::interpret, i);
  if (i.flag)
    side.kind = Side::Kind::interpret_last;
  else
    side.without_result = true;
  a_.test(value, value);
  a_.jnz(side.label);
  if (!i.flag) a_.bind(side.resume);
}

void Generator::emit_interpret(const Instruction& i) {
  a_.mov(DOPPEL_FIELD(layout_, site, 4), site(i));
  a_.mov(DOPPEL_FIELD(layout_, bits, 4), std::uint32_t(i.imm));
  if (i.flag) {
    a_.jmp(DOPPEL_FIELD(layout_, routines.interpret_last, 8));
    return;
  }
  a_.call(DOPPEL_FIELD(layout_, routines.interpret, 8));
  forget_registers();
}

void Generator::emit_leave(std::int64_t at) {
  a_.mov(x86::rax, DOPPEL_FIELD(layout_, page, 8));
  a_.add(x86::rax, std::int32_t(at));
  a_.mov(x86::ptr(state, layout_.pc, 8), x86::rax);
  a_.jmp(DOPPEL_FIELD(layout_, routines.to_dispatch, 8));
}

void Generator::emit_side(Side& side) {
  const auto& i = *side.instruction;
  a_.bind(side.label);
  switch (side.kind) {
    case Side::Kind::refuse:
      a_.call(DOPPEL_FIELD(layout_, routines.refuse, 8));
      return;
    case Side::Kind::taken:
      if (i.left != 0) a_.add(budget, std::int32_t(i.left));
      return emit_jump(i.imm);
    case Side::Kind::separate:
      a_.add(budget, std::int32_t(i.left) + 1);
      return link_jump(i.offset, true);
    case Side::Kind::canonical:
      if (i.type == Type::f64)
        a_.vmovsd(x86::xmm(unsigned(side.vector)), DOPPEL_FIELD(layout_, canonical64, 8));
      else
        a_.vmovss(x86::xmm(unsigned(side.vector)), DOPPEL_FIELD(layout_, canonical32, 4));
      break;
    case Side::Kind::interpret: {
      // The result is where the interpreter put it: in the guest register that a later instruction sets.
      const auto size = i.op == Op::store_conditional ? Site::paired : std::uint8_t(0);
      a_.mov(DOPPEL_FIELD(layout_, site, 4), Site{std::uint16_t(i.offset), std::uint8_t(i.left), size, false}.pack());
      a_.mov(DOPPEL_FIELD(layout_, bits, 4), 0);
      a_.call(DOPPEL_FIELD(layout_, routines.interpret, 8));
      const auto index = Value(&i - code_->data());
      for (auto next = index + 1; next < code_->size() && (*code_)[next].offset == i.offset; next++) {
        const auto& set = (*code_)[next];
        if (side.without_result) break;
        if (set.op == Op::setf)
          a_.vmovsd(x86::xmm(unsigned(side.vector)), home(set.reg));
        else if (set.op == Op::set && in_memory(set.reg))
          a_.mov(side.gp, home(set.reg));
        else if (set.op == Op::set)
          a_.mov(side.gp, pin(set.reg));
      }
      break;
    }
    case Side::Kind::interpret_last:
      a_.mov(DOPPEL_FIELD(layout_, site, 4), Site{std::uint16_t(i.offset), std::uint8_t(i.left), 0, true}.pack());
      a_.mov(DOPPEL_FIELD(layout_, bits, 4), 0);
      a_.jmp(DOPPEL_FIELD(layout_, routines.interpret_last, 8));
      return;
    case Side::Kind::load:
      a_.mov(DOPPEL_FIELD(layout_, address, 8), side.address);
      a_.push(std::int32_t(site(i)));
      a_.call(DOPPEL_FIELD(layout_, slow_access, 8));
      if (side.vector == nowhere)
        a_.mov(side.gp, DOPPEL_FIELD(layout_, value, 8));
      else
        a_.vmovsd(x86::xmm(unsigned(side.vector)), DOPPEL_FIELD(layout_, value, 8));
      break;
    case Side::Kind::store:
      a_.mov(DOPPEL_FIELD(layout_, address, 8), side.address);
      if (side.vector != nowhere)
        a_.vmovsd(DOPPEL_FIELD(layout_, value, 8), x86::xmm(unsigned(side.vector)));
      else if (side.immediate)
        a_.mov(DOPPEL_FIELD(layout_, value, 8), side.imm);
      else
        a_.mov(DOPPEL_FIELD(layout_, value, 8), side.gp);
      a_.push(std::int32_t(site(i)));
      a_.call(DOPPEL_FIELD(layout_, slow_access, 8));
      break;
  }
  a_.jmp(side.resume);
}

void Generator::emit_sides() {
  for (std::size_t n = 0; n < sides_.size(); n++) {
    auto side = sides_[n];
    mark(side.kind == Side::Kind::refuse ? ir::no_value : Value(side.instruction - code_->data()), true);
    emit_side(side);
  }
  for (auto& link : links_) {
    mark(ir::no_value, true);
    a_.bind(link.stub);
    a_.call(DOPPEL_FIELD(layout_, to_link, 8));
    a_.bind(link.stub_return);
  }
}

void Generator::emit(Value index) {
  const auto& i = definition(index);
  switch (i.op) {
    case Op::constant:
    case Op::page:
      return;
    case Op::get:
      held_[i.reg] = index;
      places_[index].home = std::int8_t(i.reg);
      return;
    case Op::set:
      return emit_set(i);
    case Op::setf:
      return emit_setf(i);
    case Op::add:
    case Op::sub:
    case Op::and_:
    case Op::or_:
    case Op::xor_:
    case Op::andn:
    case Op::mul:
      return emit_binary(index);
    case Op::shl:
    case Op::shr:
    case Op::sar:
    case Op::rol:
    case Op::ror:
      return emit_shift(index);
    case Op::mulhs:
    case Op::mulhu:
    case Op::mulhsu:
      return emit_multiply_high(index);
    case Op::clmul:
    case Op::clmulh:
      return emit_carryless(index);
    case Op::divs:
    case Op::divu:
    case Op::rems:
    case Op::remu:
      return emit_divide(index);
    case Op::clz:
    case Op::ctz:
    case Op::popcount:
    case Op::bswap:
    case Op::sext:
    case Op::zext:
      return emit_unary(index);
    case Op::compare:
      return emit_compare(index);
    case Op::select:
      return emit_select(index);
    case Op::window:
      return emit_window(index);
    case Op::load:
    case Op::loadf:
    case Op::store:
    case Op::storef:
      return emit_access(index);
    case Op::get_state:
      a_.mov(destination(index), state_word(i));
      return;
    case Op::set_state:
      return emit_set_state(i);
    case Op::guard:
      return emit_guard(i);
    case Op::zero_block:
      return emit_zero_block(i);
    case Op::atomic:
      return emit_atomic(index);
    case Op::load_linked:
      return emit_load_linked(index);
    case Op::store_conditional:
      return emit_store_conditional(index);
    case Op::host_counter:
      return emit_host_counter(index);
    case Op::store_right:
      return emit_store_right(i);
    case Op::dirty_float:
      return mark_float_dirty(a_, layout_);
    case Op::fence:
      a_.lock().or_(x86::dword_ptr(x86::rsp), 0);
      return;
    case Op::branch:
      return emit_branch(index);
    case Op::jump:
      return emit_jump(i.imm);
    case Op::jump_to:
      return emit_jump_to(i);
    case Op::interpret:
      return emit_interpret(i);
    case Op::leave:
      return emit_leave(i.imm);
    default:
      return emit_float(index);
  }
}

}  // namespace doppel::fast
