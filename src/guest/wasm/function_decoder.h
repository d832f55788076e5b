#pragma once
// Decodes and validates a function's body (core specification, 3.4 and the algorithm of A.3) in one pass, and tells a
// consumer what it finds. The consumer is a template's argument, so that a compiler is fed without a list in between.
//
// A Consumer has the types Value, what it keeps for each operand, and Block, for each open block; both begin empty. Of
// code that cannot be reached it hears nothing, so that operands always have the values that it gave them. It has:
//   begin()                                     the locals are known
//   block(control), loop(control, operands)     `operands` are the block's parameters, whose values loop() may replace
//   if_(control, condition, operands)
//   else_(control, operands, parameters)        of the branch that ends, null where its end is not reached; it gives
//   `parameters` values again end(control, operands)                      likewise; behind it results(control,
//   operands) gives the block's results values br, br_if, br_table, return_, unreachable, on_null, and so on: see below
//   where they are called
#include <span>
#include <utility>
#include <vector>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/module.h"
#include "guest/wasm/opcode.h"
#include "guest/wasm/read_types.h"

namespace doppel::wasm {

struct MemoryArgument {
  std::uint32_t memory = 0;
  std::uint8_t align = 0;  ///< log2 of the alignment that the code promises
  std::uint64_t offset = 0;
};

/// What stands behind an opcode that its signature describes: a constant's bits, a lane, or 16 bytes.
struct Immediate {
  std::uint64_t bits = 0;
  const std::uint8_t* bytes = nullptr;  ///< of v128.const and i8x16.shuffle
};

/// A block's type: of a function type, or nothing to at most one result.
struct BlockType {
  const DefinedType* function = nullptr;
  ValueType single = bottom;
  std::span<const ValueType> parameters() const {
    return function ? function->parameters : std::span<const ValueType>();
  }
  std::span<const ValueType> results() const {
    if (function) return function->results;
    return {&single, std::size_t(single != bottom)};
  }
};

enum class ControlKind : std::uint8_t { function, block, loop, if_, else_ };

template <class Consumer>
class FunctionDecoder {
 public:
  using Value = typename Consumer::Value;
  struct Operand {
    ValueType type;
    Value value{};
  };
  struct Control {
    ControlKind kind = ControlKind::block;
    bool unreachable = false;  ///< behind a branch that is always taken, to the block's end
    bool dead = false;         ///< it begins where nothing is reached
    std::uint32_t height = 0;  ///< of the operand stack below its parameters
    std::uint32_t initialized = 0;
    BlockType type;
    typename Consumer::Block block{};
    /// What a branch to it takes along.
    std::span<const ValueType> label() const { return kind == ControlKind::loop ? type.parameters() : type.results(); }
  };

  FunctionDecoder(const Module& module, std::uint32_t function, Consumer& consumer);
  /// To the body's end, or to what is wrong with it.
  std::optional<ModuleError> run();

  const Module& module() const { return module_; }
  const DefinedType& type() const { return type_; }
  std::span<const ValueType> locals() const { return locals_; }
  /// Where the instruction that is told lies in the module, and what is behind it.
  std::uint32_t at() const { return at_; }
  std::uint32_t behind() const { return reader_.offset(); }
  /// The nth of the open blocks, from the inside.
  Control& control(std::uint32_t depth) { return control_[control_.size() - 1 - depth]; }
  std::uint32_t depth() const { return std::uint32_t(control_.size()); }
  std::span<Operand> operands() { return stack_; }

 private:
  bool reached() const { return !control_.back().unreachable && !control_.back().dead; }
  /// Notes that the code is not valid; the reader itself notes where it has no form.
  [[gnu::cold]] void fail(std::string message) { reader_.refuse_at(at_, std::move(message)); }
  [[gnu::cold]] void mismatch(ValueType found, ValueType expected);

  void read_locals();
  void instruction();
  void structured(Opcode opcode);
  void branching(Opcode opcode);
  void calling(Opcode opcode);
  void special(Opcode opcode);
  void rare(Opcode opcode);
  void memory_copy();
  void table_instruction(Opcode opcode);
  void described(Opcode opcode);
  void described_memory(Opcode opcode);

  void push(ValueType type, Value value = {}) { stack_.push_back({type, value}); }
  Operand pop();
  Operand pop(ValueType expected);
  Operand pop_reference();
  void pop_all(std::span<const ValueType> types, std::vector<Operand>& out);
  Operand* top(std::span<const ValueType> types, bool convert);
  void set_unreachable();

  BlockType read_block_type();
  void open(ControlKind kind, BlockType type);
  void open_if();
  void begin_else();
  void end_block();
  void br_table();
  void br_on_null(bool branch_on_null);
  Control* read_label();
  const DefinedType* read_function_type(TypeId* id);
  void call(const DefinedType& type, bool tail, auto&& tell);
  void select(ValueType type);
  void local(Opcode opcode);
  void global(Opcode opcode);
  void bulk_memory(Opcode opcode);
  MemoryArgument read_memory_argument(unsigned natural_align);
  std::uint32_t read_index(std::size_t count, std::string_view what);
  ValueType address_of_memory(std::uint32_t memory) const { return module_.memories[memory].limits.is64 ? i64 : i32; }
  ValueType address_of_table(std::uint32_t table) const { return module_.tables[table].type.limits.is64 ? i64 : i32; }

  const Module& module_;
  const Function& function_;
  const DefinedType& type_;
  Consumer& consumer_;
  ByteReader reader_;
  std::uint32_t at_ = 0;
  std::vector<ValueType> locals_;
  std::vector<bool> initialized_;              // of locals that have no value of their own at first
  std::vector<std::uint32_t> initialized_by_;  // in which order: blocks forget theirs at their end
  std::vector<Operand> stack_;
  std::vector<Control> control_;
  std::vector<Operand> arguments_;
};

}  // namespace doppel::wasm

#include "guest/wasm/function_decoder_control.h"
#include "guest/wasm/function_decoder_plain.h"
