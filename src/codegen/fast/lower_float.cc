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

/// The predicates of CMPSD: equal is quiet, less and less or equal signal NaNs, as FEQ, FLT and FLE do.
void Generator::emit_float_compare(Value index) {
  const auto& i = definition(index);
  const auto a = xmm(i.a), b = xmm(i.b);
  use_arguments(i);
  const auto result = x86::xmm(take_vector());
  const unsigned predicate = i.condition == Condition::eq ? 0 : i.condition == Condition::lt ? 1 : 2;
  is_double(i.type) ? a_.vcmpsd(result, a, b, predicate) : a_.vcmpss(result, a, b, predicate);
  const auto to = destination(index);
  a_.vmovd(to.r32(), result);
  a_.and_(to.r32(), 1);
}

void Generator::emit_to_integer(Value index) {
  const auto& i = definition(index);
  const bool d = Type(i.reg) == Type::f64, to_zero = i.flag, wide = i.type == Type::i64;
  const auto a = xmm(i.a);
  use_arguments(i);
  const auto to = new_gp(index);  // not the register itself: the interpreter may yet have to see it
  const x86::Gp result = wide ? x86::Gp(to) : x86::Gp(to.r32());
  if (d)
    to_zero ? a_.vcvttsd2si(result, a) : a_.vcvtsd2si(result, a);
  else
    to_zero ? a_.vcvttss2si(result, a) : a_.vcvtss2si(result, a);
  if (!wide) a_.movsxd(to, to.r32());
  // What does not fit gives the smallest integer: subtracting one overflows then.
  auto& side = add_side(Side::Kind::interpret, i);
  side.gp = to;
  const auto test = scratch[take_scratch()];
  const x86::Gp difference = wide ? x86::Gp(test) : x86::Gp(test.r32());
  a_.mov(difference, result);
  a_.sub(difference, 1);
  a_.jo(side.label);
  a_.bind(side.resume);
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
    case Op::toint:
      return emit_to_integer(index);
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
    case Op::fromint: {
      const auto a = gp(i.a);
      const x86::Gp from = i.flag == 32 ? x86::Gp(a.r32()) : x86::Gp(a);
      use_arguments(i);
      const auto to = new_vector(index);
      a_.vxorps(to, to, to);
      d ? a_.vcvtsi2sd(to, to, from) : a_.vcvtsi2ss(to, to, from);
      return;
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
