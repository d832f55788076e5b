// Integer arithmetic.
#include <utility>

#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::Condition;
using ir::no_value;
using ir::Op;
using ir::Type;

namespace {

bool narrow(const ir::Instruction& i) { return i.type == Type::i32; }
x86::Gp sized(const x86::Gp& reg, bool is_narrow) { return is_narrow ? reg.r32() : x86::Gp(reg); }
asmjit::Operand sized(const asmjit::Operand& operand, bool is_narrow) {
  if (operand.isReg()) return sized(operand.as<x86::Gp>(), is_narrow);
  auto memory = operand.as<x86::Mem>();
  memory.setSize(is_narrow ? 4 : 8);
  return memory;
}

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

x86::CondCode code_of(Condition condition) {
  constexpr x86::CondCode codes[] = {x86::CondCode::kE,  x86::CondCode::kNE, x86::CondCode::kL,
                                     x86::CondCode::kGE, x86::CondCode::kB,  x86::CondCode::kAE};
  return codes[unsigned(condition)];
}

}  // namespace

void Generator::emit_binary(Value n) {
  const auto& i = definition(n);
  const bool is_narrow = narrow(i);
  std::int32_t imm;
  if (i.op == Op::andn) {
    const auto left = use(a(n)), right = use(b(n));
    consume(n);
    a_.andn(sized(define(n), is_narrow), sized(right, is_narrow), sized(left, is_narrow));
    return;
  }
  const auto left = use(a(n));
  if (small(b(n), imm)) {
    consume(n);
    const auto to = define(n, a(n));
    if (i.op == Op::mul) {
      a_.imul(sized(to, is_narrow), sized(left, is_narrow), asmjit::Imm(imm));
    } else if (to != left && (i.op == Op::add || (i.op == Op::sub && imm != INT32_MIN))) {
      a_.lea(sized(to, is_narrow), x86::ptr(left, i.op == Op::add ? imm : -imm));
    } else {
      if (to != left) a_.mov(sized(to, is_narrow), sized(left, is_narrow));
      a_.emit(instruction_of(i.op), sized(to, is_narrow), asmjit::Imm(imm));
    }
    return;
  }
  const auto right = use_anywhere(b(n));
  consume(n);
  const auto to = define(n, a(n) == b(n) ? no_value : a(n));
  if (to != left && i.op == Op::add && right.isReg()) {
    a_.lea(sized(to, is_narrow), x86::ptr(left, right.as<x86::Gp>()));
    return;
  }
  if (to != left) a_.mov(sized(to, is_narrow), sized(left, is_narrow));
  a_.emit(instruction_of(i.op), sized(to, is_narrow), sized(right, is_narrow));
}

