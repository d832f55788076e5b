#include "codegen/fast/function_generator.h"

#include <algorithm>
#include <cstring>

#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::FunctionOp;
using ir::no_value;
using ir::Type;
namespace Inst = x86::Inst;

bool FunctionGenerator::generate(const ir::Function& function, FunctionCode& out) {
  constexpr std::uint32_t most_words = 1U << 24;
  function_ = &function;
  variable_words_ = function.variable_at.back();
  if (std::uint64_t{variable_words_} + function.operand_words > most_words) return false;
  frame_bytes_ = ((variable_words_ + function.operand_words + 1) * 8 + 15) & ~15U;
  holder_.reset();
  holder_.init(asmjit::Environment::host());
  holder_.attach(&a_);
  constexpr std::size_t usual_bytes = 8;  // of an operation
  holder_.reserveBuffer(&holder_.textSection()->buffer(), function.code.size() * usual_bytes + 256);
  prepare();
  current_ = 0;
  prologue();
  for (current_ = 0; current_ < function.code.size(); current_++) {
    emit(function.code[current_]);
    unlock();
  }
  emit_traps();
  copy_out(out);
  holder_.detach(&a_);
  return true;
}

void FunctionGenerator::prepare() {
  places_.assign(function_->code.size(), {});
  general_ = {}, vector_ = {}, occupied_ = {};
  unlock();
  constants_.clear(), traps_.clear(), sites_.clear(), labels_.clear(), distances_.clear();
  flags_of_ = no_value;
  labels_.reserve(function_->blocks.size());
  for (std::size_t n = 0; n < function_->blocks.size(); n++) labels_.push_back(a_.newLabel());
  count_uses();
}

void FunctionGenerator::count_uses() {
  for (const auto& i : function_->code)
    for (const auto v : direct_arguments(i))
      if (v != no_value) places_[v].uses++;
  for (const auto v : function_->arguments) places_[v].uses++;
}

void FunctionGenerator::prologue() {
  a_.push(x86::rbp);
  a_.mov(x86::rbp, x86::rsp);
  a_.sub(x86::rsp, frame_bytes_);
  a_.cmp(x86::rsp, context(DOPPEL_CONTEXT(stack_limit)));
  a_.jb(trap_label(shape_.traps.stack_exhausted));
  a_.mov(x86::qword_ptr(x86::rbp, -8), x86::r12);
  take_parameters();
  const auto parameters = function_->parameters.size();
  clear_variables(function_->variable_at[parameters]);
}

void FunctionGenerator::take_parameters() {
  std::size_t generals = 0, vectors = 0;
  for (std::size_t n = 0; n < function_->parameters.size(); n++) {
    const auto type = function_->parameters[n];
    const auto at = variable_word(n);
    const bool general = ir::is_general(type);
    if (general ? generals < argument_registers.size() : vectors < vector_arguments) {
      const auto reg = general ? argument_registers[generals++] : std::uint8_t(vectors++);
      const bool kept = std::ranges::find(general_registers, reg) != general_registers.end();
      if (!general)
        a_.emit(move_id(type), at, x86::xmm(reg));
      else if (kept && type == Type::i32)
        a_.mov(x86::gpd(reg), x86::gpd(reg));
      if (general) a_.mov(at, gp(reg, type));
      if (!general || kept) know(bank(type), reg, std::int64_t(n));
      continue;
    }
    a_.mov(x86::rax, context(DOPPEL_CONTEXT(area)));
    const auto cell = x86::Mem(x86::rax, std::int32_t(n * 16));
    a_.vmovups(vector_scratch, cell);
    if (type == Type::v128)
      a_.vmovups(at, vector_scratch);
    else
      ir::bytes(type) == 4 ? a_.vmovss(at, vector_scratch) : a_.vmovsd(at, vector_scratch);
  }
}

void FunctionGenerator::clear_variables(std::uint32_t from_word) {
  constexpr std::uint32_t few = 32;
  const auto count = variable_words_ - from_word;
  if (count == 0) return;
  if (count > few) {  // rdi and rcx may have parameters
    a_.mov(x86::r10, x86::rdi);
    a_.lea(x86::rdi, frame(from_word, 8));
    a_.mov(x86::ecx, count);
    a_.xor_(x86::eax, x86::eax);
    a_.rep().stosq();
    a_.mov(x86::rdi, x86::r10);
    return;
  }
  a_.vpxor(vector_scratch, vector_scratch, vector_scratch);
  std::uint32_t at = from_word;
  for (; at + 2 <= variable_words_; at += 2) a_.vmovups(frame(at, 16), vector_scratch);
  if (at < variable_words_) a_.vmovsd(frame(at, 8), vector_scratch);
}

