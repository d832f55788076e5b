#include "codegen/optimizing/function.h"

#include <llvm-c/Analysis.h>

#include "ir/execution_state.h"

namespace doppel::optimizing {

using ir::Op;

namespace {

constexpr unsigned preserve_none = 21;  // llvm::CallingConv::PreserveNone
constexpr unsigned parameters = 2 + pinned_registers;
constexpr std::int64_t guest_page = 4096;
bool in_page(std::int64_t target) { return target >= 0 && target < guest_page - 2; }

LLVMMetadataRef text(LLVMContextRef context, const char* string) {
  return LLVMMDStringInContext2(context, string, std::char_traits<char>::length(string));
}

/// An access tag for a kind of memory that nothing else overlaps.
LLVMValueRef access_tag(LLVMContextRef context, const char* name) {
  auto* zero = LLVMValueAsMetadata(LLVMConstInt(LLVMInt64TypeInContext(context), 0, false));
  LLVMMetadataRef root_parts[] = {text(context, "doppel")};
  LLVMMetadataRef type_parts[] = {text(context, name), LLVMMDNodeInContext2(context, root_parts, 1), zero};
  auto* type = LLVMMDNodeInContext2(context, type_parts, 3);
  LLVMMetadataRef tag_parts[] = {type, type, zero};
  return LLVMMetadataAsValue(context, LLVMMDNodeInContext2(context, tag_parts, 3));
}

void add_attribute(LLVMContextRef context, LLVMValueRef function, const char* name) {
  const auto kind = LLVMGetEnumAttributeKindForName(name, std::char_traits<char>::length(name));
  LLVMAddAttributeAtIndex(function, unsigned(LLVMAttributeFunctionIndex), LLVMCreateEnumAttribute(context, kind, 0));
}

}  // namespace

Function::Function(LLVMContextRef context, LLVMModuleRef module, const RegionRequest& request)
    : context_(context), module_(module), b_(LLVMCreateBuilderInContext(context)), request_(request) {
  i1_ = LLVMInt1TypeInContext(context), i64_ = LLVMInt64TypeInContext(context);
  f32_ = LLVMFloatTypeInContext(context), f64_ = LLVMDoubleTypeInContext(context);
  pointer_ = LLVMPointerTypeInContext(context, 0);
  tbaa_kind_ = LLVMGetMDKindIDInContext(context, "tbaa", 4);
  prof_kind_ = LLVMGetMDKindIDInContext(context, "prof", 4);
  tbaa_state_ = access_tag(context, "state"), tbaa_tlb_ = access_tag(context, "tlb");
  tbaa_guest_ = access_tag(context, "guest");
  auto* i32 = LLVMInt32TypeInContext(context);
  LLVMMetadataRef weights[] = {text(context, "branch_weights"), LLVMValueAsMetadata(LLVMConstInt(i32, 1, false)),
                               LLVMValueAsMetadata(LLVMConstInt(i32, 4000, false))};
  likely_ = LLVMMetadataAsValue(context, LLVMMDNodeInContext2(context, weights, 3));
  LLVMTypeRef types[parameters] = {pointer_, i64_};
  std::fill(types + 2, types + parameters, i64_);
  type_ = LLVMFunctionType(LLVMVoidTypeInContext(context), types, parameters, false);
}

Function::~Function() { LLVMDisposeBuilder(b_); }

Function::Block Function::new_block(const char* name) {
  return LLVMAppendBasicBlockInContext(context_, function_, name);
}

namespace {

/// Whether an operation, or this form of it, is not for this generator.
bool is_foreign(const ir::Instruction& i) {
  switch (i.op) {
    case Op::interpret:
    case Op::leave:
    case Op::set_state:
    case Op::zero_block:
    case Op::atomic:
    case Op::load_linked:
    case Op::store_conditional:
    case Op::store_right:
    case Op::clmul:
    case Op::clmulh:
    case Op::fmin:
    case Op::fmax:
    case Op::fround:
    case Op::float_flags:
    case Op::clear_float_flags:
    case Op::host_counter:
      return true;
    case Op::fcompare:
      return i.condition > ir::Condition::ge;
    case Op::toint:
      return i.flag > unsigned(ir::Rounding::to_zero);
    case Op::fromint:
      return ir::FromInteger(i.flag) == ir::FromInteger::u64;
    default:
      return false;
  }
}

}  // namespace

/// How much of a block is for this generator, and which registers it writes.
void Function::measure(Part& part) {
  const auto& list = part.code->instructions;
  part.length = list.size();
  for (std::size_t n = 0; n < list.size(); n++) {
    const auto& i = list[n];
    if (is_foreign(i)) {
      part.length = n;
      // The guest instruction as a whole is left out.
      while (part.length > 0 && list[part.length - 1].offset == i.offset) part.length--;
      return;
    }
    if (i.op == Op::set || i.op == Op::setf) part.written.add(i.reg);
  }
}

/// Which registers may have been written where a part begins, counted from where the region was entered.
void Function::find_written() {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto& part : parts_) {
      auto after = part.written_before;
      after.join(part.written);
      const auto pass_on = [&](std::int64_t target) {
        if (const auto to = part_at_.find(target); to != part_at_.end())
          changed |= parts_[to->second].written_before.join(after);
      };
      for (std::size_t n = 0; n < part.length; n++) {
        const auto& i = part.code->instructions[n];
        if (i.op == Op::branch || i.op == Op::jump) pass_on(i.imm);
      }
    }
  }
}

