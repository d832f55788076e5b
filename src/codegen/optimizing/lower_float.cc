// Floating point, as the fast generator does it: exceptions gather in MXCSR, results that are no number are the
// canonical NaN.
#include "codegen/optimizing/generator.h"

namespace doppel::optimizing {

using ir::Condition;
using ir::Op;
using ir::Type;

namespace {

bool is_double(Type type) { return type == Type::f64; }

}  // namespace

void Generator::canonicalize(const x86::Xmm& value, Type type) {
  fixes_.push_back({.label = a_.newLabel(), .resume = a_.newLabel(), .value = value, .type = type, .at = now_});
  is_double(type) ? a_.vucomisd(value, value) : a_.vucomiss(value, value);
  a_.jp(fixes_.back().label);
  a_.bind(fixes_.back().resume);
}

void Generator::emit_float_binary(Value n) {
  const auto& i = definition(n);
  const bool d = is_double(i.type);
  const auto x = use_vector(a(n)), y = use_vector(b(n));
  consume(n);
  const auto to = define_vector(n);
  switch (i.op) {
    case Op::fadd:
      d ? a_.vaddsd(to, x, y) : a_.vaddss(to, x, y);
      break;
    case Op::fsub:
      d ? a_.vsubsd(to, x, y) : a_.vsubss(to, x, y);
      break;
    case Op::fmul:
      d ? a_.vmulsd(to, x, y) : a_.vmulss(to, x, y);
      break;
    default:
      d ? a_.vdivsd(to, x, y) : a_.vdivss(to, x, y);
  }
  canonicalize(to, i.type);
}

void Generator::emit_fma(Value n) {
  const auto& i = definition(n);
  const bool d = is_double(i.type);
  const auto x = use_vector(a(n)), y = use_vector(b(n)), z = use_vector(c(n));
  consume(n);
  const auto to = define_vector(n);
  a_.vmovaps(to, x);
  switch (i.flag) {
    case 0:
      d ? a_.vfmadd213sd(to, y, z) : a_.vfmadd213ss(to, y, z);
      break;
    case 1:
      d ? a_.vfnmadd213sd(to, y, z) : a_.vfnmadd213ss(to, y, z);
      break;
    case 2:
      d ? a_.vfmsub213sd(to, y, z) : a_.vfmsub213ss(to, y, z);
      break;
    default:
      d ? a_.vfnmsub213sd(to, y, z) : a_.vfnmsub213ss(to, y, z);
  }
  // Which operations on infinities and NaNs are invalid differs in places: those are the interpreter's.
  d ? a_.vucomisd(to, to) : a_.vucomiss(to, to);
  a_.jp(exit_before(i));
}

void Generator::emit_sign_injection(Value n) {
  const auto& i = definition(n);
  const auto x = use_vector(a(n)), y = use_vector(b(n));
  const auto mask = x86::xmm(take_vector());
  consume(n);
  const auto to = define_vector(n), sign = passing_vector;
  if (is_double(i.type))
    a_.vmovsd(mask, DOPPEL_FIELD(layout_, sign64, 8));
  else
    a_.vmovss(mask, DOPPEL_FIELD(layout_, sign32, 4));
  if (i.op == Op::fsgnjn)
    a_.vandnps(sign, y, mask);
  else
    a_.vandps(sign, y, mask);
  if (i.op == Op::fsgnjx) {
    a_.vxorps(to, x, sign);
  } else {
    a_.vandnps(mask, mask, x);
    a_.vorps(to, mask, sign);
  }
}

/// The predicates of CMPSD: equal is quiet, less and less or equal signal NaNs, as FEQ, FLT and FLE do; the last two do
/// not.
void Generator::emit_float_compare(Value n) {
  const auto& i = definition(n);
  const auto x = use_vector(a(n)), y = use_vector(b(n));
  constexpr unsigned predicates[] = {0, 4, 1, 2, 17, 18};  // by Condition
  const auto predicate = predicates[unsigned(i.condition)];
  is_double(i.type) ? a_.vcmpsd(passing_vector, x, y, predicate) : a_.vcmpss(passing_vector, x, y, predicate);
  consume(n);
  const auto to = define(n);
  a_.vmovd(to.r32(), passing_vector);
  a_.and_(to.r32(), 1);
}

/// MINSD gives the second of two zeros or where there is a NaN: so it is asked both ways round.
void Generator::emit_least_or_greatest(Value n) {
  const auto& i = definition(n);
  const bool d = is_double(i.type);
  const auto x = use_vector(a(n)), y = use_vector(b(n));
  consume(n);
  const auto to = define_vector(n);
  d ? a_.vucomisd(x, y) : a_.vucomiss(x, y);
  a_.jp(exit_before(i));
  if (i.op == Op::fmin) {
    d ? a_.vminsd(passing_vector, x, y) : a_.vminss(passing_vector, x, y);
    d ? a_.vminsd(to, y, x) : a_.vminss(to, y, x);
    a_.vorps(to, to, passing_vector);
  } else {
    d ? a_.vmaxsd(passing_vector, x, y) : a_.vmaxss(passing_vector, x, y);
    d ? a_.vmaxsd(to, y, x) : a_.vmaxss(to, y, x);
    a_.vandps(to, to, passing_vector);
  }
}

/// To an integer that is still a floating-point number; never inexact.
void Generator::emit_round(const x86::Xmm& to, const x86::Xmm& from, const Instruction& i, bool d) {
  constexpr unsigned modes[] = {4, 3, 0, 1, 2}, not_inexact = 8;  // by Rounding
  const auto mode = modes[i.flag] | not_inexact;
  d ? a_.vroundsd(to, from, from, mode) : a_.vroundss(to, from, from, mode);
}

void Generator::emit_to_integer(Value n) {
  const auto& i = definition(n);
  const auto rounding = ir::Rounding(i.flag);
  const bool d = Type(i.reg) == Type::f64, wide = i.type == Type::i64, truncates = rounding != ir::Rounding::dynamic;
  const bool rounds = truncates && rounding != ir::Rounding::to_zero;
  const auto x = use_vector(a(n));
  consume(n);
  const auto to = define(n);
  const auto convert = [&](const x86::Gp& result, const x86::Xmm& from) {
    if (d)
      truncates ? a_.vcvttsd2si(result, from) : a_.vcvtsd2si(result, from);
    else
      truncates ? a_.vcvttss2si(result, from) : a_.vcvtss2si(result, from);
  };
  if (rounds) emit_round(passing_vector, x, i, d);
  convert(wide ? x86::Gp(to) : x86::Gp(to.r32()), rounds ? passing_vector : x);
  if (!wide) a_.movsxd(to, to.r32());
  // What does not fit gives the smallest integer: subtracting one overflows then.
  if (wide) {
    a_.mov(passing, to);
    a_.sub(passing, 1);
  } else {
    a_.mov(passing.r32(), to.r32());
    a_.sub(passing.r32(), 1);
  }
  a_.jo(exit_before(i));
  if (rounds) convert(passing, x);  // is inexact where it is
}

void Generator::emit_from_integer(Value n) {
  const auto& i = definition(n);
  const bool d = is_double(i.type), is_unsigned = ir::FromInteger(i.flag) == ir::FromInteger::u64;
  const auto x = use(a(n));
  auto from = ir::FromInteger(i.flag) == ir::FromInteger::i32 ? x86::Gp(x.r32()) : x86::Gp(x);
  x86::Gp halved;
  if (is_unsigned) halved = registers[take_gp()];
  consume(n);
  const auto to = define_vector(n);
  a_.vxorps(to, to, to);
  if (is_unsigned) {
    // From 2^63 on: half of it, to which what falls out below sticks, and that twice.
    from = halved;
    a_.mov(passing, x);
    a_.and_(passing.r32(), 1);
    a_.mov(from, x);
    a_.shr(from, 1);
    a_.or_(from, passing);
    a_.test(x, x);
    a_.cmovns(from, x);
  }
  d ? a_.vcvtsi2sd(to, to, from) : a_.vcvtsi2ss(to, to, from);
  if (!is_unsigned) return;
  const auto done = a_.newLabel();
  a_.jns(done);
  d ? a_.vaddsd(to, to, to) : a_.vaddss(to, to, to);
  a_.bind(done);
}

void Generator::emit_unbox(Value n) {
  const auto from = use_vector(a(n));
  consume(n);
  const auto to = define_vector(n);
  fixes_.push_back({.label = a_.newLabel(), .resume = a_.newLabel(), .value = to, .type = Type::f32, .at = now_});
  a_.vmovq(passing, from);
  a_.sar(passing, 32);
  a_.vmovaps(to, from);
  a_.cmp(passing.r32(), -1);
  a_.jne(fixes_.back().label);
  a_.bind(fixes_.back().resume);
}

void Generator::emit_box(Value n) {
  const auto from = use_vector(a(n));
  consume(n);
  const auto to = define_vector(n);
  a_.vpcmpeqd(passing_vector, passing_vector, passing_vector);
  a_.vpsllq(passing_vector, passing_vector, 32);
  a_.vorps(to, from, passing_vector);
}

void Generator::emit_float(Value n) {
  const auto& i = definition(n);
  const bool d = is_double(i.type);
  switch (i.op) {
    case Op::fadd:
    case Op::fsub:
    case Op::fmul:
    case Op::fdiv:
      return emit_float_binary(n);
    case Op::fma:
      return emit_fma(n);
    case Op::fsgnj:
    case Op::fsgnjn:
    case Op::fsgnjx:
      return emit_sign_injection(n);
    case Op::fcompare:
      return emit_float_compare(n);
    case Op::toint:
      return emit_to_integer(n);
    case Op::unbox:
      return emit_unbox(n);
    case Op::box:
      return emit_box(n);
    case Op::fsqrt:
    case Op::fcvt: {
      const auto x = use_vector(a(n));
      consume(n);
      const auto to = define_vector(n);
      if (i.op == Op::fsqrt)
        d ? a_.vsqrtsd(to, x, x) : a_.vsqrtss(to, x, x);
      else
        d ? a_.vcvtss2sd(to, x, x) : a_.vcvtsd2ss(to, x, x);
      return canonicalize(to, i.type);
    }
    case Op::fround: {
      const auto x = use_vector(a(n));
      consume(n);
      const auto to = define_vector(n);
      emit_round(to, x, i, d);
      return canonicalize(to, i.type);
    }
    case Op::fmin:
    case Op::fmax:
      return emit_least_or_greatest(n);
    case Op::fromint:
      return emit_from_integer(n);
    case Op::bits: {
      const auto x = use_vector(a(n));
      consume(n);
      a_.vmovq(define(n), x);
      return;
    }
    default: {  // frombits
      const auto x = use(a(n));
      consume(n);
      a_.vmovq(define_vector(n), x);
      return;
    }
  }
}

}  // namespace doppel::optimizing
