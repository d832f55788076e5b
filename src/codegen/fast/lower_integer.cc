// Integer arithmetic.
#include <utility>

#include "codegen/fast/generator.h"

namespace doppel::fast {

using ir::Condition;
using ir::Op;
using ir::Type;

namespace {

bool narrow(const ir::Instruction& i) { return i.type == Type::i32; }
x86::Gp sized(const x86::Gp& reg, bool is_narrow) { return is_narrow ? reg.r32() : x86::Gp(reg); }

/// Memory operands are 64 bits wide; the low half is at the same place.
asmjit::Operand sized(const asmjit::Operand& operand, bool is_narrow) {
  if (operand.isReg()) return sized(operand.as<x86::Gp>(), is_narrow);
  auto memory = operand.as<x86::Mem>();
  memory.setSize(is_narrow ? 4 : 8);
  return memory;
}

bool same(const asmjit::Operand& operand, const x86::Gp& reg) {
  return operand.isReg() && operand.as<x86::Gp>().id() == reg.id();
}

constexpr bool commutes(Op op) { return op != Op::sub; }

x86::Inst::Id instruction_of(Op op) {
  switch (op) {
    case Op::add:
      return x86::Inst::kIdAdd;
    case Op::sub:
      return x86::Inst::kIdSub;
    case Op::and_:
      return x86::Inst::kIdAnd;
    case Op::or_:
      return x86::Inst::kIdOr;
    case Op::xor_:
      return x86::Inst::kIdXor;
    default:
      return x86::Inst::kIdImul;
  }
}

}  // namespace

void Generator::emit_binary(Value index) {
  const auto& i = definition(index);
  const bool is_narrow = narrow(i);
  const auto id = instruction_of(i.op);
  if (i.op == Op::andn) {
    const auto a = gp(i.a), b = gp(i.b);
    use_arguments(i);
    const auto to = destination(index);
    a_.andn(to, b, a);
    return;
  }
  const auto a = gp(i.a);
  std::int32_t imm;
  if (small(i.b, imm) && i.op != Op::mul) {
    use_arguments(i);
    const auto to = destination(index);
    const bool adds = i.op == Op::add || (i.op == Op::sub && imm != INT32_MIN);
    if (adds && to != a) {
      a_.lea(sized(to, is_narrow), x86::ptr(a, i.op == Op::add ? imm : -imm));
      return;
    }
    if (to != a) a_.mov(sized(to, is_narrow), sized(a, is_narrow));
    a_.emit(id, sized(to, is_narrow), asmjit::Imm(imm));
    return;
  }
  const auto b = gp_or_memory(i.b);
  use_arguments(i);
  const auto to = destination(index);
  if (to == a) {
    a_.emit(id, sized(to, is_narrow), sized(b, is_narrow));
  } else if (same(b, to) && commutes(i.op)) {
    a_.emit(id, sized(to, is_narrow), sized(a, is_narrow));
  } else if (same(b, to)) {
    a_.neg(sized(to, is_narrow));
    a_.add(sized(to, is_narrow), sized(a, is_narrow));
  } else if (i.op == Op::add && b.isReg()) {
    a_.lea(sized(to, is_narrow), x86::ptr(a, b.as<x86::Gp>()));
  } else {
    a_.mov(sized(to, is_narrow), sized(a, is_narrow));
    a_.emit(id, sized(to, is_narrow), sized(b, is_narrow));
  }
}

void Generator::emit_shift(Value index) {
  const auto& i = definition(index);
  const bool is_narrow = narrow(i);
  const auto a = gp(i.a);
  if (places_[i.b].constant) {
    const auto amount = unsigned(definition(i.b).imm) % (is_narrow ? 32 : 64);
    use_arguments(i);
    const auto to = sized(destination(index), is_narrow), from = sized(a, is_narrow);
    if (i.op == Op::rol || i.op == Op::ror) {
      const unsigned width = is_narrow ? 32 : 64;
      a_.rorx(to, from, i.op == Op::ror ? amount : (width - amount) % width);
      return;
    }
    if (to.id() != from.id()) a_.mov(to, from);
    if (i.op == Op::shl)
      a_.shl(to, amount);
    else if (i.op == Op::shr)
      a_.shr(to, amount);
    else
      a_.sar(to, amount);
    return;
  }
  const auto b = gp(i.b);
  use_arguments(i);
  const auto from = sized(a, is_narrow), count = sized(b, is_narrow);
  if (i.op == Op::rol || i.op == Op::ror) {
    // Two shifts by amounts that add up to the width.
    const auto places_low = take_scratch();
    const auto low = sized(scratch[places_low], is_narrow), high = sized(scratch[take_scratch()], is_narrow);
    a_.mov(high, count);
    a_.neg(high);
    if (i.op == Op::ror) {
      a_.shlx(high, from, high);
      a_.shrx(low, from, count);
    } else {
      a_.shrx(high, from, high);
      a_.shlx(low, from, count);
    }
    a_.or_(low, high);
    locked_ = 1U << places_low;
    a_.mov(sized(destination(index), is_narrow), low);
    return;
  }
  const auto to = sized(destination(index), is_narrow);
  if (i.op == Op::shl)
    a_.shlx(to, from, count);
  else if (i.op == Op::shr)
    a_.shrx(to, from, count);
  else
    a_.sarx(to, from, count);
}

// The host's wide multiplication and division work in rax and rdx; rdx holds a guest register, kept in memory
// meanwhile.
void Generator::emit_multiply_high(Value index) {
  const auto& i = definition(index);
  const auto kept = DOPPEL_FIELD(layout_, scratch, 8);
  const auto low = claim(0);
  const auto other = scratch[take_scratch()];
  load_into(low, i.a);
  load_into(other, i.b);
  x86::Gp correction = low;
  if (i.op == Op::mulhsu) {
    correction = scratch[take_scratch()];
    a_.mov(correction, low);
    a_.sar(correction, 63);
    a_.and_(correction, other);
  }
  use_arguments(i);
  a_.mov(kept, x86::rdx);
  if (i.op == Op::mulhs)
    a_.imul(other);
  else
    a_.mul(other);
  a_.mov(low, x86::rdx);
  a_.mov(x86::rdx, kept);
  if (i.op == Op::mulhsu) a_.sub(low, correction);
  in_scratch_[0] = index;
  places_[index].scratch = 0;
}

void Generator::emit_host_counter(Value index) {
  const auto low = claim(0);  // rax
  const auto kept = scratch[take_scratch()];
  a_.mov(kept, x86::rdx);
  a_.lfence();
  a_.rdtsc();
  a_.shl(x86::rdx, 32);
  a_.or_(low, x86::rdx);
  a_.mov(x86::rdx, kept);
  in_scratch_[0] = index;
  places_[index].scratch = 0;
}

void Generator::emit_carryless(Value index) {
  const auto& i = definition(index);
  const auto a = gp(i.a), b = gp(i.b);
  use_arguments(i);
  const auto product = x86::xmm(take_vector()), other = x86::xmm(take_vector());
  a_.vmovq(product, a);
  a_.vmovq(other, b);
  a_.vpclmulqdq(product, product, other, 0);
  const auto to = destination(index);
  i.op == Op::clmul ? a_.vmovq(to, product) : a_.vpextrq(to, product, 1);
}

void Generator::emit_divide(Value index) {
  const auto& i = definition(index);
  const bool is_narrow = narrow(i), is_signed = i.op == Op::divs || i.op == Op::rems;
  const bool quotient = i.op == Op::divs || i.op == Op::divu;
  const auto kept = DOPPEL_FIELD(layout_, scratch, 8);
  const auto dividend = claim(0);
  const auto divisor_place = scratch[take_scratch()];
  load_into(dividend, i.a);
  load_into(divisor_place, i.b);
  use_arguments(i);
  const auto rax = sized(dividend, is_narrow), rdx = sized(x86::rdx, is_narrow),
             divisor = sized(divisor_place, is_narrow);
  const auto by_zero = a_.newLabel(), by_minus_one = a_.newLabel(), done = a_.newLabel();
  a_.test(divisor, divisor);
  a_.jz(by_zero);
  if (is_signed) {
    a_.cmp(divisor, -1);
    a_.je(by_minus_one);
  }
  a_.mov(kept, x86::rdx);
  if (is_signed)
    is_narrow ? a_.cdq() : a_.cqo();
  else
    a_.xor_(x86::edx, x86::edx);
  if (is_signed)
    a_.idiv(divisor);
  else
    a_.div(divisor);
  if (!quotient) a_.mov(rax, rdx);
  a_.mov(x86::rdx, kept);
  a_.jmp(done);
  a_.bind(by_zero);
  if (quotient) a_.mov(dividend, -1);
  if (!is_signed) {
    a_.bind(done);
  } else {
    a_.jmp(done);
    a_.bind(by_minus_one);
    if (quotient)
      a_.neg(rax);
    else
      a_.xor_(x86::eax, x86::eax);
    a_.bind(done);
  }
  in_scratch_[0] = index;
  places_[index].scratch = 0;
}

void Generator::emit_unary(Value index) {
  const auto& i = definition(index);
  const bool is_narrow = narrow(i);
  if (i.op == Op::sext || i.op == Op::zext) {
    auto from = gp_or_memory(i.a);
    use_arguments(i);
    const auto to = destination(index);
    const auto size = ir::bytes(i.type);
    if (size == 8) {
      a_.emit(x86::Inst::kIdMov, to, from);
      return;
    }
    if (from.isMem())
      from.as<x86::Mem>().setSize(size);
    else if (size == 4)
      from = from.as<x86::Gp>().r32();
    else if (size == 2)
      from = from.as<x86::Gp>().r16();
    else
      from = from.as<x86::Gp>().r8();
    if (i.op == Op::sext)
      a_.emit(size == 4 ? x86::Inst::kIdMovsxd : x86::Inst::kIdMovsx, to, from);
    else
      a_.emit(size == 4 ? x86::Inst::kIdMov : x86::Inst::kIdMovzx, to.r32(), from);
    return;
  }
  const auto a = gp(i.a);
  use_arguments(i);
  const auto to = sized(destination(index), is_narrow), from = sized(a, is_narrow);
  switch (i.op) {
    case Op::clz:
      a_.lzcnt(to, from);
      break;
    case Op::ctz:
      a_.tzcnt(to, from);
      break;
    case Op::popcount:
      a_.popcnt(to, from);
      break;
    default:
      if (to.id() != from.id()) a_.mov(to, from);
      a_.bswap(to);
  }
}

/// Compares the two arguments, uses them up, and says under which host condition the IR's one holds.
x86::CondCode Generator::emit_comparison(const Instruction& i) {
  const auto a = gp(i.a);
  std::int32_t imm;
  if (small(i.b, imm)) {
    if (imm == 0 && (i.condition == Condition::eq || i.condition == Condition::ne || i.condition == Condition::lt ||
                     i.condition == Condition::ge))
      a_.test(a, a);
    else
      a_.cmp(a, imm);
  } else {
    a_.emit(x86::Inst::kIdCmp, a, gp_or_memory(i.b));
  }
  use_arguments(i);
  switch (i.condition) {
    case Condition::eq:
      return x86::CondCode::kE;
    case Condition::ne:
      return x86::CondCode::kNE;
    case Condition::lt:
      return x86::CondCode::kL;
    case Condition::ge:
      return x86::CondCode::kGE;
    case Condition::ltu:
      return x86::CondCode::kB;
    default:
      return x86::CondCode::kAE;
  }
}

void Generator::emit_compare(Value index) {
  const auto code = emit_comparison(definition(index));
  const auto to = destination(index);  // moves at most, which leaves the flags alone
  a_.set(code, to.r8());
  a_.movzx(to.r32(), to.r8());
}

void Generator::emit_select(Value index) {
  const auto& i = definition(index);
  const auto condition = gp(i.a), first = gp(i.b), second = gp(i.c);
  use_arguments(i);
  const auto to = destination(index);
  a_.test(condition, condition);
  if (to == first) {
    a_.cmovz(to, second);
  } else {
    if (to != second) a_.mov(to, second);
    a_.cmovnz(to, first);
  }
}

void Generator::emit_set(const Instruction& i) {
  auto& place = places_[i.a];
  const auto reg = i.reg;
  if (held_[reg] == i.a) return use(i.a);  // computed in place, or there already
  save_holder(reg);
  if (in_memory(reg)) {
    std::int32_t imm;
    if (small(i.a, imm))
      a_.mov(home(reg), imm);
    else
      a_.mov(home(reg), gp(i.a));
  } else {
    load_into(pin(reg), i.a);
  }
  held_[reg] = i.a;
  if (place.home == nowhere || in_memory(unsigned(place.home))) place.home = std::int8_t(reg);
  use(i.a);
}

}  // namespace doppel::fast
