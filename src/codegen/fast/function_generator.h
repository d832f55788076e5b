#pragma once
// From ir::Function to host code in one pass. Every variable and every operand has its word in the frame; registers
// keep what is in use. A variable's word is always right (set_variable stores), a value's word once it had to be: at
// jumps, at calls, or for want of registers. At the begin of a block that several jumps reach nothing is in registers.
//
// The frame, from rbp down: the caller's context is not needed, the own one is at rbp - 8; the words lie in ascending
// order from rsp on, so that the frame is an image of what the guest's interpreter has on its stack.
#include <asmjit/x86.h>

#include <array>
#include <bit>
#include <span>
#include <vector>

#include "ir/function.h"
#include "ir/program_context.h"

namespace doppel::fast {

namespace x86 = asmjit::x86;

/// What the generator has to know of a module.
struct ProgramShape {
  struct Memory {
    bool guarded = false;  ///< no address and offset of 32 bits lead out of its reservation: bounds are the host's work
    bool wide = false;     ///< 64-bit addresses
    std::uint8_t page_shift = 16;
  };
  ir::ContextLayout layout;
  std::vector<Memory> memories;
  /// The guest's numbers of traps.
  struct Traps {
    std::uint16_t divide_by_zero = 0, integer_overflow = 0, invalid_conversion = 0, memory_bounds = 0, table_bounds = 0,
                  undefined_element = 0, uninitialized_element = 0, type_mismatch = 0, stack_exhausted = 0;
  } traps;
};

/// A place of the code that may trap or that is returned to, by the offset of the instruction that faults or behind the
/// one that calls.
struct CodeSite {
  static constexpr std::uint16_t no_trap = 0xffff;  ///< a call
  std::uint32_t offset = 0;
  std::uint32_t pc = 0;  ///< of the guest
  std::uint16_t trap = no_trap;
};

struct FunctionCode {
  std::vector<std::byte> bytes;
  std::vector<CodeSite> sites;  ///< in the order of their offsets
};

class FunctionGenerator {
 public:
  explicit FunctionGenerator(const ProgramShape& shape) : shape_(shape) {}
  /// False where the function is too large for a frame.
  bool generate(const ir::Function& function, FunctionCode& out);

 private:
  using Value = ir::Value;
  using Instruction = ir::FunctionInstruction;
  using Label = asmjit::Label;
  using InstId = asmjit::InstId;
  enum class Bank : std::uint8_t { general, vector };
  static constexpr std::uint8_t no_register = 0xff;

  /// Where a value is.
  struct Place {
    std::uint32_t uses = 0;     // that are still to come
    Value next = ir::no_value;  // in the same register
    std::uint8_t reg = no_register;
    bool stored = false;  // its word is right
  };
  /// What a register has. Values in it are equal to the variable in it.
  struct Register {
    Value first = ir::no_value;
    std::int64_t variable = -1;  // or a memory's base: -2 - its number
    bool empty() const { return first == ir::no_value && variable == -1; }
  };
  /// An entry of a jump table.
  struct Distance {
    std::uint32_t offset;
    Label to, table;
  };
  struct TrapStub {
    Label label;
    std::uint32_t pc;
    std::uint16_t trap;
  };

  // function_generator.cc: the function as a whole
  void prepare();
  void count_uses();
  void prologue();
  void take_parameters();
  void clear_variables(std::uint32_t from_word);
  void emit(const Instruction& i);
  void emit_traps();
  void copy_out(FunctionCode& out);

