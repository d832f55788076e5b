#pragma once
// The `fast` code generator: host code from IR in one pass. Guest registers are in their places, in pinned host
// registers or memory, between any two guest instructions; values in between live in a few scratch registers.
#include <asmjit/x86.h>

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "codegen/fast/host.h"
#include "codegen/host_mark.h"
#include "codegen/layout.h"
#include "ir/code.h"

namespace doppel::fast {

/// The length of a block's first instruction, that a jump or call may take the place of.
inline constexpr unsigned entry_bytes = 5;

/// A jump to another place of the same guest page that can be made direct.
struct LinkSite {
  std::uint32_t displacement;  // where its 32-bit displacement is, in bytes from the code's begin
  std::uint32_t stub;          // where it goes while it is not linked
  std::uint32_t stub_return;   // the address that the stub leaves in ExecutionState::link
  std::uint16_t target;        // the byte in the guest's page
  bool separate;               // to code without windows
  std::int32_t page = 0;       // of the target, counted from that of the code's first instruction
};

/// What was generated: position-independent, reaching everything through the state register.
struct GeneratedCode {
  std::vector<std::byte> bytes;
  std::vector<LinkSite> links;
  bool keep_marks = false;  // on request, for whoever reads the code
  std::vector<HostMark> marks;
};

class Generator {
 public:
  explicit Generator(const GuestLayout& layout);
  /// Generates code for `code` into `out`; false when it would not fit into the spill slots (never for what the
  /// frontends make).
  bool generate(const ir::Code& code, GeneratedCode& out);
  const GuestLayout& layout() const { return layout_; }

 private:
  using Value = ir::Value;
  using Instruction = ir::Instruction;
  static constexpr std::int8_t nowhere = -1;

  /// Where a value is; it may be in several places.
  struct Place {
    std::uint16_t uses = 0;         // that are still to come
    std::int8_t scratch = nowhere;  // number of a scratch register
    std::int8_t vector = nowhere;   // number of a vector register
    std::int8_t home = nowhere;     // a guest register that holds it
    std::int8_t slot = nowhere;     // spilled to
    bool constant = false;
    bool page = false;
  };
  struct Side {
    asmjit::Label label;
    asmjit::Label resume;
    const Instruction* instruction = nullptr;
    x86::Gp address;
    x86::Gp gp;                    // where a load's result goes, or what is stored
    std::int8_t vector = nowhere;  // the same, where it is a vector register
    bool without_result = false;   // of an instruction that the interpreter does
    bool immediate = false;        // the value stored is a constant, `imm`
    std::int32_t imm = 0;
    enum class Kind : std::uint8_t {
      load,
      store,
      separate,
      taken,
      refuse,
      interpret,
      interpret_last,
      canonical
    } kind = Kind::taken;
  };

  // generator.cc: values
  void prepare(const ir::Code& code);
  void mark_dead_sets();
  const Instruction& definition(Value value) const { return (*code_)[value]; }
  bool in_memory(unsigned reg) const { return layout_.host[reg] == GuestLayout::in_memory; }
  x86::Gp pin(unsigned reg) const { return pinned[layout_.host[reg]]; }
  x86::Mem home(unsigned reg, unsigned size = 8) const { return x86::ptr(state, layout_.offset[reg], size); }
  x86::Mem slot(unsigned index) const { return x86::ptr(x86::rsp, std::int32_t(8 * index), 8); }
  bool is_floating(Value value) const;
  void use(Value value);
  void use_arguments(const Instruction& i);
  std::int8_t free_slot();
  unsigned take_scratch();
  unsigned take_vector();
  /// Base and offset of an access in a register; what only the base needed is free again.
  x86::Gp address_of(const Instruction& i);
  x86::Gp new_gp(Value value);
  x86::Xmm new_vector(Value value);
  /// The value in a register that must not be written.
  x86::Gp gp(Value value);
  x86::Xmm xmm(Value value);
  /// The value as a register, or in memory where it only is there.
  asmjit::Operand gp_or_memory(Value value);
  /// As an immediate of 32 bits where it is one.
  bool small(Value value, std::int32_t& out) const;
  void load_into(const x86::Gp& to, Value value);
  /// Empties scratch register `n` and locks it.
  x86::Gp claim(unsigned n);
  void evict(unsigned n);
  void release_if_unused(Value value);
  /// Takes a value out of its scratch register, so that what is there may be lost; it stays locked.
  void evict_clean(Value value);
  /// Says that a register taken before holds the value.
  void bind_scratch(const x86::Gp& reg, Value value);
  Side& add_side(Side::Kind kind, const Instruction& i);
  std::uint32_t site(const Instruction& i) const;
  /// Where the result of instruction `index` goes: the pinned register that the next instruction sets, or a scratch.
  x86::Gp destination(Value index);
  void save_holder(unsigned reg);
  void forget_registers();
  void lock(Value value);
  /// At the end of an operation.
  void unlock() {
    locked_ = locked_vectors_ = 0;
    slots_used_ &= ~std::exchange(slots_freed_, 0);
  }

