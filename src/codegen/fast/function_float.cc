// FunctionGenerator: scalar floating-point numbers. Where a NaN's bits are open, they are the host's.
#include <bit>

#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::FloatCompare;
using ir::FunctionOp;
using ir::Type;
namespace Inst = x86::Inst;

/// Through rcx.
void FunctionGenerator::float_constant(x86::Xmm to, bool twice, std::uint64_t bits) {
  if (bits == 0) {
    a_.vpxor(to, to, to);
  } else if (twice) {
    a_.mov(x86::rcx, bits);
    a_.vmovq(to, x86::rcx);
  } else {
    a_.mov(x86::ecx, std::uint32_t(bits));
    a_.vmovd(to, x86::ecx);
  }
}

void FunctionGenerator::float_binary(Value v, const Instruction& i, InstId single, InstId twice) {
  const auto right = operand(i.b);
  const auto left = x86::xmm(fetch(i.a));
  used(i.a), used(i.b);
  const auto to = result(i.type);
  a_.emit(i.type == Type::f64 ? twice : single, x86::xmm(to), left, right);
  define(v, to);
}

/// Of NaNs the sum, of equal numbers (zeros of both signs) the union or the intersection of their bits.
void FunctionGenerator::float_extreme(Value v, const Instruction& i) {
  const bool twice = i.type == Type::f64, least = i.op == FunctionOp::fmin;
  const auto left = x86::xmm(fetch(i.a)), right = x86::xmm(fetch(i.b));
  used(i.a), used(i.b);
  const auto to = result(i.type);
  const auto result = x86::xmm(to);
  const auto ordered = a_.newLabel(), differ = a_.newLabel(), done = a_.newLabel();
  a_.emit(twice ? Inst::kIdVucomisd : Inst::kIdVucomiss, left, right);
  a_.jnp(ordered);
  a_.emit(twice ? Inst::kIdVaddsd : Inst::kIdVaddss, result, left, right);
  a_.jmp(done);
  a_.bind(ordered);
  a_.jne(differ);
  a_.emit(least ? Inst::kIdVorps : Inst::kIdVandps, result, left, right);
  a_.jmp(done);
  a_.bind(differ);
  const auto id = least ? (twice ? Inst::kIdVminsd : Inst::kIdVminss) : (twice ? Inst::kIdVmaxsd : Inst::kIdVmaxss);
  a_.emit(id, result, left, right);
  a_.bind(done);
  define(v, to);
}

void FunctionGenerator::float_sign(Value v, const Instruction& i) {
  const bool twice = i.type == Type::f64;
  const std::uint64_t sign = twice ? 1ULL << 63 : 1ULL << 31;
  const auto from = x86::xmm(fetch(i.a));
  float_constant(vector_scratch, twice, i.op == FunctionOp::fabs ? sign - 1 : sign);
  if (i.op == FunctionOp::fcopysign) {
    a_.vandps(vector_scratch2, x86::xmm(fetch(i.b)), vector_scratch);
    used(i.b);
  }
  used(i.a);
  const auto to = result(i.type);
  if (i.op == FunctionOp::fabs) {
    a_.vandps(x86::xmm(to), from, vector_scratch);
  } else if (i.op == FunctionOp::fneg) {
    a_.vxorps(x86::xmm(to), from, vector_scratch);
  } else {
    a_.vandnps(x86::xmm(to), vector_scratch, from);
    a_.vorps(x86::xmm(to), x86::xmm(to), vector_scratch2);
  }
  define(v, to);
}

void FunctionGenerator::float_unary(Value v, const Instruction& i) {
  const bool twice = i.type == Type::f64;
  const auto from = x86::xmm(fetch(i.a));
  used(i.a);
  const auto to = result(i.type);
  if (i.op == FunctionOp::fsqrt) {
    a_.emit(twice ? Inst::kIdVsqrtsd : Inst::kIdVsqrtss, x86::xmm(to), from, from);
  } else {
    constexpr int modes[] = {0xa, 0x9, 0xb, 0x8};  // without the exception of being inexact
    a_.emit(twice ? Inst::kIdVroundsd : Inst::kIdVroundss, x86::xmm(to), from, from, asmjit::Imm(modes[i.flag]));
  }
  define(v, to);
}

