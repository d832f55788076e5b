// Floating point on SSE and FMA: exceptions gather in MXCSR, whose rounding mode is the guest's; results that are no
// number are the canonical NaN (Unprivileged ISA 21.3).
#include "codegen/fast/generator.h"

namespace doppel::fast {

using ir::Condition;
using ir::Op;
using ir::Type;

namespace {

bool is_double(Type type) { return type == Type::f64; }

}  // namespace

/// A box that only the next instruction sets needs no register: the set writes both halves.
bool Generator::deferred_box(Value index) const {
  const auto next = index + 1;
  if (next >= code_->size() || places_[index].uses != 1) return false;
  const auto& set = (*code_)[next];
  return set.op == Op::setf && set.a == index && !dead_[next];
}

void Generator::emit_setf(const Instruction& i) {
  const auto& from = definition(i.a);
  const bool halves = from.op == Op::box && places_[i.a].vector == nowhere;
  const auto value = xmm(halves ? from.a : i.a);
  save_holder(i.reg);
  if (halves) {
    a_.vmovss(home(i.reg, 4), value);
    a_.mov(x86::ptr(state, layout_.offset[i.reg] + 4, 4), -1);
    use(from.a);
  } else {
    a_.vmovsd(home(i.reg), value);
  }
  held_[i.reg] = i.a;
  if (places_[i.a].home == nowhere) places_[i.a].home = std::int8_t(i.reg);
  use(i.a);
}

void Generator::emit_unbox(Value index) {
  const auto& i = definition(index);
  const auto from = xmm(i.a);
  use_arguments(i);
  const auto to = new_vector(index);
  const auto upper = scratch[take_scratch()];
  auto& side = add_side(Side::Kind::canonical, i);
  side.vector = std::int8_t(to.id());
  a_.vmovq(upper, from);
  a_.sar(upper, 32);
  a_.vmovaps(to, from);
  a_.cmp(upper.r32(), -1);
  a_.jne(side.label);
  a_.bind(side.resume);
}

void Generator::canonicalize(const x86::Xmm& value, Type type) {
  auto& side = add_side(Side::Kind::canonical, definition(current_));
  side.vector = std::int8_t(value.id());
  is_double(type) ? a_.vucomisd(value, value) : a_.vucomiss(value, value);
  a_.jp(side.label);
  a_.bind(side.resume);
}

void Generator::emit_float_binary(Value index) {
  const auto& i = definition(index);
  const bool d = is_double(i.type);
  const auto a = xmm(i.a), b = xmm(i.b);
  use_arguments(i);
  const auto to = new_vector(index);
  switch (i.op) {
    case Op::fadd:
      d ? a_.vaddsd(to, a, b) : a_.vaddss(to, a, b);
      break;
    case Op::fsub:
      d ? a_.vsubsd(to, a, b) : a_.vsubss(to, a, b);
      break;
    case Op::fmul:
      d ? a_.vmulsd(to, a, b) : a_.vmulss(to, a, b);
      break;
    default:
      d ? a_.vdivsd(to, a, b) : a_.vdivss(to, a, b);
  }
  canonicalize(to, i.type);
}

void Generator::emit_fma(Value index) {
  const auto& i = definition(index);
  const bool d = is_double(i.type);
  const auto a = xmm(i.a), b = xmm(i.b), c = xmm(i.c);
  use_arguments(i);
  const auto to = new_vector(index);
  a_.vmovaps(to, a);
  switch (i.flag) {
    case 0:
      d ? a_.vfmadd213sd(to, b, c) : a_.vfmadd213ss(to, b, c);
      break;
    case 1:
      d ? a_.vfnmadd213sd(to, b, c) : a_.vfnmadd213ss(to, b, c);
      break;
    case 2:
      d ? a_.vfmsub213sd(to, b, c) : a_.vfmsub213ss(to, b, c);
      break;
    default:
      d ? a_.vfnmsub213sd(to, b, c) : a_.vfnmsub213ss(to, b, c);
  }
  // Which operations on infinities and NaNs are invalid differs in places: those are the interpreter's.
  auto& side = add_side(Side::Kind::interpret, i);
  side.vector = std::int8_t(to.id());
  d ? a_.vucomisd(to, to) : a_.vucomiss(to, to);
  a_.jp(side.label);
  a_.bind(side.resume);
}

void Generator::emit_sign_injection(Value index) {
  const auto& i = definition(index);
  const auto a = xmm(i.a), b = xmm(i.b);
  use_arguments(i);
  const auto to = new_vector(index);
  const auto mask = x86::xmm(take_vector()), sign = x86::xmm(take_vector());
  if (is_double(i.type))
    a_.vmovsd(mask, DOPPEL_FIELD(layout_, sign64, 8));
  else
    a_.vmovss(mask, DOPPEL_FIELD(layout_, sign32, 4));
  if (i.op == Op::fsgnjn)
    a_.vandnps(sign, b, mask);
  else
    a_.vandps(sign, b, mask);
  if (i.op == Op::fsgnjx) {
    a_.vxorps(to, a, sign);
  } else {
    a_.vandnps(mask, mask, a);
    a_.vorps(to, mask, sign);
  }
}

/// The predicates of CMPSD: equal is quiet, less and less or equal signal NaNs, as FEQ, FLT and FLE do; the last two do
/// not.
void Generator::emit_float_compare(Value index) {
  const auto& i = definition(index);
  const auto a = xmm(i.a), b = xmm(i.b);
  use_arguments(i);
  const auto result = x86::xmm(take_vector());
  constexpr unsigned predicates[] = {0, 4, 1, 2, 17, 18};  // by Condition
  const auto predicate = predicates[unsigned(i.condition)];
  is_double(i.type) ? a_.vcmpsd(result, a, b, predicate) : a_.vcmpss(result, a, b, predicate);
  const auto to = destination(index);
  a_.vmovd(to.r32(), result);
  a_.and_(to.r32(), 1);
}

/// MINSD gives the second of two zeros or where there is a NaN, and signals quiet ones too: so it is asked both ways
/// round, and what is no number is the interpreter's.
void Generator::emit_least_or_greatest(Value index) {
  const auto& i = definition(index);
  const bool d = is_double(i.type);
  const auto a = xmm(i.a), b = xmm(i.b);
  use_arguments(i);
  const auto to = new_vector(index);
  const auto other = x86::xmm(take_vector());
  auto& side = add_side(Side::Kind::interpret, i);
  side.vector = std::int8_t(to.id());
  d ? a_.vucomisd(a, b) : a_.vucomiss(a, b);
  a_.jp(side.label);
  if (i.op == Op::fmin) {
    d ? a_.vminsd(other, a, b) : a_.vminss(other, a, b);
    d ? a_.vminsd(to, b, a) : a_.vminss(to, b, a);
    a_.vorps(to, to, other);
  } else {
    d ? a_.vmaxsd(other, a, b) : a_.vmaxss(other, a, b);
    d ? a_.vmaxsd(to, b, a) : a_.vmaxss(to, b, a);
    a_.vandps(to, to, other);
  }
  a_.bind(side.resume);
}

/// To an integer that is still a floating-point number; never inexact.
void Generator::emit_round(const x86::Xmm& to, const x86::Xmm& from, const Instruction& i, bool d) {
  constexpr unsigned modes[] = {4, 3, 0, 1, 2}, not_inexact = 8;  // by Rounding
  const auto mode = modes[i.flag] | not_inexact;
  d ? a_.vroundsd(to, from, from, mode) : a_.vroundss(to, from, from, mode);
}

void Generator::emit_to_integer(Value index) {
  const auto& i = definition(index);
  const auto rounding = ir::Rounding(i.flag);
  const bool d = Type(i.reg) == Type::f64, wide = i.type == Type::i64, truncates = rounding != ir::Rounding::dynamic;
  const bool rounds = truncates && rounding != ir::Rounding::to_zero;
  const auto a = xmm(i.a);
  use_arguments(i);
  const auto to = new_gp(index);  // not the register itself: the interpreter may yet have to see it
  const auto convert = [&](const x86::Gp& result, const x86::Xmm& from) {
    if (d)
      truncates ? a_.vcvttsd2si(result, from) : a_.vcvtsd2si(result, from);
    else
      truncates ? a_.vcvttss2si(result, from) : a_.vcvtss2si(result, from);
  };
  auto from = a;
  if (rounds) emit_round(from = x86::xmm(take_vector()), a, i, d);
  convert(wide ? x86::Gp(to) : x86::Gp(to.r32()), from);
  if (!wide) a_.movsxd(to, to.r32());
  // What does not fit gives the smallest integer: subtracting one overflows then.
  auto& side = add_side(Side::Kind::interpret, i);
  side.gp = to;
  const auto test = scratch[take_scratch()];
  if (wide) {
    a_.mov(test, to);
    a_.sub(test, 1);
  } else {
    a_.mov(test.r32(), to.r32());
    a_.sub(test.r32(), 1);
  }
  a_.jo(side.label);
  if (rounds) convert(test, a);  // is inexact where it is
  a_.bind(side.resume);
}

void Generator::emit_from_integer(Value index) {
  const auto& i = definition(index);
  const bool d = is_double(i.type), is_unsigned = ir::FromInteger(i.flag) == ir::FromInteger::u64;
  const auto a = gp(i.a);
  auto from = ir::FromInteger(i.flag) == ir::FromInteger::i32 ? x86::Gp(a.r32()) : x86::Gp(a);
  use_arguments(i);
  const auto to = new_vector(index);
  a_.vxorps(to, to, to);
  if (is_unsigned) {
    // From 2^63 on: half of it, to which what falls out below sticks, and that twice.
    from = scratch[take_scratch()];
    const auto lowest = scratch[take_scratch()];
    a_.mov(lowest, a);
    a_.and_(lowest.r32(), 1);
    a_.mov(from, a);
    a_.shr(from, 1);
    a_.or_(from, lowest);
    a_.test(a, a);
    a_.cmovns(from, a);
  }
  d ? a_.vcvtsi2sd(to, to, from) : a_.vcvtsi2ss(to, to, from);
  if (!is_unsigned) return;
  const auto done = a_.newLabel();
  a_.jns(done);
  d ? a_.vaddsd(to, to, to) : a_.vaddss(to, to, to);
  a_.bind(done);
}

void Generator::emit_float_flags(Value index) {
  const auto to = destination(index);
  const auto table = layout_.execution + std::int32_t(offsetof(ir::ExecutionState, float_flags));
  a_.vstmxcsr(DOPPEL_FIELD(layout_, value, 4));
  a_.mov(to.r32(), DOPPEL_FIELD(layout_, value, 4));
  a_.and_(to.r32(), 0x3f);
  a_.movzx(to.r32(), x86::ptr(state, to, 0, table, 1));
}

void Generator::emit_clear_float_flags() {
  const auto none = a_.newLabel();
  a_.vstmxcsr(DOPPEL_FIELD(layout_, value, 4));
  a_.test(DOPPEL_FIELD(layout_, value, 1), 0x3f);
  a_.jz(none);  // setting MXCSR is slow
  a_.and_(DOPPEL_FIELD(layout_, value, 4), ~0x3f);
  a_.vldmxcsr(DOPPEL_FIELD(layout_, value, 4));
  a_.bind(none);
}

void Generator::emit_float(Value index) {
  const auto& i = definition(index);
  const bool d = is_double(i.type);
  switch (i.op) {
    case Op::fadd:
    case Op::fsub:
    case Op::fmul:
    case Op::fdiv:
      return emit_float_binary(index);
    case Op::fma:
      return emit_fma(index);
    case Op::fsgnj:
    case Op::fsgnjn:
    case Op::fsgnjx:
      return emit_sign_injection(index);
    case Op::fcompare:
      return emit_float_compare(index);
    case Op::fmin:
    case Op::fmax:
      return emit_least_or_greatest(index);
    case Op::toint:
      return emit_to_integer(index);
    case Op::fromint:
      return emit_from_integer(index);
    case Op::float_flags:
      return emit_float_flags(index);
    case Op::clear_float_flags:
      return emit_clear_float_flags();
    case Op::unbox:
      return emit_unbox(index);
    case Op::box: {
      if (deferred_box(index)) return;
      const auto from = xmm(i.a);
      use_arguments(i);
      const auto to = new_vector(index), ones = x86::xmm(take_vector());
      a_.vpcmpeqd(ones, ones, ones);
      a_.vpsllq(ones, ones, 32);
      a_.vorps(to, from, ones);
      return;
    }
    case Op::fsqrt: {
      const auto a = xmm(i.a);
      use_arguments(i);
      const auto to = new_vector(index);
      d ? a_.vsqrtsd(to, a, a) : a_.vsqrtss(to, a, a);
      return canonicalize(to, i.type);
    }
    case Op::fcvt: {
      const auto a = xmm(i.a);
      use_arguments(i);
      const auto to = new_vector(index);
      d ? a_.vcvtss2sd(to, a, a) : a_.vcvtsd2ss(to, a, a);
      return canonicalize(to, i.type);
    }
    case Op::fround: {
      const auto a = xmm(i.a);
      use_arguments(i);
      const auto to = new_vector(index);
      emit_round(to, a, i, d);
      return canonicalize(to, i.type);
    }
    case Op::bits: {
      const auto a = xmm(i.a);
      use_arguments(i);
      a_.vmovq(destination(index), a);
      return;
    }
    default: {  // frombits
      const auto a = gp(i.a);
      use_arguments(i);
      a_.vmovq(new_vector(index), a);
      return;
    }
  }
}

}  // namespace doppel::fast