/// One operation.
void FunctionGenerator::emit(const Instruction& i) {
  const auto v = Value(current_);
  switch (i.op) {
    case FunctionOp::block:
      return begin_block(i);
    case FunctionOp::parameter:
      places_[v].stored = true;
      return;
    case FunctionOp::constant:
    case FunctionOp::vector_constant:
      if (places_[v].uses != 0) constants_.push_back(v);
      return;
    case FunctionOp::get_variable:
      return get_variable(v, i);
    case FunctionOp::set_variable:
      return set_variable(i);
    case FunctionOp::get_global:
    case FunctionOp::set_global:
      return global(v, i);
    case FunctionOp::function:
      return function_reference(v, i);
    case FunctionOp::add:
      return binary(v, i, Inst::kIdAdd, true);
    case FunctionOp::sub:
      return binary(v, i, Inst::kIdSub, false);
    case FunctionOp::mul:
      return binary(v, i, Inst::kIdImul, true);
    case FunctionOp::and_:
      return binary(v, i, Inst::kIdAnd, true);
    case FunctionOp::or_:
      return binary(v, i, Inst::kIdOr, true);
    case FunctionOp::xor_:
      return binary(v, i, Inst::kIdXor, true);
    case FunctionOp::shl:
    case FunctionOp::shr:
    case FunctionOp::sar:
    case FunctionOp::rol:
    case FunctionOp::ror:
      return shift(v, i);
    case FunctionOp::div_s:
    case FunctionOp::div_u:
    case FunctionOp::rem_s:
    case FunctionOp::rem_u:
      return divide(v, i);
    case FunctionOp::clz:
      return count_bits(v, i, Inst::kIdLzcnt);
    case FunctionOp::ctz:
      return count_bits(v, i, Inst::kIdTzcnt);
    case FunctionOp::popcount:
      return count_bits(v, i, Inst::kIdPopcnt);
    case FunctionOp::extend:
      return extend(v, i);
    case FunctionOp::zext:
    case FunctionOp::wrap:
      return convert_width(v, i);
    case FunctionOp::compare:
    case FunctionOp::is_zero:
      return compare(v, i);
    case FunctionOp::fcompare:
      return float_compare(v, i);
    case FunctionOp::fadd:
      return float_binary(v, i, Inst::kIdVaddss, Inst::kIdVaddsd);
    case FunctionOp::fsub:
      return float_binary(v, i, Inst::kIdVsubss, Inst::kIdVsubsd);
    case FunctionOp::fmul:
      return float_binary(v, i, Inst::kIdVmulss, Inst::kIdVmulsd);
    case FunctionOp::fdiv:
      return float_binary(v, i, Inst::kIdVdivss, Inst::kIdVdivsd);
    case FunctionOp::fmin:
    case FunctionOp::fmax:
      return float_extreme(v, i);
    case FunctionOp::fcopysign:
    case FunctionOp::fabs:
    case FunctionOp::fneg:
      return float_sign(v, i);
    case FunctionOp::fsqrt:
    case FunctionOp::fround:
      return float_unary(v, i);
    case FunctionOp::truncate:
      return truncate(v, i);
    case FunctionOp::from_integer:
      return from_integer(v, i);
    case FunctionOp::demote:
    case FunctionOp::promote:
      return convert_float(v, i);
    case FunctionOp::bits:
      return reinterpret(v, i);
    case FunctionOp::select:
      return select(v, i);
    case FunctionOp::load:
      return load(v, i);
    case FunctionOp::store:
      return store(i);
    case FunctionOp::memory_size:
      return memory_size(v, i);
    case FunctionOp::table_size:
      return table_size(v, i);
    case FunctionOp::table_get:
    case FunctionOp::table_set:
      return table_access(v, i);
    case FunctionOp::vector:
      return vector(v, i);
    case FunctionOp::jump:
      return jump(i);
    case FunctionOp::jump_if:
      return jump_if(i);
    case FunctionOp::jump_table:
      return jump_table(i);
    case FunctionOp::return_:
      return return_(i);
    case FunctionOp::trap:
      a_.jmp(trap_label(i.flag));
      return;
    case FunctionOp::trap_if_null: {
      const auto reg = fetch(i.a);
      a_.test(x86::gpq(reg), x86::gpq(reg));
      a_.jz(trap_label(i.flag));
      return used(i.a);
    }
    case FunctionOp::call:
    case FunctionOp::call_indirect:
    case FunctionOp::call_ref:
    case FunctionOp::tail_call:
    case FunctionOp::tail_call_indirect:
    case FunctionOp::tail_call_ref:
      return call(v, i);
    case FunctionOp::result:
      return extra_result(v, i);
    case FunctionOp::runtime:
      return runtime(v, i);
    case FunctionOp::count:
      return;
  }
}

/// Behind everything else, one call for each place: its return address tells which.
void FunctionGenerator::emit_traps() {
  for (const auto& stub : traps_) {
    a_.bind(stub.label);
    if (stub.trap == shape_.traps.stack_exhausted) a_.mov(x86::rsp, x86::rbp);  // below may be nothing
    a_.call(context(DOPPEL_CONTEXT(trap)));
    sites_.push_back({std::uint32_t(a_.offset()), stub.pc, stub.trap});
  }
  a_.int3();  // so that the last return address is in this function
}

void FunctionGenerator::copy_out(FunctionCode& out) {
  holder_.flatten();
  holder_.resolveUnresolvedLinks();
  out.bytes.resize(holder_.codeSize());
  holder_.copyFlattenedData(out.bytes.data(), out.bytes.size());
  for (const auto& d : distances_) {
    const auto distance = std::int32_t(holder_.labelOffset(d.to) - holder_.labelOffset(d.table));
    std::memcpy(out.bytes.data() + d.offset, &distance, sizeof distance);
  }
  out.sites.assign(sites_.begin(), sites_.end());
}

}  // namespace doppel::fast
