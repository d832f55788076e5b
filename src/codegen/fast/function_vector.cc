// FunctionGenerator: vectors. What one or a few of the host's instructions do is inline, by a table; the rest is done
// by functions that the context names.
#include <cstring>

#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::no_value;
using ir::Type;
using ir::VectorOp;
namespace Inst = x86::Inst;

namespace {

/// How an operation becomes instructions. `twisted`: the arguments change places. `inverted`: of all bits the other
/// ones.
enum class Way : std::uint8_t {
  outside,
  binary,
  twisted,
  binary_inverted,
  twisted_inverted,
  extreme_equal,           // the instruction's result is compared with the first argument
  extreme_equal_inverted,  // likewise
  unary,
  high_unary,   // of the upper half
  with_number,  // of two arguments, and an immediate
  one_with_number,
  shift,
  negate,  // the argument from zero
  extract_general,
  extract_float,
  replace_general,
  splat_general,
  splat_float,
  mask,
  all_true,
};

struct Row {
  Way way = Way::outside;
  asmjit::InstId id = 0;
  std::uint16_t number = 0;  // an immediate, a shift's mask, or a second instruction
};

constexpr auto rows = [] {
  std::array<Row, ir::vector_op_count> table{};
  const auto set = [&](VectorOp op, Way way, asmjit::InstId id, unsigned number = 0) {
    table[std::size_t(op)] = {way, id, std::uint16_t(number)};
  };
#define LOWER(name, way, id, ...) set(VectorOp::name, Way::way, Inst::kId##id __VA_OPT__(, ) __VA_ARGS__);
#include "codegen/fast/function_vectors.inc"
  return table;
}();

}  // namespace

void FunctionGenerator::vector(Value v, const Instruction& i) {
  if (!vector_inline(v, i)) vector_outside(v, i);
}

void FunctionGenerator::vector_shift(Value v, const Instruction& i) {
  const auto& row = rows[i.flag & 0xff];
  load_into(1, i.b);
  used(i.b);
  const auto from = x86::xmm(fetch(i.a));
  used(i.a);
  const auto to = result(Type::v128);
  a_.and_(x86::ecx, row.number);
  a_.vmovd(vector_scratch, x86::ecx);
  a_.emit(row.id, x86::xmm(to), from, vector_scratch);
  define(v, to);
}

bool FunctionGenerator::vector_compute(Value v, const Instruction& i) {
  const auto& row = rows[i.flag & 0xff];
  if (row.way > Way::negate || row.way == Way::shift) return false;
  const auto a = x86::xmm(fetch(i.a));
  const auto b = i.b == no_value ? a : x86::xmm(fetch(i.b));
  used(i.a);
  if (i.b != no_value) used(i.b);
  const auto reg = result(Type::v128);
  const auto to = x86::xmm(reg);
  bool inverts = false;
  switch (row.way) {
    case Way::binary_inverted:
      inverts = true;
      [[fallthrough]];
    case Way::binary:
      a_.emit(row.id, to, a, b);
      break;
    case Way::twisted_inverted:
      inverts = true;
      [[fallthrough]];
    case Way::twisted:
      a_.emit(row.id, to, b, a);
      break;
    case Way::extreme_equal_inverted:
      inverts = true;
      [[fallthrough]];
    case Way::extreme_equal:
      a_.emit(row.id, vector_scratch, a, b);
      a_.emit(row.number, to, vector_scratch, a);
      break;
    case Way::unary:
      a_.emit(row.id, to, a);
      break;
    case Way::high_unary:
      a_.vpshufd(vector_scratch, a, 0xee);
      a_.emit(row.id, to, vector_scratch);
      break;
    case Way::with_number:
      a_.emit(row.id, to, a, b, asmjit::Imm(row.number));
      break;
    case Way::one_with_number:
      a_.emit(row.id, to, a, asmjit::Imm(row.number));
      break;
    default:
      a_.vpxor(vector_scratch, vector_scratch, vector_scratch);
      a_.emit(row.id, to, vector_scratch, a);
  }
  if (inverts) {
    a_.vpcmpeqd(vector_scratch, vector_scratch, vector_scratch);
    a_.vpxor(to, to, vector_scratch);
  }
  define(v, reg);
  return true;
}

/// Between vectors and scalars.
bool FunctionGenerator::vector_lanes(Value v, const Instruction& i) {
  const auto& row = rows[i.flag & 0xff];
  const auto lane = unsigned(i.flag >> 8);
  const auto from = fetch(i.a);
  const auto other = i.b == no_value ? from : fetch(i.b);
  used(i.a);
  if (i.b != no_value) used(i.b);
  const auto to = result(i.type);
  switch (row.way) {
    case Way::extract_general:
      a_.emit(row.id, gp(to, i.type), x86::xmm(from), asmjit::Imm(lane));
      if (row.number == 8) a_.movsx(x86::gpd(to), x86::gpb_lo(to));
      if (row.number == 16) a_.movsx(x86::gpd(to), x86::gpw(to));
      break;
    case Way::extract_float:  // by a permutation of 32-bit lanes
      a_.vpshufd(x86::xmm(to), x86::xmm(from), row.number == 4 ? lane : lane == 0 ? 0xe4 : 0xee);
      break;
    case Way::replace_general:
      a_.emit(row.id, x86::xmm(to), x86::xmm(from), gp(other, type(i.b)), asmjit::Imm(lane));
      break;
    case Way::splat_general:
      type(i.a) == Type::i64 ? a_.vmovq(vector_scratch, x86::gpq(from)) : a_.vmovd(vector_scratch, x86::gpd(from));
      a_.emit(row.id, x86::xmm(to), vector_scratch);
      break;
    case Way::splat_float:
      a_.vpshufd(x86::xmm(to), x86::xmm(from), row.number);
      break;
    case Way::mask:
      a_.emit(row.id, x86::gpd(to), x86::xmm(from));
      break;
    default:  // all_true: no lane is 0
      a_.vpxor(vector_scratch, vector_scratch, vector_scratch);
      a_.emit(row.id, vector_scratch, vector_scratch, x86::xmm(from));
      a_.vptest(vector_scratch, vector_scratch);
      a_.sete(x86::al);
      a_.movzx(x86::gpd(to), x86::al);
  }
  define(v, to);
  return true;
}