  // function_registers.cc: where values are
  bool general(Value v) const { return ir::is_general(type(v)); }
  ir::Type type(Value v) const { return result_type(function_->code[v]); }
  static bool wide(ir::Type type) { return type != ir::Type::i32; }
  static Bank bank(ir::Type type) { return ir::is_general(type) ? Bank::general : Bank::vector; }
  std::array<Register, 16>& registers(Bank bank) { return bank == Bank::general ? general_ : vector_; }
  bool is_constant(Value v) const { return function_->code[v].op == ir::FunctionOp::constant; }
  bool fits_immediate(Value v) const;
  std::uint8_t allocate(Bank bank);
  void evict(Bank bank, std::uint8_t reg);
  void forget(Bank bank, std::uint8_t reg);
  void store_values(Bank bank, std::uint8_t reg);
  void store_value(Value v);
  void define(Value v, std::uint8_t reg);
  void attach(Value v, std::uint8_t reg);
  void detach(Value v);
  void used(Value v);
  void know(Bank bank, std::uint8_t reg, std::int64_t variable) {
    registers(bank)[reg].variable = variable;
    occupied_[std::size_t(bank)] |= 1U << reg;
  }
  void forget_variable(Bank bank, std::uint8_t reg) {
    registers(bank)[reg].variable = -1;
    if (registers(bank)[reg].empty()) occupied_[std::size_t(bank)] &= ~(1U << reg);
  }
  /// Calls `what` with each register that has something.
  void each_occupied(Bank bank, auto&& what) {
    for (auto rest = occupied_[std::size_t(bank)]; rest != 0; rest &= rest - 1)
      what(std::uint8_t(std::countr_zero(rest)));
  }
  void lock(Bank bank, std::uint8_t reg) { locked_[std::size_t(bank)] |= 1U << reg; }
  void unlock() { locked_ = {}; }
  std::uint8_t fetch(Value v);
  std::uint8_t writable(Value v);
  std::uint8_t result(ir::Type type) { return allocate(bank(type)); }
  void load_into(std::uint8_t reg, Value v);
  void load_constant(std::uint8_t reg, ir::Type type, std::uint64_t bits);
  void move(ir::Type type, std::uint8_t to, std::uint8_t from);
  asmjit::Operand operand(Value v);
  x86::Mem word(std::uint32_t operand_word, ir::Type type) const;
  x86::Mem variable_word(std::uint64_t variable) const;
  x86::Mem frame(std::uint32_t word, std::uint32_t bytes) const;
  static x86::Gp gp(std::uint8_t reg, ir::Type type) { return wide(type) ? x86::Gp(x86::gpq(reg)) : x86::gpd(reg); }
  /// The instruction that moves a float or a vector from or to memory.
  static InstId move_id(ir::Type type) {
    return type == ir::Type::f32   ? x86::Inst::kIdVmovss
           : type == ir::Type::f64 ? x86::Inst::kIdVmovsd
                                   : x86::Inst::kIdVmovups;
  }
  void store_all_below(std::uint32_t height);
  void store_constants();
  void forget_all();
  std::uint8_t variable_register(ir::Type type, std::int64_t variable);

  // function_control.cc
  void begin_block(const Instruction& i);
  void get_variable(Value v, const Instruction& i);
  void set_variable(const Instruction& i);
  void global(Value v, const Instruction& i);
  void jump(const Instruction& i);
  void jump_if(const Instruction& i);
  void jump_table(const Instruction& i);
  void pass(std::span<const Value> arguments, std::uint32_t height);
  bool in_place(std::span<const Value> arguments, std::uint32_t height) const;
  void pass_one(Value v, std::uint32_t word);
  std::span<const std::uint8_t> stored_flags(std::span<const Value> values);
  void set_stored_flags(std::span<const Value> values, std::span<const std::uint8_t> flags);
  void use_all(std::span<const Value> arguments);
  x86::CondCode condition(Value v);
  bool is_next(std::uint64_t block) const;
  Label trap_label(std::uint16_t trap);
  void site(std::uint16_t trap);
  void return_(const Instruction& i);

  // function_call.cc
  void call(Value v, const Instruction& i);
  void pass_arguments(std::span<const Value> arguments);
  void pass_in_area(Value v, std::size_t n);
  void pass_in_registers(std::span<const Value> arguments);
  void find_callee(const Instruction& i);
  void check_type(std::uint32_t type);
  void emit_call(const Instruction& i, bool tail);
  void take_result(Value v, ir::Type type);
  void extra_result(Value v, const Instruction& i);
  void runtime(Value v, const Instruction& i);
  void before_call(std::span<const Value> arguments);

