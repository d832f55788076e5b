#pragma once
// Builds the LLVM function of one region.
#include <llvm-c/Core.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "codegen/region.h"

namespace doppel::optimizing {

/// Code of one region on its way into LLVM's IR. Guest registers are stack slots there, which LLVM turns into values;
/// they are read where the region is entered and written where it is left.
class Function {
 public:
  Function(LLVMContextRef context, LLVMModuleRef module, const RegionRequest& request);
  ~Function();
  Function(const Function&) = delete;
  /// False where something is not for this generator.
  bool build();
  const std::vector<RegionExit>& exits() const { return exits_; }
  static constexpr const char* name = "region";
  static constexpr const char* exit_prefix = "exit_";

 private:
  using V = LLVMValueRef;
  using Block = LLVMBasicBlockRef;
  using Instruction = ir::Instruction;
  struct Registers {
    std::uint64_t word[2] = {};
    void add(unsigned reg) { word[reg / 64] |= 1ULL << reg % 64; }
    bool has(unsigned reg) const { return word[reg / 64] >> reg % 64 & 1; }
    bool join(const Registers& other) {
      const auto before = *this;
      for (int n = 0; n < 2; n++) word[n] |= other.word[n];
      return word[0] != before.word[0] || word[1] != before.word[1];
    }
  };
  struct Part {
    const ir::Code* code;
    std::size_t length;  // operations that are compiled; behind them control goes to `fast`
    Block block;
    Registers written_before;  // on some way to here
    Registers written;
  };

  // function.cc: control
  void measure(Part& part);
  void find_written();
  void enter();
  void fill(Part& part);
  bool emit(const Instruction& i, ir::Value index);
  V exit_function(const RegionExit& exit);
  /// Ends the current block by leaving; `refund` instructions were not executed.
  void leave(const RegionExit& exit, std::int64_t refund);
  void leave_at(const Instruction& i);
  void go_to(std::int64_t target, const Instruction& i);
  /// Goes on where the condition does not hold; where it does, which is rare, by `exit` with i not executed.
  void leave_if(V condition, const Instruction& i);
  void branch(const Instruction& i);
  Block new_block(const char* name);

  // function_values.cc: integers, floating point
  bool emit_integer(const Instruction& i, ir::Value index);
  bool emit_float(const Instruction& i, ir::Value index);
  V arithmetic(const Instruction& i);
  V shift(const Instruction& i, V a, V b);
  V high_product(const Instruction& i);
  V divide(const Instruction& i);
  V count_bits(const Instruction& i);
  V condition(const Instruction& i);
  V float_arithmetic(const Instruction& i);
  V canonical(const Instruction& i, V value);
  V sign_injection(const Instruction& i);
  V intrinsic(const std::string& name, LLVMTypeRef type, std::vector<V> arguments);
  V constrained(const std::string& op, LLVMTypeRef result, std::vector<V> arguments, bool rounds,
                const char* predicate = nullptr);
  V metadata(const char* text);

  // function_memory.cc
  V check(const Instruction& i, V address, std::uint32_t size, bool store);
  bool emit_access(const Instruction& i, ir::Value index);
  V host_pointer(V address, V addend);
  V stored(const Instruction& i);

  V value(ir::Value v) const { return values_[v]; }
  V low(ir::Value v, ir::Type type);
  V widen(V v, bool sign) { return sign ? LLVMBuildSExt(b_, v, i64_, "") : LLVMBuildZExt(b_, v, i64_, ""); }
  V constant(std::int64_t v) const { return LLVMConstInt(i64_, std::uint64_t(v), true); }
  LLVMTypeRef integer(ir::Type type) const { return LLVMIntTypeInContext(context_, 8 * ir::bytes(type)); }
  LLVMTypeRef floating(ir::Type type) const { return type == ir::Type::f32 ? f32_ : f64_; }
  V state_pointer(std::int64_t offset);
  V load_state(std::int64_t offset, LLVMTypeRef type);
  void store_state(std::int64_t offset, V v);
  void tag(V access, V type);
  bool pinned(unsigned reg) const { return request_.layout.host[reg] != GuestLayout::in_memory; }

  LLVMContextRef context_;
  LLVMModuleRef module_;
  LLVMBuilderRef b_;
  const RegionRequest& request_;
  LLVMTypeRef i1_, i64_, f32_, f64_, pointer_, type_;
  V tbaa_state_, tbaa_tlb_, tbaa_guest_, likely_;
  unsigned tbaa_kind_, prof_kind_;
  V function_ = nullptr;
  V state_ = nullptr, budget_ = nullptr, tlb_ = nullptr, page_ = nullptr;
  std::array<V, GuestLayout::max_registers> slots_{};
  std::vector<Part> parts_;
  std::map<std::int64_t, std::size_t> part_at_;  // by their first byte
  Part* part_ = nullptr;
  Registers written_;  // on the way to the current place
  std::vector<V> values_;
  std::vector<RegionExit> exits_;
};

}  // namespace doppel::optimizing
