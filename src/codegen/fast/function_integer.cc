// FunctionGenerator: integers.
#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::FunctionOp;
using ir::IntegerCompare;
using ir::no_value;
using ir::Type;
namespace Inst = x86::Inst;

void FunctionGenerator::binary(Value v, const Instruction& i, InstId id, bool commutes) {
  auto a = i.a, b = i.b;
  if (commutes && fits_immediate(a)) std::swap(a, b);
  const auto right = operand(b);
  if (id == Inst::kIdImul && right.isImm()) {
    const auto from = fetch(a);
    used(a), used(b);
    const auto to = result(i.type);
    a_.imul(gp(to, i.type), gp(from, i.type), right.as<asmjit::Imm>());
    return define(v, to);
  }
  const auto to = writable(a);
  a_.emit(id, gp(to, i.type), right);
  used(b);
  define(v, to);
}

/// By a constant in place, else with BMI2; rotations by what is in cl.
void FunctionGenerator::shift(Value v, const Instruction& i) {
  const bool rotates = i.op == FunctionOp::rol || i.op == FunctionOp::ror;
  const auto plain = i.op == FunctionOp::shl   ? Inst::kIdShl
                     : i.op == FunctionOp::shr ? Inst::kIdShr
                     : i.op == FunctionOp::sar ? Inst::kIdSar
                     : i.op == FunctionOp::rol ? Inst::kIdRol
                                               : Inst::kIdRor;
  if (is_constant(i.b)) {
    const auto to = writable(i.a);
    a_.emit(plain, gp(to, i.type), asmjit::Imm(function_->code[i.b].imm & (wide(i.type) ? 63 : 31)));
    used(i.b);
    return define(v, to);
  }
  if (rotates) {
    const auto to = writable(i.a);
    load_into(1, i.b);
    used(i.b);
    a_.emit(plain, gp(to, i.type), x86::cl);
    return define(v, to);
  }
  const auto by = fetch(i.b);
  const auto from = fetch(i.a);
  used(i.a), used(i.b);
  const auto to = result(i.type);
  const auto id = i.op == FunctionOp::shl ? Inst::kIdShlx : i.op == FunctionOp::shr ? Inst::kIdShrx : Inst::kIdSarx;
  a_.emit(id, gp(to, i.type), gp(from, i.type), gp(by, i.type));
  define(v, to);
}

/// In rax and rdx; the divisor in rcx where it is in no register. The remainder of the smallest integer by -1 is 0 and
/// its quotient out of range, where the host's instruction would fault.
void FunctionGenerator::divide(Value v, const Instruction& i) {
  const bool is_signed = i.op == FunctionOp::div_s || i.op == FunctionOp::rem_s;
  const bool remainder = i.op == FunctionOp::rem_s || i.op == FunctionOp::rem_u;
  load_into(0, i.a);
  load_into(1, i.b);
  used(i.a), used(i.b);
  const auto dividend = gp(0, i.type), divisor = gp(1, i.type), high = gp(2, i.type);
  a_.test(divisor, divisor);
  a_.jz(trap_label(shape_.traps.divide_by_zero));
  const auto done = a_.newLabel(), usual = a_.newLabel();
  if (is_signed) {
    a_.cmp(divisor, -1);
    a_.jne(usual);
    if (remainder) {
      a_.xor_(x86::edx, x86::edx);
      a_.jmp(done);
    } else {
      a_.neg(dividend);
      a_.jo(trap_label(shape_.traps.integer_overflow));
      a_.jmp(done);
    }
    a_.bind(usual);
    wide(i.type) ? a_.cqo() : a_.cdq();
    a_.idiv(divisor);
  } else {
    a_.xor_(x86::edx, x86::edx);
    a_.div(divisor);
  }
  a_.bind(done);
  const auto to = result(i.type);
  a_.mov(gp(to, i.type), remainder ? high : dividend);
  define(v, to);
}

void FunctionGenerator::count_bits(Value v, const Instruction& i, InstId id) {
  const auto from = fetch(i.a);
  used(i.a);
  const auto to = result(i.type);
  a_.emit(id, gp(to, i.type), gp(from, i.type));
  define(v, to);
}