void Generator::emit_shift(Value n) {
  const auto& i = definition(n);
  const bool is_narrow = narrow(i);
  const auto from = sized(use(a(n)), is_narrow);
  if (is_constant(b(n))) {
    const auto amount = unsigned(definition(b(n)).imm) % (is_narrow ? 32 : 64);
    consume(n);
    const auto to = sized(define(n, a(n)), is_narrow);
    if (i.op == Op::shl && amount <= 3 && amount > 0 && to.id() != from.id()) {
      a_.lea(to, x86::ptr(0, from.r64(), amount));
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
  const auto count = sized(use(b(n)), is_narrow);
  consume(n);
  const auto to = sized(define(n, a(n) == b(n) ? no_value : a(n)), is_narrow);
  if (i.op == Op::shl)
    a_.shlx(to, from, count);
  else if (i.op == Op::shr)
    a_.shrx(to, from, count);
  else
    a_.sarx(to, from, count);
}

void Generator::emit_rotation(Value n) {
  const auto& i = definition(n);
  const bool is_narrow = narrow(i), right = i.op == Op::ror;
  const unsigned width = is_narrow ? 32 : 64;
  const auto from = sized(use(a(n)), is_narrow);
  if (is_constant(b(n))) {
    const auto amount = unsigned(definition(b(n)).imm) % width;
    consume(n);
    a_.rorx(sized(define(n, a(n)), is_narrow), from, right ? amount : (width - amount) % width);
    return;
  }
  // Two shifts by amounts that add up to the width.
  const auto count = sized(use(b(n)), is_narrow);
  consume(n);
  const auto to = sized(define(n), is_narrow), other = sized(passing, is_narrow);
  a_.mov(other, count);
  a_.neg(other);
  if (right) {
    a_.shlx(other, from, other);
    a_.shrx(to, from, count);
  } else {
    a_.shrx(other, from, other);
    a_.shlx(to, from, count);
  }
  a_.or_(to, other);
}

void Generator::emit_multiply_high(Value n) {
  const auto& i = definition(n);
  claim_rdx();
  const auto left = use(a(n)), right = use(b(n));
  a_.mov(passing, left);
  if (i.op == Op::mulhs)
    a_.imul(right);
  else
    a_.mul(right);
  if (i.op == Op::mulhsu) {
    a_.mov(passing, left);
    a_.sar(passing, 63);
    a_.and_(passing, right);
    a_.sub(x86::rdx, passing);
  }
  consume(n);
  define_in(n, rdx_place);
}

void Generator::emit_multiply_carryless(Value n) {
  const auto& i = definition(n);
  const auto left = use(a(n)), right = use(b(n));
  const auto product = x86::xmm(take_vector());
  a_.vmovq(product, left);
  a_.vmovq(passing_vector, right);
  a_.vpclmulqdq(product, product, passing_vector, 0);
  consume(n);
  const auto to = define(n);
  i.op == Op::clmul ? a_.vmovq(to, product) : a_.vpextrq(to, product, 1);
}

void Generator::emit_divide(Value n) {
  const auto& i = definition(n);
  const bool is_narrow = narrow(i), is_signed = i.op == Op::divs || i.op == Op::rems;
  const bool quotient = i.op == Op::divs || i.op == Op::divu;
  claim_rdx();
  const auto left = use(a(n)), divisor = sized(use(b(n)), is_narrow);
  const auto rax = sized(passing, is_narrow), rdx = sized(x86::rdx, is_narrow);
  const auto by_zero = a_.newLabel(), by_minus_one = a_.newLabel(), done = a_.newLabel();
  a_.mov(rax, sized(left, is_narrow));
  a_.test(divisor, divisor);
  a_.jz(by_zero);
  if (is_signed) {
    a_.cmp(divisor, -1);
    a_.je(by_minus_one);
    is_narrow ? a_.cdq() : a_.cqo();
    a_.idiv(divisor);
  } else {
    a_.xor_(x86::edx, x86::edx);
    a_.div(divisor);
  }
  if (quotient) a_.mov(rdx, rax);
  a_.jmp(done);
  a_.bind(by_zero);
  if (quotient)
    a_.mov(x86::rdx, -1);
  else
    a_.mov(rdx, rax);
  a_.jmp(done);
  if (is_signed) {
    a_.bind(by_minus_one);
    if (quotient) {
      a_.neg(rax);
      a_.mov(rdx, rax);
    } else {
      a_.xor_(x86::edx, x86::edx);
    }
  }
  a_.bind(done);
  consume(n);
  define_in(n, rdx_place);
}

void Generator::emit_unary(Value n) {
  const auto& i = definition(n);
  const bool is_narrow = narrow(i);
  if (i.op == Op::sext || i.op == Op::zext) {
    const auto size = ir::bytes(i.type);
    auto from = use_anywhere(a(n));
    consume(n);
    const auto to = define(n, a(n));
    if (size == 8) {
      a_.emit(x86::Inst::kIdMov, to, from);
      return;
    }
    if (from.isMem())
      from.as<x86::Mem>().setSize(size);
    else
      from = size == 4   ? asmjit::Operand(from.as<x86::Gp>().r32())
             : size == 2 ? asmjit::Operand(from.as<x86::Gp>().r16())
                         : asmjit::Operand(from.as<x86::Gp>().r8());
    if (i.op == Op::sext)
      a_.emit(size == 4 ? x86::Inst::kIdMovsxd : x86::Inst::kIdMovsx, to, from);
    else
      a_.emit(size == 4 ? x86::Inst::kIdMov : x86::Inst::kIdMovzx, to.r32(), from);
    return;
  }
  const auto from = sized(use(a(n)), is_narrow);
  consume(n);
  const auto to = sized(define(n, a(n)), is_narrow);
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

/// Compares two values and says under which host condition the IR's one holds.
x86::CondCode Generator::emit_comparison(const Instruction& i, Value left, Value right) {
  const bool is_narrow = narrow(i);
  std::int32_t imm;
  const auto x = sized(use(left), is_narrow);
  if (!small(right, imm))
    a_.emit(x86::Inst::kIdCmp, x, sized(use_anywhere(right), is_narrow));
  else if (imm == 0 && i.condition <= Condition::ge)
    a_.test(x, x);
  else
    a_.cmp(x, imm);
  return code_of(i.condition);
}
static_assert(Condition::ge < Condition::ltu && Condition::lt < Condition::ltu && Condition::ne < Condition::ltu);

void Generator::emit_compare(Value n) {
  const auto code = emit_comparison(definition(n), a(n), b(n));
  consume(n);
  const auto to = define(n);  // stores at most, which leaves the flags alone
  a_.set(code, x86::al);
  a_.movzx(to.r32(), x86::al);
}

void Generator::emit_select(Value n) {
  const auto& i = definition(n);
  const bool joined = d(n) != no_value;
  const auto taken = joined ? c(n) : b(n), otherwise = joined ? d(n) : c(n);
  const auto first = use(taken), second = use(otherwise);
  x86::CondCode code = x86::CondCode::kNE;
  if (joined)
    code = emit_comparison(definition(i.a), a(n), b(n));
  else
    a_.test(use(a(n)), use(a(n)));
  consume(n);
  const auto to =
      define(n, otherwise == taken || otherwise == a(n) || (joined && otherwise == b(n)) ? no_value : otherwise);
  if (to != second) a_.mov(to, second);
  a_.cmov(code, to, first);
}

bool Generator::emit_integer(Value n) {
  switch (definition(n).op) {
    case Op::add:
    case Op::sub:
    case Op::and_:
    case Op::or_:
    case Op::xor_:
    case Op::andn:
    case Op::mul:
      emit_binary(n);
      return true;
    case Op::shl:
    case Op::shr:
    case Op::sar:
      emit_shift(n);
      return true;
    case Op::rol:
    case Op::ror:
      emit_rotation(n);
      return true;
    case Op::mulhs:
    case Op::mulhu:
    case Op::mulhsu:
      emit_multiply_high(n);
      return true;
    case Op::clmul:
    case Op::clmulh:
      emit_multiply_carryless(n);
      return true;
    case Op::divs:
    case Op::divu:
    case Op::rems:
    case Op::remu:
      emit_divide(n);
      return true;
    case Op::clz:
    case Op::ctz:
    case Op::popcount:
    case Op::bswap:
    case Op::sext:
    case Op::zext:
      emit_unary(n);
      return true;
    case Op::compare:
      emit_compare(n);
      return true;
    case Op::select:
      emit_select(n);
      return true;
    default:
      return false;
  }
}

}  // namespace doppel::optimizing
