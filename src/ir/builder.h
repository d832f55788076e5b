#pragma once
// Appends operations to ir::Code, folding constants and remembering what guest registers hold, so that frontends need
// not.
#include <array>

#include "ir/code.h"

namespace doppel::ir {

class Builder {
 public:
  static constexpr unsigned max_registers = 96;
  /// Clears `code` and builds there.
  explicit Builder(Code& code) : code_(code) {
    code_.instructions.clear();
    held_.fill(no_value);
  }

  /// Where in a page the loads and stores that follow were seen to go; no more known by the next at().
  void seen_at(std::uint64_t address) { seen_ = std::uint16_t((address & 0xfff) + 1); }
  /// The guest instruction that what follows belongs to.
  void at(std::int32_t offset, std::uint8_t length) { offset_ = offset, length_ = length, seen_ = 0; }

  Value constant(std::int64_t value);
  Value get(unsigned reg, Type type = Type::i64);
  void set(unsigned reg, Value value);
  Value page();

  Value unary(Op op, Type type, Value a);
  Value binary(Op op, Type type, Value a, Value b);
  Value ternary(Op op, Type type, Value a, Value b, Value c, std::uint8_t flag = 0);
  Value compare(Condition condition, Value a, Value b);
  Value fcompare(Type type, Condition condition, Value a, Value b);
  Value sext(Type from, Value a) { return unary(Op::sext, from, a); }
  Value zext(Type from, Value a) { return unary(Op::zext, from, a); }

  Value load(Type type, bool sign, Value base, std::int64_t offset);
  Value loadf(Type type, Value base, std::int64_t offset);
  void store(Type type, Value base, std::int64_t offset, Value value);
  void storef(Type type, Value base, std::int64_t offset, Value value);
  Value atomic(AtomicKind kind, Type type, Value address, Value operand);
  Value load_linked(Type type, Value address);
  Value store_conditional(Type type, Value address, Value expected, Value value);
  Value toint(Type type, Type from, Rounding rounding, Value a);
  Value fromint(Type type, FromInteger from, Value a);
  Value fround(Type type, Rounding rounding, Value a) {
    return append({.op = Op::fround, .type = type, .flag = std::uint8_t(rounding), .a = a});
  }
  /// The exceptions that gathered, as the guest's bits.
  Value float_flags() { return append({.op = Op::float_flags, .type = Type::i64}); }
  Value host_counter() { return append({.op = Op::host_counter, .type = Type::i64}); }
  void clear_float_flags() { append({.op = Op::clear_float_flags}); }
  /// A word of the hart's state, or with `execution` of the execution state.
  Value get_state(std::int64_t offset, bool execution = false) {
    return append({.op = Op::get_state, .type = Type::i64, .flag = execution, .imm = offset});
  }
  void set_state(std::int64_t offset, Value value, bool execution = false) {
    append({.op = Op::set_state, .type = Type::i64, .flag = execution, .a = value, .imm = offset});
  }
  /// The interpreter executes the guest instruction where `value` is not 0; with `ends` nothing of it comes behind.
  void guard(Value value, bool ends = false) { append({.op = Op::guard, .type = Type::i64, .flag = ends, .a = value}); }
  void store_right(Type type, Value address) { append({.op = Op::store_right, .type = type, .a = address}); }
  void zero_block(Value address) { append({.op = Op::zero_block, .type = Type::i64, .a = address}); }
  void dirty_float() { append({.op = Op::dirty_float}); }
  void fence() { append({.op = Op::fence}); }

  void branch(Condition condition, Value a, Value b, std::int64_t target);
  void jump(std::int64_t target) { append({.op = Op::jump, .imm = target}); }
  void expect(Value target, Value expected) {
    append({.op = Op::expect, .type = Type::i64, .a = target, .b = expected});
  }
  void jump_to(Value target) { append({.op = Op::jump_to, .a = target}); }
  /// The interpreter executes the current instruction; with `ends` control goes on where it says.
  void interpret(std::uint32_t bits, bool ends);
  void leave(std::int64_t at) { append({.op = Op::leave, .imm = at}); }

  /// Whether the value is the running page's address plus a constant, which `offset` gets.
  bool is_place(Value value, std::int64_t& offset) const;
  bool is_constant(Value value) const { return value != no_value && code_.instructions[value].op == Op::constant; }
  std::int64_t constant_of(Value value) const { return code_.instructions[value].imm; }

 private:
  Value append(Instruction instruction);
  Value fold(Op op, Type type, Value a, Value b);
  void put_constant_behind(Condition& condition, Value& a, Value& b);

  Code& code_;
  std::int32_t offset_ = 0;
  std::uint8_t length_ = 0;
  std::uint16_t seen_ = 0;
  Value page_ = no_value;
  std::array<Value, max_registers> held_;
};

}  // namespace doppel::ir