bool Function::build() {
  for (const auto& code : request_.blocks) {
    part_at_.emplace(code.begin, parts_.size());
    parts_.push_back({.code = &code, .length = 0, .block = nullptr, .written_before = {}, .written = {}});
    measure(parts_.back());
  }
  if (parts_[0].length == 0) return false;  // it would be left where it is entered
  find_written();
  function_ = LLVMAddFunction(module_, name, type_);
  LLVMSetFunctionCallConv(function_, preserve_none);
  for (const auto* attribute : {"nounwind", "strictfp"}) add_attribute(context_, function_, attribute);
  enter();
  for (auto& part : parts_) fill(part);
  return true;
}

void Function::enter() {
  auto* block = new_block("entry");
  LLVMPositionBuilderAtEnd(b_, block);
  state_ = LLVMGetParam(function_, 0);
  budget_ = LLVMBuildAlloca(b_, i64_, "budget");
  LLVMBuildStore(b_, LLVMGetParam(function_, 1), budget_);
  for (const auto& part : parts_)
    for (const auto& i : part.code->instructions) {
      if (i.op != Op::get && i.op != Op::set && i.op != Op::setf) continue;
      auto& slot = slots_[i.reg];
      if (slot) continue;
      const bool is_float = i.op == Op::setf || (i.op == Op::get && ir::is_float(i.type));
      auto* type = is_float ? f64_ : i64_;
      slot = LLVMBuildAlloca(b_, type, "");
      LLVMBuildStore(b_,
                     pinned(i.reg) ? LLVMGetParam(function_, 2 + request_.layout.host[i.reg])
                                   : load_state(request_.layout.offset[i.reg], type),
                     slot);
    }
  tlb_ = load_state(request_.layout.execution + std::int64_t(offsetof(ir::ExecutionState, tlb)), pointer_);
  page_ = load_state(request_.layout.execution + std::int64_t(offsetof(ir::ExecutionState, page)), i64_);
  for (auto& part : parts_) part.block = new_block("part");
  LLVMBuildBr(b_, parts_[0].block);
}

void Function::fill(Part& part) {
  part_ = &part;
  written_ = part.written_before;
  values_.assign(part.code->instructions.size(), nullptr);
  LLVMPositionBuilderAtEnd(b_, part.block);
  const auto count = std::int64_t(part.code->guest_count);
  auto* budget = LLVMBuildSub(b_, LLVMBuildLoad2(b_, i64_, budget_, ""), constant(count), "");
  LLVMBuildStore(b_, budget, budget_);
  auto* limit = load_state(request_.layout.execution + std::int64_t(offsetof(ir::ExecutionState, limit)), i64_);
  LLVMSetVolatile(limit, true);
  auto *refuse = new_block("refuse"), *go_on = new_block("go_on");
  auto* jump = LLVMBuildCondBr(b_, LLVMBuildICmp(b_, LLVMIntSLT, budget, limit, ""), refuse, go_on);
  LLVMSetMetadata(jump, prof_kind_, likely_);
  LLVMPositionBuilderAtEnd(b_, refuse);
  store_state(request_.layout.pc, LLVMBuildAdd(b_, page_, constant(part.code->begin), ""));
  leave({.kind = RegionExit::Kind::leave, .target = 0}, count);
  LLVMPositionBuilderAtEnd(b_, go_on);
  const auto& list = part.code->instructions;
  for (std::size_t n = 0; n < part.length; n++)
    if (!emit(list[n], ir::Value(n))) return leave_at(list[n]);
  if (part.length < list.size()) leave_at(list[part.length]);
}

/// Leaves in front of a guest instruction for the code of `fast`.
void Function::leave_at(const Instruction& i) {
  leave({.kind = RegionExit::Kind::separate, .target = i.offset}, i.left + 1);
}

Function::V Function::exit_function(const RegionExit& exit) {
  const auto found = std::find(exits_.begin(), exits_.end(), exit);
  const auto number = std::size_t(found - exits_.begin());
  const auto symbol = exit_prefix + std::to_string(number);
  if (found != exits_.end()) return LLVMGetNamedFunction(module_, symbol.c_str());
  exits_.push_back(exit);
  auto* function = LLVMAddFunction(module_, symbol.c_str(), type_);
  LLVMSetFunctionCallConv(function, preserve_none);
  LLVMSetVisibility(function, LLVMHiddenVisibility);
  add_attribute(context_, function, "nounwind");
  return function;
}