/// What has sequences of its own.
bool FunctionGenerator::vector_particular(Value v, const Instruction& i) {
  const auto op = VectorOp(i.flag & 0xff);
  const auto three = [&](auto&& emit) {
    const auto a = x86::xmm(fetch(i.a)), b = x86::xmm(fetch(i.b)), c = x86::xmm(fetch(i.c));
    used(i.a), used(i.b), used(i.c);
    const auto to = result(Type::v128);
    emit(x86::xmm(to), a, b, c);
    define(v, to);
    return true;
  };
  switch (op) {
    case VectorOp::v128_not: {
      const auto from = x86::xmm(fetch(i.a));
      used(i.a);
      const auto to = result(Type::v128);
      a_.vpcmpeqd(vector_scratch, vector_scratch, vector_scratch);
      a_.vpxor(x86::xmm(to), from, vector_scratch);
      define(v, to);
      return true;
    }
    case VectorOp::v128_any_true: {
      const auto from = x86::xmm(fetch(i.a));
      used(i.a);
      const auto to = result(Type::i32);
      a_.vptest(from, from);
      a_.setne(x86::al);
      a_.movzx(x86::gpd(to), x86::al);
      define(v, to);
      return true;
    }
    case VectorOp::v128_bitselect:
    case VectorOp::i16x8_relaxed_laneselect:
      return three([&](auto to, auto a, auto b, auto mask) {
        a_.vpand(vector_scratch, a, mask);
        a_.vpandn(vector_scratch2, mask, b);
        a_.vpor(to, vector_scratch, vector_scratch2);
      });
    case VectorOp::i8x16_relaxed_laneselect:
      return three([&](auto to, auto a, auto b, auto mask) { a_.vpblendvb(to, b, a, mask); });
    case VectorOp::i32x4_relaxed_laneselect:
      return three([&](auto to, auto a, auto b, auto mask) { a_.vblendvps(to, b, a, mask); });
    case VectorOp::i64x2_relaxed_laneselect:
      return three([&](auto to, auto a, auto b, auto mask) { a_.vblendvpd(to, b, a, mask); });
    default:
      return false;
  }
}

bool FunctionGenerator::vector_inline(Value v, const Instruction& i) {
  const auto& row = rows[i.flag & 0xff];
  if (row.way == Way::outside) return vector_particular(v, i);
  if (row.way == Way::shift) {
    vector_shift(v, i);
    return true;
  }
  return row.way > Way::negate ? vector_lanes(v, i) : vector_compute(v, i);
}

/// The arguments go to the area, and the result comes from there. All of the host's convention is saved by us.
void FunctionGenerator::vector_outside(Value v, const Instruction& i) {
  const auto op = i.flag & 0xff;
  std::array<Value, 3> arguments{};
  std::size_t count = 0;
  for (const auto a : {i.a, i.b, i.c})
    if (a != no_value) arguments[count++] = a;
  const auto list = std::span(arguments).first(count);
  before_call(list);
  a_.mov(x86::rdx, context(DOPPEL_CONTEXT(area)));
  for (std::size_t n = 0; n < count; n++) pass_in_area(arguments[n], n);
  if (ir::row(VectorOp(op)).immediate == 16) {
    std::array<std::uint64_t, 2> lanes;
    std::memcpy(lanes.data(), function_->vectors[i.imm].data(), sizeof lanes);
    for (int n = 0; n < 2; n++) {
      a_.mov(x86::rcx, lanes[std::size_t(n)]);
      a_.mov(x86::qword_ptr(x86::rdx, 48 + 8 * n), x86::rcx);
    }
  }
  forget_all();
  a_.mov(x86::rdi, x86::rdx);
  a_.mov(x86::esi, i.flag >> 8);
  a_.mov(x86::rax, context(DOPPEL_CONTEXT(vectors)));
  a_.call(x86::qword_ptr(x86::rax, std::int32_t(op * 8)));
  if (places_[v].uses == 0) return;
  const auto to = result(i.type);
  a_.mov(x86::rax, context(DOPPEL_CONTEXT(area)));
  const auto cell = x86::Mem(x86::rax, 0, ir::bytes(i.type));
  if (ir::is_general(i.type))
    a_.mov(gp(to, i.type), cell);
  else
    a_.emit(move_id(i.type), x86::xmm(to), cell);
  attach(v, to);
}

void FunctionGenerator::vector_constant(std::uint8_t reg, std::uint64_t low, std::uint64_t high) {
  const auto to = x86::xmm(reg);
  if (low == ~0ULL && high == ~0ULL) {
    a_.vpcmpeqd(to, to, to);
    return;
  }
  float_constant(to, true, low);
  if (high == 0) return;
  if (high == low) {
    a_.vpunpcklqdq(to, to, to);
    return;
  }
  a_.mov(x86::rcx, high);
  a_.vpinsrq(to, to, x86::rcx, 1);
}

void FunctionGenerator::load_vector_constant(std::uint8_t reg, const Instruction& i) {
  std::array<std::uint64_t, 2> words;
  std::memcpy(words.data(), function_->vectors[i.imm].data(), sizeof words);
  vector_constant(reg, words[0], words[1]);
}

}  // namespace doppel::fast