void FunctionGenerator::float_compare(Value v, const Instruction& i) {
  const bool twice = i.type == Type::f64;
  const auto kind = FloatCompare(i.flag);
  auto left = x86::xmm(fetch(i.a)), right = x86::xmm(fetch(i.b));
  used(i.a), used(i.b);
  if (kind == FloatCompare::eq || kind == FloatCompare::ne) {
    const auto to = result(Type::i32);
    const auto predicate = asmjit::Imm(kind == FloatCompare::eq ? 0 : 4);
    a_.emit(twice ? Inst::kIdVcmpsd : Inst::kIdVcmpss, vector_scratch, left, right, predicate);
    a_.vmovd(x86::gpd(to), vector_scratch);
    a_.and_(x86::gpd(to), 1);
    return define(v, to);
  }
  // What is not ordered is "below".
  if (kind == FloatCompare::lt || kind == FloatCompare::le) std::swap(left, right);
  const bool equal = kind == FloatCompare::le || kind == FloatCompare::ge;
  const auto holds = equal ? x86::CondCode::kUnsignedGE : x86::CondCode::kUnsignedGT;
  a_.emit(twice ? Inst::kIdVucomisd : Inst::kIdVucomiss, left, right);
  give_condition(v, holds);
}

namespace {

/// What may be converted: numbers above (or from, where `inclusive`) the lower bound and below the upper one, as bits.
struct ConversionRange {
  std::uint64_t lower, upper;
  bool inclusive;
};

ConversionRange conversion_range(Type to, bool is_signed, bool twice) {
  const double width = to == Type::i64 ? 0x1p63 : 0x1p31;
  const bool exact = twice && to == Type::i32;  // a double has the number below the smallest integer
  const double lower = !is_signed ? -1.0 : exact ? -width - 1 : -width;
  const double upper = is_signed ? width : 2 * width;
  const auto bits = [&](double d) {
    return twice ? std::bit_cast<std::uint64_t>(d) : std::bit_cast<std::uint32_t>(float(d));
  };
  return {bits(lower), bits(upper), is_signed && !exact};
}

}  // namespace

void FunctionGenerator::truncate(Value v, const Instruction& i) {
  const bool twice = (i.flag & ir::conversion_wide) != 0;
  const auto from = x86::xmm(fetch(i.a));
  used(i.a);
  const auto to = result(i.type);
  if (i.flag & ir::conversion_saturates) {
    truncate_saturating(to, i, from, twice);
  } else {
    truncate_checks(i, from, twice);
    truncate_raw(to, i, from, twice);
  }
  define(v, to);
}

void FunctionGenerator::truncate_checks(const Instruction& i, x86::Xmm from, bool twice) {
  const auto range = conversion_range(i.type, (i.flag & ir::conversion_signed) != 0, twice);
  const auto compare = twice ? Inst::kIdVucomisd : Inst::kIdVucomiss;
  a_.emit(compare, from, from);
  a_.jp(trap_label(shape_.traps.invalid_conversion));
  const auto outside = trap_label(shape_.traps.integer_overflow);
  float_constant(vector_scratch, twice, range.lower);
  a_.emit(compare, from, vector_scratch);
  range.inclusive ? a_.jb(outside) : a_.jbe(outside);
  float_constant(vector_scratch, twice, range.upper);
  a_.emit(compare, from, vector_scratch);
  a_.jae(outside);
}

/// A number in range.
void FunctionGenerator::truncate_raw(std::uint8_t to, const Instruction& i, x86::Xmm from, bool twice) {
  const auto convert = twice ? Inst::kIdVcvttsd2si : Inst::kIdVcvttss2si;
  const bool is_signed = (i.flag & ir::conversion_signed) != 0;
  if (is_signed) {
    a_.emit(convert, gp(to, i.type), from);
    return;
  }
  a_.emit(convert, x86::gpq(to), from);
  if (i.type == Type::i32) {
    a_.mov(x86::gpd(to), x86::gpd(to));
    return;
  }
  // From 2^63 on less that, which comes back as the sign.
  const auto done = a_.newLabel();
  a_.test(x86::gpq(to), x86::gpq(to));
  a_.jns(done);
  float_constant(vector_scratch, twice, twice ? 0x43e0'0000'0000'0000 : 0x5f00'0000);
  a_.emit(twice ? Inst::kIdVsubsd : Inst::kIdVsubss, vector_scratch, from, vector_scratch);
  a_.emit(convert, x86::gpq(to), vector_scratch);
  a_.btc(x86::gpq(to), 63);
  a_.bind(done);
}