  // function_integer.cc
  void binary(Value v, const Instruction& i, InstId id, bool commutes);
  void shift(Value v, const Instruction& i);
  void divide(Value v, const Instruction& i);
  void count_bits(Value v, const Instruction& i, InstId id);
  void extend(Value v, const Instruction& i);
  void convert_width(Value v, const Instruction& i);
  x86::CondCode compare_flags(const Instruction& i);
  void compare(Value v, const Instruction& i);
  bool fuses(Value v) const;
  void give_condition(Value v, x86::CondCode holds);
  void select(Value v, const Instruction& i);
  void function_reference(Value v, const Instruction& i);

  // function_float.cc
  void float_binary(Value v, const Instruction& i, InstId single, InstId twice);
  void float_extreme(Value v, const Instruction& i);
  void float_sign(Value v, const Instruction& i);
  void float_unary(Value v, const Instruction& i);
  void float_compare(Value v, const Instruction& i);
  void truncate(Value v, const Instruction& i);
  void truncate_checks(const Instruction& i, x86::Xmm from, bool twice);
  void truncate_saturating(std::uint8_t to, const Instruction& i, x86::Xmm from, bool twice);
  void truncate_raw(std::uint8_t to, const Instruction& i, x86::Xmm from, bool twice);
  void from_integer(Value v, const Instruction& i);
  void convert_float(Value v, const Instruction& i);
  void reinterpret(Value v, const Instruction& i);
  void float_constant(x86::Xmm to, bool twice, std::uint64_t bits);

  // function_memory.cc
  x86::Mem address(const Instruction& i, std::uint32_t bytes);
  x86::Mem checked_address(const Instruction& i, std::uint32_t bytes);
  std::uint8_t memory_base(std::uint32_t memory);
  void load(Value v, const Instruction& i);
  void store(const Instruction& i);
  void memory_size(Value v, const Instruction& i);
  void table_size(Value v, const Instruction& i);
  void table_access(Value v, const Instruction& i);
  x86::Mem table_element(Value index, std::uint32_t table, std::uint16_t trap);

  // function_vector.cc
  void vector(Value v, const Instruction& i);
  bool vector_inline(Value v, const Instruction& i);
  void vector_shift(Value v, const Instruction& i);
  void vector_outside(Value v, const Instruction& i);
  bool vector_compute(Value v, const Instruction& i);
  bool vector_lanes(Value v, const Instruction& i);
  bool vector_particular(Value v, const Instruction& i);
  void vector_constant(std::uint8_t reg, std::uint64_t low, std::uint64_t high);
  void load_vector_constant(std::uint8_t reg, const Instruction& i);

  x86::Mem context(std::size_t offset, std::uint32_t bytes = 8) const {
    return x86::Mem(x86::r12, std::int32_t(offset), bytes);
  }

  const ProgramShape& shape_;
  const ir::Function* function_ = nullptr;
  asmjit::CodeHolder holder_;
  x86::Assembler a_;
  std::uint32_t current_ = 0;  // the instruction
  std::vector<Place> places_;
  std::array<Register, 16> general_, vector_;
  std::array<std::uint32_t, 2> locked_{}, occupied_{};  // registers, a bit for each
  std::array<std::uint8_t, 2> next_victim_{};
  std::vector<Value> constants_;  // that are alive and not in their words
  std::vector<Label> labels_;     // of blocks
  std::vector<TrapStub> traps_;
  std::vector<CodeSite> sites_;
  std::vector<Distance> distances_;
  std::vector<std::uint8_t> stored_;
  std::uint32_t variable_words_ = 0, frame_bytes_ = 0;
  x86::CondCode flags_{};  // of a comparison that the next instruction uses
  Value flags_of_ = ir::no_value;
};

}  // namespace doppel::fast