void FunctionGenerator::extend(Value v, const Instruction& i) {
  const auto from = fetch(i.a);
  used(i.a);
  const auto to = result(i.type);
  if (i.flag == 32)
    a_.movsxd(x86::gpq(to), x86::gpd(from));
  else if (i.flag == 16)
    a_.movsx(gp(to, i.type), x86::gpw(from));
  else
    a_.movsx(gp(to, i.type), x86::gpb_lo(from));
  define(v, to);
}

/// Registers with an i32 have zeros above it.
void FunctionGenerator::convert_width(Value v, const Instruction& i) {
  const auto to = writable(i.a);
  a_.mov(x86::gpd(to), x86::gpd(to));
  define(v, to);
}

/// The result is all that the next instruction looks at, and nothing else does.
bool FunctionGenerator::fuses(Value v) const {
  const auto next = v + 1;
  if (places_[v].uses != 1 || next >= function_->code.size()) return false;
  const auto& i = function_->code[next];
  if (i.op == FunctionOp::is_zero) return i.a == v && i.type == Type::i32;
  return (i.op == FunctionOp::jump_if || i.op == FunctionOp::select) && i.a == v;
}

x86::CondCode FunctionGenerator::compare_flags(const Instruction& i) {
  if (i.op == FunctionOp::is_zero) {
    const auto reg = fetch(i.a);
    a_.test(gp(reg, i.type), gp(reg, i.type));
    used(i.a);
    return x86::CondCode::kZero;
  }
  using enum x86::CondCode;
  constexpr x86::CondCode codes[] = {kEqual,      kNotEqual, kSignedLT,   kUnsignedLT, kSignedGT,
                                     kUnsignedGT, kSignedLE, kUnsignedLE, kSignedGE,   kUnsignedGE};
  const auto left = fetch(i.a);
  const auto right = operand(i.b);
  if (right.isImm() && right.as<asmjit::Imm>().value() == 0)
    a_.test(gp(left, i.type), gp(left, i.type));
  else
    a_.emit(Inst::kIdCmp, gp(left, i.type), right);
  used(i.a), used(i.b);
  return codes[i.flag];
}

void FunctionGenerator::compare(Value v, const Instruction& i) {
  const bool inverts = i.op == FunctionOp::is_zero && flags_of_ == i.a && flags_of_ != no_value;
  auto holds = x86::CondCode::kEqual;
  if (inverts) {
    holds = x86::negateCond(flags_);
    used(i.a);
    flags_of_ = no_value;
  } else {
    holds = compare_flags(i);
  }
  give_condition(v, holds);
}

/// The flags as a value: left where they are for the next instruction if that is what uses it.
void FunctionGenerator::give_condition(Value v, x86::CondCode holds) {
  if (fuses(v)) {
    flags_of_ = v, flags_ = holds;
    return;
  }
  const auto to = result(Type::i32);
  a_.set(holds, x86::al);
  a_.movzx(x86::gpd(to), x86::al);
  define(v, to);
}

void FunctionGenerator::select(Value v, const Instruction& i) {
  auto holds = x86::CondCode::kNotZero;
  const bool flags = flags_of_ == i.a;
  if (flags) {
    holds = flags_;
    used(i.a);
    flags_of_ = no_value;
  } else {
    load_into(0, i.a);
    used(i.a);
  }
  const auto other = fetch(i.c);
  const auto to = writable(i.b);
  if (!flags) a_.test(x86::eax, x86::eax);
  if (ir::is_general(i.type)) {
    a_.cmov(x86::negateCond(holds), gp(to, i.type), gp(other, i.type));
  } else {
    const auto first = a_.newLabel();
    a_.j(holds, first);
    a_.vmovaps(x86::xmm(to), x86::xmm(other));
    a_.bind(first);
  }
  used(i.c);
  define(v, to);
}

void FunctionGenerator::function_reference(Value v, const Instruction& i) {
  const auto to = result(Type::ref);
  a_.mov(x86::rax, context(DOPPEL_CONTEXT(functions)));
  a_.mov(x86::gpd(to), x86::dword_ptr(x86::rax, std::int32_t(i.imm * 4)));
  a_.add(x86::gpq(to), 1);  // Reference::function
  a_.shl(x86::gpq(to), 2);
  define(v, to);
}

}  // namespace doppel::fast
