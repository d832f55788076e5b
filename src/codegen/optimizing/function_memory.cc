// Loads and stores through the software TLB.
#include "codegen/optimizing/function.h"
#include "ir/execution_state.h"

namespace doppel::optimizing {

using ir::Op;
using ir::Type;

/// What an access to `size` bytes at `address` adds to it; leaves where the TLB does not permit all of it.
Function::V Function::check(const Instruction& i, V address, std::uint32_t size, bool store) {
  constexpr auto index_mask = std::int64_t(ir::tlb_entries - 1) << ir::tlb_entry_shift;
  auto* byte = LLVMInt8TypeInContext(context_);
  auto* index =
      LLVMBuildAnd(b_, LLVMBuildLShr(b_, address, constant(12 - ir::tlb_entry_shift), ""), constant(index_mask), "");
  auto* entry = LLVMBuildGEP2(b_, byte, tlb_, &index, 1, "");
  const auto field = [&](std::size_t offset) {
    auto* at = constant(std::int64_t(offset));
    auto* load = LLVMBuildLoad2(b_, i64_, LLVMBuildGEP2(b_, byte, entry, &at, 1, ""), "");
    tag(load, tbaa_tlb_);
    return load;
  };
  auto* last = size == 1 ? address : LLVMBuildAdd(b_, address, constant(size - 1), "");
  auto* page = LLVMBuildAnd(b_, last, constant(-4096), "");
  auto* allowed = field(store ? offsetof(ir::TlbEntry, store) : offsetof(ir::TlbEntry, load));
  leave_if(LLVMBuildICmp(b_, LLVMIntNE, page, allowed, ""), i);
  return field(offsetof(ir::TlbEntry, addend));
}

Function::V Function::host_pointer(V address, V addend) {
  return LLVMBuildIntToPtr(b_, LLVMBuildAdd(b_, address, addend, ""), pointer_, "");
}

/// What a store writes: of a floating-point register the low bits, whatever it holds.
Function::V Function::stored(const Instruction& i) {
  if (i.op == Op::store) return low(i.b, i.type);
  if (i.type != Type::f32 || LLVMTypeOf(value(i.b)) == f32_) return value(i.b);
  return LLVMBuildTrunc(b_, LLVMBuildBitCast(b_, value(i.b), i64_, ""), integer(Type::i32), "");
}

bool Function::emit_access(const Instruction& i, ir::Value index) {
  const bool store = i.op == Op::store || i.op == Op::storef;
  if (!store && i.op != Op::load && i.op != Op::loadf && i.op != Op::window) return false;
  auto* address = LLVMBuildAdd(b_, value(i.a), constant(i.imm), "");
  auto& result = values_[index];
  if (i.op == Op::window) {
    result = check(i, address, i.size, i.flag);
    return true;
  }
  const auto window = store ? i.c : i.b;
  auto* at = host_pointer(
      address, window != ir::no_value ? value(window) : check(i, address, std::uint32_t(ir::bytes(i.type)), store));
  // Volatile: other harts and devices see and change this memory, and a loop may wait for that.
  if (store) {
    auto* access = LLVMBuildStore(b_, stored(i), at);
    LLVMSetAlignment(access, 1);
    LLVMSetVolatile(access, true);
    tag(access, tbaa_guest_);
    return true;
  }
  auto* access = LLVMBuildLoad2(b_, i.op == Op::loadf ? floating(i.type) : integer(i.type), at, "");
  LLVMSetAlignment(access, 1);
  LLVMSetVolatile(access, true);
  tag(access, tbaa_guest_);
  result = i.op == Op::loadf || i.type == Type::i64 ? access : widen(access, i.flag);
  return true;
}

}  // namespace doppel::optimizing
