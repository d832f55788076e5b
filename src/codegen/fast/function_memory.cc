// FunctionGenerator: linear memories and tables.
#include "codegen/fast/function_generator.h"
#include "codegen/fast/function_host.h"

namespace doppel::fast {

using ir::FunctionOp;
using ir::no_value;
using ir::Type;
namespace Inst = x86::Inst;

/// Kept like a variable, until something is called or joins.
std::uint8_t FunctionGenerator::memory_base(std::uint32_t memory) {
  const auto name = -2 - std::int64_t(memory);
  const auto known = variable_register(Type::i64, name);
  if (known != no_register) {
    lock(Bank::general, known);
    return known;
  }
  const auto reg = allocate(Bank::general);
  a_.mov(x86::gpq(reg), context(shape_.layout.memory(memory) + offsetof(ir::ProgramView, base)));
  know(Bank::general, reg, name);
  return reg;
}

/// Where an access of so many bytes goes; the address is used. A guarded memory's end is found by the host.
x86::Mem FunctionGenerator::address(const Instruction& i, std::uint32_t bytes) {
  constexpr std::uint64_t largest_displacement = 0x7fff'ffff;
  if (!shape_.memories[i.c].guarded) return checked_address(i, bytes);
  const auto base = x86::gpq(memory_base(i.c));
  if (is_constant(i.a)) {
    const auto at = function_->code[i.a].imm + i.imm;
    used(i.a);
    if (at <= largest_displacement) return x86::Mem(base, std::int32_t(at), bytes);
    a_.mov(x86::rax, at);
    return x86::Mem(base, x86::rax, 0, 0, bytes);
  }
  const auto index = x86::gpq(fetch(i.a));
  used(i.a);
  if (i.imm <= largest_displacement) return x86::Mem(base, index, 0, std::int32_t(i.imm), bytes);
  a_.mov(x86::eax, std::uint32_t(i.imm));
  a_.add(x86::rax, index);
  return x86::Mem(base, x86::rax, 0, 0, bytes);
}

x86::Mem FunctionGenerator::checked_address(const Instruction& i, std::uint32_t bytes) {
  const auto outside = trap_label(shape_.traps.memory_bounds);
  const bool is64 = shape_.memories[i.c].wide;
  load_into(0, i.a);
  used(i.a);
  if (i.imm != 0) {
    if (i.imm <= 0x7fff'ffff) {
      a_.add(x86::rax, std::int32_t(i.imm));
    } else {
      a_.mov(x86::rcx, i.imm);
      a_.add(x86::rax, x86::rcx);
    }
    if (is64) a_.jc(outside);
  }
  a_.mov(x86::rcx, context(shape_.layout.memory(i.c) + offsetof(ir::ProgramView, size)));
  a_.sub(x86::rcx, std::int32_t(bytes));
  a_.jb(outside);
  a_.cmp(x86::rax, x86::rcx);
  a_.ja(outside);
  return x86::Mem(x86::gpq(memory_base(i.c)), x86::rax, 0, 0, bytes);
}

void FunctionGenerator::load(Value v, const Instruction& i) {
  const auto memory = Type(i.flag & 0xff);
  const bool sign = (i.flag & ir::load_signed) != 0;
  const auto from = address(i, ir::bytes(memory));
  const auto to = result(i.type);
  if (memory == Type::i64 || (memory == Type::i32 && i.type == Type::i32)) {
    site(shape_.traps.memory_bounds);
    a_.mov(gp(to, i.type), from);
  } else if (memory == Type::i32) {
    site(shape_.traps.memory_bounds);
    sign ? a_.movsxd(x86::gpq(to), from) : a_.mov(x86::gpd(to), from);
  } else if (ir::is_general(i.type)) {
    site(shape_.traps.memory_bounds);
    sign ? a_.movsx(gp(to, i.type), from) : a_.movzx(x86::gpd(to), from);
  } else {
    site(shape_.traps.memory_bounds);
    a_.emit(move_id(memory), x86::xmm(to), from);
  }
  define(v, to);
}

void FunctionGenerator::store(const Instruction& i) {
  const auto memory = Type(i.flag & 0xff);
  const auto bytes = ir::bytes(memory);
  if (!ir::is_general(i.type)) {
    const auto from = fetch(i.b);
    const auto to = address(i, bytes);
    site(shape_.traps.memory_bounds);
    a_.emit(move_id(memory), to, x86::xmm(from));
    return used(i.b);
  }
  if (places_[i.b].reg == no_register && fits_immediate(i.b)) {
    const auto to = address(i, bytes);
    const auto value = function_->code[i.b].imm;
    site(shape_.traps.memory_bounds);
    a_.mov(to, bytes == 1   ? std::int64_t(std::int8_t(value))
               : bytes == 2 ? std::int64_t(std::int16_t(value))
                            : std::int32_t(value));
    return used(i.b);
  }
  const auto from = fetch(i.b);
  const auto to = address(i, bytes);
  site(shape_.traps.memory_bounds);
  if (bytes == 1)
    a_.mov(to, x86::gpb_lo(from));
  else if (bytes == 2)
    a_.mov(to, x86::gpw(from));
  else
    bytes == 4 ? a_.mov(to, x86::gpd(from)) : a_.mov(to, x86::gpq(from));
  used(i.b);
}

void FunctionGenerator::memory_size(Value v, const Instruction& i) {
  const auto to = result(i.type);
  a_.mov(x86::gpq(to), context(shape_.layout.memory(i.imm) + offsetof(ir::ProgramView, size)));
  if (const auto shift = shape_.memories[i.imm].page_shift) a_.shr(x86::gpq(to), shift);
  define(v, to);
}

void FunctionGenerator::table_size(Value v, const Instruction& i) {
  const auto to = result(i.type);
  a_.mov(x86::gpq(to), context(shape_.layout.table(i.imm) + offsetof(ir::ProgramView, size)));
  define(v, to);
}

/// The element, through rax and rcx; the index is not used here.
x86::Mem FunctionGenerator::table_element(Value index, std::uint32_t table, std::uint16_t trap) {
  load_into(0, index);
  a_.cmp(x86::rax, context(shape_.layout.table(table) + offsetof(ir::ProgramView, size)));
  a_.jae(trap_label(trap));
  a_.mov(x86::rcx, context(shape_.layout.table(table) + offsetof(ir::ProgramView, base)));
  return x86::Mem(x86::rcx, x86::rax, 3, 0, 8);
}

void FunctionGenerator::table_access(Value v, const Instruction& i) {
  if (i.op == FunctionOp::table_get) {
    const auto from = table_element(i.a, std::uint32_t(i.imm), shape_.traps.table_bounds);
    used(i.a);
    const auto to = result(Type::ref);
    a_.mov(x86::gpq(to), from);
    return define(v, to);
  }
  const auto value = fetch(i.b);
  const auto to = table_element(i.a, std::uint32_t(i.imm), shape_.traps.table_bounds);
  a_.mov(to, x86::gpq(value));
  used(i.a), used(i.b);
}

}  // namespace doppel::fast