  // lower_*.cc
  void emit(Value index);
  void emit_set(const Instruction& i);
  void emit_binary(Value index);
  void emit_shift(Value index);
  void emit_multiply_high(Value index);
  void emit_carryless(Value index);
  void emit_host_counter(Value index);
  void emit_divide(Value index);
  void emit_unary(Value index);
  void emit_compare(Value index);
  void emit_select(Value index);
  asmjit::x86::CondCode emit_comparison(const Instruction& i);
  void emit_access(Value index);
  void tlb_entry(const x86::Gp& address, const x86::Gp& entry);
  void check_tlb(std::uint32_t size, std::int32_t tag, const x86::Gp& address, const x86::Gp& entry,
                 const x86::Gp& page, const asmjit::Label& slow);
  void emit_window(Value index);
  void emit_windowed(Value index);
  void move_float(const x86::Xmm& to, const x86::Mem& from);
  void extend_from(const Instruction& i, const x86::Gp& to, const x86::Mem& from);
  void store_to(const Instruction& i, const x86::Mem& to);
  void emit_load(Value index);
  void check_tlb_aligned(const Instruction& i, const x86::Gp& address, const x86::Gp& entry, const x86::Gp& page,
                         const asmjit::Label& slow);
  void emit_atomic(Value index);
  void emit_atomic_loop(Value index, const x86::Gp& old, const x86::Gp& cell, const x86::Gp& made);
  void emit_load_linked(Value index);
  void emit_store_conditional(Value index);
  void emit_store_right(const Instruction& i);
  void emit_store(Value index);
  void emit_unbox(Value index);
  void emit_setf(const Instruction& i);
  bool deferred_box(Value index) const;
  void emit_float(Value index);
  void emit_float_binary(Value index);
  void emit_fma(Value index);
  void emit_sign_injection(Value index);
  void emit_float_compare(Value index);
  void emit_to_integer(Value index);
  void emit_from_integer(Value index);
  void emit_least_or_greatest(Value index);
  void emit_round(const x86::Xmm& to, const x86::Xmm& from, const Instruction& i, bool d);
  void emit_float_flags(Value index);
  void emit_clear_float_flags();
  void canonicalize(const x86::Xmm& value, ir::Type type);

  // exits.cc
  void emit_entry(const ir::Code& code);
  void emit_branch(Value index);
  void emit_jump(std::int64_t target);
  void emit_jump_to(const Instruction& i);
  void emit_far_jump(std::int64_t target);
  void emit_interpret(const Instruction& i);
  x86::Mem state_word(const Instruction& i) const;
  void emit_set_state(const Instruction& i);
  void emit_guard(const Instruction& i);
  void emit_zero_block(const Instruction& i);
  void emit_leave(std::int64_t at);
  void emit_sides();
  void emit_side(Side& side);
  void link_jump(std::int64_t target, bool separate = false);
  void mark(Value operation, bool aside) {
    if (marks_) marks_->push_back({std::uint32_t(a_.offset()), operation, aside});
  }

  const GuestLayout layout_;
  asmjit::CodeHolder holder_;
  x86::Assembler a_;
  const std::vector<Instruction>* code_ = nullptr;
  const ir::Code* whole_ = nullptr;
  std::vector<Place> places_;
  std::vector<std::uint8_t> dead_;
  std::vector<Side> sides_;
  std::array<Value, scratch_count> in_scratch_;
  std::array<Value, vector_count> in_vector_;
  std::array<Value, GuestLayout::max_registers> held_;
  std::uint64_t slots_used_ = 0, slots_freed_ = 0;
  unsigned locked_ = 0, locked_vectors_ = 0, next_scratch_ = 0, next_vector_ = 0;
  Value current_ = 0;
  std::vector<HostMark>* marks_ = nullptr;  // null: not wanted
  struct PendingLink {
    asmjit::Label stub, stub_return;
    std::uint16_t target;
    bool separate;
    std::size_t displacement;
  };
  std::vector<PendingLink> links_;
  asmjit::Label entry_;
};

}  // namespace doppel::fast
