// Arithmetic. Floating point is LLVM's constrained kind: the rounding mode is the guest's and exceptions count.
#include "codegen/optimizing/function.h"
#include "ir/execution_state.h"

namespace doppel::optimizing {

using ir::Condition;
using ir::Op;
using ir::Type;

/// The low bits of a value as an integer of `type`.
Function::V Function::low(ir::Value v, Type type) {
  auto* wanted = integer(type);
  const auto have = LLVMGetIntTypeWidth(LLVMTypeOf(value(v))), want = LLVMGetIntTypeWidth(wanted);
  return have > want   ? LLVMBuildTrunc(b_, value(v), wanted, "")
         : have < want ? LLVMBuildZExt(b_, value(v), wanted, "")
                       : value(v);
}

Function::V Function::intrinsic(const std::string& name, LLVMTypeRef type, std::vector<V> arguments) {
  const auto id = LLVMLookupIntrinsicID(name.c_str(), name.size());
  auto* function = LLVMGetIntrinsicDeclaration(module_, id, &type, 1);
  return LLVMBuildCall2(b_, LLVMIntrinsicGetType(context_, id, &type, 1), function, arguments.data(),
                        unsigned(arguments.size()), "");
}

Function::V Function::condition(const Instruction& i) {
  constexpr LLVMIntPredicate predicates[] = {LLVMIntEQ, LLVMIntNE, LLVMIntSLT, LLVMIntSGE, LLVMIntULT, LLVMIntUGE};
  return LLVMBuildICmp(b_, predicates[unsigned(i.condition)], low(i.a, Type::i64), low(i.b, Type::i64), "");
}

Function::V Function::shift(const Instruction& i, V a, V b) {
  const auto width = 8 * ir::bytes(i.type);
  auto* amount = LLVMBuildAnd(b_, b, LLVMConstInt(integer(i.type), width - 1, false), "");
  switch (i.op) {
    case Op::shl:
      return LLVMBuildShl(b_, a, amount, "");
    case Op::shr:
      return LLVMBuildLShr(b_, a, amount, "");
    case Op::sar:
      return LLVMBuildAShr(b_, a, amount, "");
    default:
      return intrinsic(i.op == Op::rol ? "llvm.fshl" : "llvm.fshr", integer(i.type), {a, a, amount});
  }
}

Function::V Function::high_product(const Instruction& i) {
  auto* wide = LLVMIntTypeInContext(context_, 16 * ir::bytes(i.type));
  auto *a = low(i.a, i.type), *b = low(i.b, i.type);
  a = i.op == Op::mulhu ? LLVMBuildZExt(b_, a, wide, "") : LLVMBuildSExt(b_, a, wide, "");
  b = i.op == Op::mulhs ? LLVMBuildSExt(b_, b, wide, "") : LLVMBuildZExt(b_, b, wide, "");
  auto* product = LLVMBuildMul(b_, a, b, "");
  return LLVMBuildTrunc(b_, LLVMBuildLShr(b_, product, LLVMConstInt(wide, 8 * ir::bytes(i.type), false), ""),
                        integer(i.type), "");
}

Function::V Function::divide(const Instruction& i) {
  auto* type = integer(i.type);
  auto *a = low(i.a, i.type), *b = low(i.b, i.type);
  const bool is_signed = i.op == Op::divs || i.op == Op::rems, remainder = i.op == Op::rems || i.op == Op::remu;
  auto *ones = LLVMConstAllOnes(type), *one = LLVMConstInt(type, 1, false);
  auto* by_zero = LLVMBuildICmp(b_, LLVMIntEQ, b, LLVMConstInt(type, 0, false), "");
  auto* unsafe = by_zero;
  if (is_signed) {
    // A quotient by minus one that overflows is the dividend, as by one.
    auto* least = LLVMConstInt(type, 1ULL << (8 * ir::bytes(i.type) - 1), false);
    auto* overflow =
        LLVMBuildAnd(b_, LLVMBuildICmp(b_, LLVMIntEQ, a, least, ""), LLVMBuildICmp(b_, LLVMIntEQ, b, ones, ""), "");
    unsafe = LLVMBuildOr(b_, by_zero, overflow, "");
  }
  auto* divisor = LLVMBuildSelect(b_, unsafe, one, b, "");
  auto* result = remainder   ? (is_signed ? LLVMBuildSRem(b_, a, divisor, "") : LLVMBuildURem(b_, a, divisor, ""))
                 : is_signed ? LLVMBuildSDiv(b_, a, divisor, "")
                             : LLVMBuildUDiv(b_, a, divisor, "");
  return LLVMBuildSelect(b_, by_zero, remainder ? a : ones, result, "");
}

Function::V Function::count_bits(const Instruction& i) {
  auto* type = integer(i.type);
  auto *a = low(i.a, i.type), *defined = LLVMConstInt(i1_, 0, false);
  switch (i.op) {
    case Op::clz:
      return intrinsic("llvm.ctlz", type, {a, defined});
    case Op::ctz:
      return intrinsic("llvm.cttz", type, {a, defined});
    case Op::popcount:
      return intrinsic("llvm.ctpop", type, {a});
    default:
      return intrinsic("llvm.bswap", type, {a});
  }
}

Function::V Function::arithmetic(const Instruction& i) {
  auto *a = low(i.a, i.type), *b = low(i.b, i.type);
  switch (i.op) {
    case Op::add:
      return LLVMBuildAdd(b_, a, b, "");
    case Op::sub:
      return LLVMBuildSub(b_, a, b, "");
    case Op::and_:
      return LLVMBuildAnd(b_, a, b, "");
    case Op::or_:
      return LLVMBuildOr(b_, a, b, "");
    case Op::xor_:
      return LLVMBuildXor(b_, a, b, "");
    case Op::andn:
      return LLVMBuildAnd(b_, a, LLVMBuildNot(b_, b, ""), "");
    case Op::mul:
      return LLVMBuildMul(b_, a, b, "");
    default:
      return shift(i, a, b);
  }
}

bool Function::emit_integer(const Instruction& i, ir::Value index) {
  auto& result = values_[index];
  switch (i.op) {
    case Op::add:
    case Op::sub:
    case Op::and_:
    case Op::or_:
    case Op::xor_:
    case Op::andn:
    case Op::mul:
    case Op::shl:
    case Op::shr:
    case Op::sar:
    case Op::rol:
    case Op::ror:
      result = arithmetic(i);
      return true;
    case Op::mulhs:
    case Op::mulhu:
    case Op::mulhsu:
      result = high_product(i);
      return true;
    case Op::divs:
    case Op::divu:
    case Op::rems:
    case Op::remu:
      result = divide(i);
      return true;
    case Op::clz:
    case Op::ctz:
    case Op::popcount:
    case Op::bswap:
      result = count_bits(i);
      return true;
    case Op::sext:
    case Op::zext:
      result = i.type == Type::i64 ? low(i.a, Type::i64) : widen(low(i.a, i.type), i.op == Op::sext);
      return true;
    case Op::compare:
      result = widen(condition(i), false);
      return true;
    case Op::select:
      result = LLVMBuildSelect(b_, LLVMBuildICmp(b_, LLVMIntNE, low(i.a, Type::i64), constant(0), ""),
                               low(i.b, Type::i64), low(i.c, Type::i64), "");
      return true;
    default:
      return false;
  }
}

Function::V Function::metadata(const char* text) {
  return LLVMMetadataAsValue(context_, LLVMMDStringInContext2(context_, text, std::char_traits<char>::length(text)));
}

/// llvm.experimental.constrained.OP.RESULT.ARGUMENT: overloaded by the result, and the argument where that differs.
Function::V Function::constrained(const std::string& op, LLVMTypeRef result, std::vector<V> arguments, bool rounds,
                                  const char* predicate) {
  const auto name = "llvm.experimental.constrained." + op;
  const auto id = LLVMLookupIntrinsicID(name.c_str(), name.size());
  LLVMTypeRef types[] = {result, LLVMTypeOf(arguments[0])};
  const bool compares = predicate != nullptr;
  const bool converts = !compares && types[0] != types[1];
  auto** overloads = compares ? types + 1 : types;
  const std::size_t count = converts ? 2 : 1;
  if (predicate) arguments.push_back(metadata(predicate));
  if (rounds) arguments.push_back(metadata("round.dynamic"));
  arguments.push_back(metadata("fpexcept.strict"));
  auto* function = LLVMGetIntrinsicDeclaration(module_, id, overloads, count);
  auto* call = LLVMBuildCall2(b_, LLVMIntrinsicGetType(context_, id, overloads, count), function, arguments.data(),
                              unsigned(arguments.size()), "");
  const auto strict = LLVMGetEnumAttributeKindForName("strictfp", 8);
  LLVMAddCallSiteAttribute(call, unsigned(LLVMAttributeFunctionIndex), LLVMCreateEnumAttribute(context_, strict, 0));
  return call;
}

/// A result that is no number is the canonical NaN (Unprivileged ISA 21.3).
Function::V Function::canonical(const Instruction& i, V v) {
  const auto offset =
      i.type == Type::f64 ? offsetof(ir::ExecutionState, canonical64) : offsetof(ir::ExecutionState, canonical32);
  auto* nan = load_state(request_.layout.execution + std::int64_t(offset), floating(i.type));
  return LLVMBuildSelect(b_, constrained("fcmp", i1_, {v, v}, false, "uno"), nan, v, "");
}

Function::V Function::float_arithmetic(const Instruction& i) {
  const char* name = i.op == Op::fadd   ? "fadd"
                     : i.op == Op::fsub ? "fsub"
                     : i.op == Op::fmul ? "fmul"
                     : i.op == Op::fdiv ? "fdiv"
                                        : "sqrt";
  std::vector<V> arguments = {value(i.a)};
  if (i.op != Op::fsqrt) arguments.push_back(value(i.b));
  return canonical(i, constrained(name, floating(i.type), arguments, true));
}

Function::V Function::sign_injection(const Instruction& i) {
  const auto type = i.type == Type::f64 ? Type::i64 : Type::i32;
  const auto offset = i.type == Type::f64 ? offsetof(ir::ExecutionState, sign64) : offsetof(ir::ExecutionState, sign32);
  auto *a = LLVMBuildBitCast(b_, value(i.a), integer(type), ""),
       *b = LLVMBuildBitCast(b_, value(i.b), integer(type), "");
  auto* mask = load_state(request_.layout.execution + std::int64_t(offset), integer(type));
  auto* sign = LLVMBuildAnd(b_, i.op == Op::fsgnjn ? LLVMBuildNot(b_, b, "") : b, mask, "");
  auto* result = i.op == Op::fsgnjx ? LLVMBuildXor(b_, a, sign, "")
                                    : LLVMBuildOr(b_, LLVMBuildAnd(b_, a, LLVMBuildNot(b_, mask, ""), ""), sign, "");
  return LLVMBuildBitCast(b_, result, floating(i.type), "");
}

bool Function::emit_float(const Instruction& i, ir::Value index) {
  auto& result = values_[index];
  switch (i.op) {
    case Op::fadd:
    case Op::fsub:
    case Op::fmul:
    case Op::fdiv:
    case Op::fsqrt:
      result = float_arithmetic(i);
      return true;
    case Op::fma: {
      auto *a = value(i.a), *c = value(i.c);
      if (i.flag & 1) a = LLVMBuildFNeg(b_, a, "");
      if (i.flag & 2) c = LLVMBuildFNeg(b_, c, "");
      result = constrained("fma", floating(i.type), {a, value(i.b), c}, true);
      leave_if(constrained("fcmp", i1_, {result, result}, false, "uno"), i);
      return true;
    }
    case Op::fsgnj:
    case Op::fsgnjn:
    case Op::fsgnjx:
      result = sign_injection(i);
      return true;
    case Op::fcompare:
      result = widen(i.condition == Condition::eq ? constrained("fcmp", i1_, {value(i.a), value(i.b)}, false, "oeq")
                                                  : constrained("fcmps", i1_, {value(i.a), value(i.b)}, false,
                                                                i.condition == Condition::lt ? "olt" : "ole"),
                     false);
      return true;
    case Op::bits:
      result = LLVMBuildBitCast(b_, value(i.a), i64_, "");
      return true;
    case Op::frombits:
      result = LLVMBuildBitCast(b_, value(i.a), f64_, "");
      return true;
    case Op::box: {
      auto* bits = widen(LLVMBuildBitCast(b_, value(i.a), integer(Type::i32), ""), false);
      result = LLVMBuildBitCast(b_, LLVMBuildOr(b_, bits, constant(std::int64_t(~0ULL << 32)), ""), f64_, "");
      return true;
    }
    case Op::unbox: {
      auto* bits = LLVMBuildBitCast(b_, value(i.a), i64_, "");
      auto* boxed = LLVMBuildICmp(b_, LLVMIntUGE, bits, constant(std::int64_t(~0ULL << 32)), "");
      auto* nan = load_state(request_.layout.execution + std::int64_t(offsetof(ir::ExecutionState, canonical32)), f32_);
      auto* single = LLVMBuildBitCast(b_, LLVMBuildTrunc(b_, bits, integer(Type::i32), ""), f32_, "");
      result = LLVMBuildSelect(b_, boxed, single, nan, "");
      return true;
    }
    case Op::fcvt:
      result = canonical(i, constrained(i.type == Type::f64 ? "fpext" : "fptrunc", floating(i.type), {value(i.a)},
                                        i.type == Type::f32));
      return true;
    case Op::toint: {
      auto* type = integer(i.type);
      auto* number =
          i.flag ? constrained("fptosi", type, {value(i.a)}, false) : constrained("lrint", type, {value(i.a)}, true);
      // What does not fit gives the smallest integer.
      auto* least = LLVMConstInt(type, 1ULL << (8 * ir::bytes(i.type) - 1), false);
      leave_if(LLVMBuildICmp(b_, LLVMIntEQ, number, least, ""), i);
      result = i.type == Type::i64 ? number : widen(number, true);
      return true;
    }
    case Op::fromint:
      result = constrained("sitofp", floating(i.type), {low(i.a, i.flag == 32 ? Type::i32 : Type::i64)}, true);
      return true;
    default:
      return false;
  }
}

}  // namespace doppel::optimizing