void Function::leave(const RegionExit& exit, std::int64_t refund) {
  for (unsigned reg = 0; reg < request_.layout.registers; reg++)
    if (written_.has(reg) && !pinned(reg))
      store_state(request_.layout.offset[reg], LLVMBuildLoad2(b_, LLVMGetAllocatedType(slots_[reg]), slots_[reg], ""));
  V arguments[parameters] = {state_, LLVMBuildLoad2(b_, i64_, budget_, "")};
  if (refund != 0) arguments[1] = LLVMBuildAdd(b_, arguments[1], constant(refund), "");
  for (unsigned n = 0; n < pinned_registers; n++) arguments[2 + n] = LLVMGetParam(function_, 2 + n);
  for (unsigned reg = 0; reg < request_.layout.registers; reg++)
    if (pinned(reg) && slots_[reg])
      arguments[2 + request_.layout.host[reg]] = LLVMBuildLoad2(b_, i64_, slots_[reg], "");
  auto* call = LLVMBuildCall2(b_, type_, exit_function(exit), arguments, parameters, "");
  LLVMSetInstructionCallConv(call, preserve_none);
  LLVMSetTailCallKind(call, LLVMTailCallKindMustTail);
  LLVMBuildRetVoid(b_);
}

void Function::go_to(std::int64_t target, const Instruction& i) {
  const auto refund = i.op == Op::branch ? std::int64_t(i.left) : 0;
  if (const auto part = part_at_.find(target); part != part_at_.end()) {
    if (refund != 0)
      LLVMBuildStore(b_, LLVMBuildAdd(b_, LLVMBuildLoad2(b_, i64_, budget_, ""), constant(refund), ""), budget_);
    LLVMBuildBr(b_, parts_[part->second].block);
  } else if (in_page(target)) {
    leave({.kind = RegionExit::Kind::link, .target = std::uint16_t(target)}, refund);
  } else {
    store_state(request_.layout.pc, LLVMBuildAdd(b_, page_, constant(target), ""));
    leave({.kind = RegionExit::Kind::jump, .target = 0}, refund);
  }
}

void Function::leave_if(V condition, const Instruction& i) {
  auto *rare = new_block("rare"), *go_on = new_block("go_on");
  LLVMSetMetadata(LLVMBuildCondBr(b_, condition, rare, go_on), prof_kind_, likely_);
  LLVMPositionBuilderAtEnd(b_, rare);
  leave_at(i);
  LLVMPositionBuilderAtEnd(b_, go_on);
}

void Function::branch(const Instruction& i) {
  auto *taken = new_block("taken"), *next = new_block("next");
  LLVMBuildCondBr(b_, condition(i), taken, next);
  LLVMPositionBuilderAtEnd(b_, taken);
  go_to(i.imm, i);
  LLVMPositionBuilderAtEnd(b_, next);
}

bool Function::emit(const Instruction& i, ir::Value index) {
  auto& result = values_[index];
  switch (i.op) {
    case Op::constant:
      result = constant(i.imm);
      return true;
    case Op::get:
      result = LLVMBuildLoad2(b_, LLVMGetAllocatedType(slots_[i.reg]), slots_[i.reg], "");
      return true;
    case Op::set:
      LLVMBuildStore(b_, low(i.a, ir::Type::i64), slots_[i.reg]);
      written_.add(i.reg);
      return true;
    case Op::setf:
      LLVMBuildStore(b_, value(i.a), slots_[i.reg]);
      written_.add(i.reg);
      return true;
    case Op::page:
      result = page_;
      return true;
    case Op::get_state:
      result = load_state(i.imm + (i.flag ? request_.layout.execution : 0), i64_);
      LLVMSetVolatile(result, true);
      return true;
    case Op::guard:
      leave_if(LLVMBuildICmp(b_, LLVMIntNE, value(i.a), constant(0), ""), i);
      return true;
    case Op::fence:
      LLVMBuildFence(b_, LLVMAtomicOrderingSequentiallyConsistent, false, "");
      return true;
    case Op::branch:
      branch(i);
      return true;
    case Op::jump:
      go_to(i.imm, i);
      return true;
    case Op::jump_to:
      store_state(request_.layout.pc, value(i.a));
      leave({.kind = RegionExit::Kind::jump, .target = 0}, 0);
      return true;
    default:
      return emit_access(i, index) || emit_integer(i, index) || emit_float(i, index);
  }
}

Function::V Function::state_pointer(std::int64_t offset) {
  auto* at = constant(offset);
  return LLVMBuildGEP2(b_, LLVMInt8TypeInContext(context_), state_, &at, 1, "");
}

Function::V Function::load_state(std::int64_t offset, LLVMTypeRef type) {
  auto* load = LLVMBuildLoad2(b_, type, state_pointer(offset), "");
  LLVMSetAlignment(load, 4);
  tag(load, tbaa_state_);
  return load;
}

void Function::store_state(std::int64_t offset, V v) {
  auto* store = LLVMBuildStore(b_, v, state_pointer(offset));
  LLVMSetAlignment(store, 4);
  tag(store, tbaa_state_);
}

void Function::tag(V access, V type) { LLVMSetMetadata(access, tbaa_kind_, type); }

}  // namespace doppel::optimizing