void FunctionGenerator::truncate_saturating(std::uint8_t to, const Instruction& i, x86::Xmm from, bool twice) {
  const bool is_signed = (i.flag & ir::conversion_signed) != 0, is64 = i.type == Type::i64;
  const auto range = conversion_range(i.type, is_signed, twice);
  const auto compare = twice ? Inst::kIdVucomisd : Inst::kIdVucomiss;
  const std::uint64_t smallest = !is_signed ? 0 : is64 ? 1ULL << 63 : 1ULL << 31;
  const std::uint64_t all = is64 ? ~0ULL : 0xffff'ffff;
  const auto done = a_.newLabel();
  load_constant(to, i.type, 0);
  a_.emit(compare, from, from);
  a_.jp(done);
  load_constant(to, i.type, smallest);
  float_constant(vector_scratch, twice, range.lower);
  a_.emit(compare, from, vector_scratch);
  range.inclusive ? a_.jb(done) : a_.jbe(done);
  load_constant(to, i.type, is_signed ? all >> 1 : all);
  float_constant(vector_scratch, twice, range.upper);
  a_.emit(compare, from, vector_scratch);
  a_.jae(done);
  truncate_raw(to, i, from, twice);
  a_.bind(done);
}

void FunctionGenerator::from_integer(Value v, const Instruction& i) {
  const bool twice = i.type == Type::f64, is64 = (i.flag & ir::conversion_wide) != 0;
  const bool is_signed = (i.flag & ir::conversion_signed) != 0;
  const auto id = twice ? Inst::kIdVcvtsi2sd : Inst::kIdVcvtsi2ss;
  const auto from = fetch(i.a);
  used(i.a);
  const auto to = result(i.type);
  const auto x = x86::xmm(to);
  a_.vpxor(x, x, x);
  if (is_signed || !is64) {
    a_.emit(id, x, x, gp(from, is64 || !is_signed ? Type::i64 : Type::i32));
    return define(v, to);
  }
  // Half of it, rounded to odd, and twice that.
  const auto large = a_.newLabel(), done = a_.newLabel();
  a_.test(x86::gpq(from), x86::gpq(from));
  a_.js(large);
  a_.emit(id, x, x, x86::gpq(from));
  a_.jmp(done);
  a_.bind(large);
  a_.mov(x86::rax, x86::gpq(from));
  a_.mov(x86::ecx, x86::gpd(from));
  a_.shr(x86::rax, 1);
  a_.and_(x86::ecx, 1);
  a_.or_(x86::rax, x86::rcx);
  a_.emit(id, x, x, x86::rax);
  a_.emit(twice ? Inst::kIdVaddsd : Inst::kIdVaddss, x, x, x);
  a_.bind(done);
  define(v, to);
}

void FunctionGenerator::convert_float(Value v, const Instruction& i) {
  const auto from = x86::xmm(fetch(i.a));
  used(i.a);
  const auto to = result(i.type);
  a_.emit(i.type == Type::f32 ? Inst::kIdVcvtsd2ss : Inst::kIdVcvtss2sd, x86::xmm(to), from, from);
  define(v, to);
}

void FunctionGenerator::reinterpret(Value v, const Instruction& i) {
  const auto from = fetch(i.a);
  used(i.a);
  const auto to = result(i.type);
  switch (i.type) {
    case Type::i32:
      a_.vmovd(x86::gpd(to), x86::xmm(from));
      break;
    case Type::i64:
      a_.vmovq(x86::gpq(to), x86::xmm(from));
      break;
    case Type::f32:
      a_.vmovd(x86::xmm(to), x86::gpd(from));
      break;
    default:
      a_.vmovq(x86::xmm(to), x86::gpq(from));
  }
  define(v, to);
}

}  // namespace doppel::fast
