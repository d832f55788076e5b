#include "ir/builder.h"

#include <limits>
#include <utility>

#include "ir/fold.h"

namespace doppel::ir {
namespace {

bool commutes(Op op) {
  return op == Op::add || op == Op::and_ || op == Op::or_ || op == Op::xor_ || op == Op::mul || op == Op::mulhs ||
         op == Op::mulhu;
}

}  // namespace

Value Builder::append(Instruction instruction) {
  instruction.offset = offset_;
  instruction.length = length_;
  instruction.left =
      std::uint16_t(code_.guest_count);  // numbered from the front here; the frontend turns it round at the end
  code_.instructions.push_back(instruction);
  return Value(code_.instructions.size() - 1);
}

Value Builder::constant(std::int64_t value) { return append({.op = Op::constant, .type = Type::i64, .imm = value}); }

Value Builder::get(unsigned reg, Type type) {
  auto& held = held_[reg];
  if (held == no_value) held = append({.op = Op::get, .type = type, .reg = std::uint8_t(reg)});
  return held;
}

void Builder::set(unsigned reg, Value value) {
  const auto& from = code_.instructions[value];
  const auto result = traits(from.op).result[0];
  append({.op = result == 'f' || (is_float(from.type) && result != 'i') ? Op::setf : Op::set,
          .type = Type::i64,
          .reg = std::uint8_t(reg),
          .a = value});
  held_[reg] = value;
}

Value Builder::page() {
  if (page_ == no_value) page_ = append({.op = Op::page, .type = Type::i64});
  return page_;
}

bool Builder::is_place(Value value, std::int64_t& offset) const {
  const auto& i = code_.instructions[value];
  const bool sum = i.op == Op::add && i.type == Type::i64 && is_constant(i.b) && code_.instructions[i.a].op == Op::page;
  if (!sum && i.op != Op::page) return false;
  offset = sum ? constant_of(i.b) : 0;
  return true;
}

Value Builder::unary(Op op, Type type, Value a) {
  if ((op == Op::sext || op == Op::zext) && is_constant(a))
    return constant(std::int64_t(extend(type, op == Op::sext, std::uint64_t(constant_of(a)))));
  if (op == Op::unbox && code_.instructions[a].op == Op::box) return code_.instructions[a].a;
  return append({.op = op, .type = type, .a = a});
}

Value Builder::binary(Op op, Type type, Value a, Value b) {
  if (!is_float(type)) {
    if (commutes(op) && is_constant(a)) std::swap(a, b);
    if (const auto folded = fold(op, type, a, b); folded != no_value) return folded;
    std::int64_t place;
    if (op == Op::add && type == Type::i64 && is_constant(b) && code_.instructions[a].op == Op::add &&
        is_place(a, place)) {
      a = code_.instructions[a].a;
      b = constant(std::int64_t(std::uint64_t(place) + std::uint64_t(constant_of(b))));
    }
  }
  return append({.op = op, .type = type, .a = a, .b = b});
}

/// What needs no operation: both arguments known, or a second one that changes nothing.
Value Builder::fold(Op op, Type type, Value a, Value b) {
  if (!is_constant(b)) return no_value;
  const auto right = std::uint64_t(constant_of(b));
  if (is_constant(a)) {
    const auto value = evaluate(op, type, std::uint64_t(constant_of(a)), right);
    return value ? constant(std::int64_t(*value)) : no_value;
  }
  if (type != Type::i64) return no_value;
  const bool no_change = right == 0 && (op == Op::add || op == Op::sub || op == Op::or_ || op == Op::xor_ ||
                                        op == Op::shl || op == Op::shr || op == Op::sar);
  if (no_change || (op == Op::and_ && right == ~0ULL)) return a;
  return op == Op::and_ && right == 0 ? b : no_value;
}

/// Puts a constant that is compared with something behind it: generators have it in the instruction there.
void Builder::put_constant_behind(Condition& condition, Value& a, Value& b) {
  if (!is_constant(a) || is_constant(b)) return;
  const auto left = constant_of(a);
  const bool is_signed = condition == Condition::lt || condition == Condition::ge;
  if (condition == Condition::eq || condition == Condition::ne) return std::swap(a, b);
  if (left == (is_signed ? std::numeric_limits<std::int64_t>::max() : -1)) return;
  a = std::exchange(b, constant(std::int64_t(std::uint64_t(left) + 1)));  // left < b as b >= left + 1
  condition = negated(condition);
}

Value Builder::ternary(Op op, Type type, Value a, Value b, Value c, std::uint8_t flag) {
  return append({.op = op, .type = type, .flag = flag, .a = a, .b = b, .c = c});
}

Value Builder::compare(Condition condition, Value a, Value b) {
  if (is_constant(a) && is_constant(b))
    return constant(holds(condition, std::uint64_t(constant_of(a)), std::uint64_t(constant_of(b))));
  put_constant_behind(condition, a, b);
  return append({.op = Op::compare, .type = Type::i64, .condition = condition, .a = a, .b = b});
}

Value Builder::fcompare(Type type, Condition condition, Value a, Value b) {
  return append({.op = Op::fcompare, .type = type, .condition = condition, .a = a, .b = b});
}

Value Builder::load(Type type, bool sign, Value base, std::int64_t offset) {
  return append({.op = Op::load, .type = type, .flag = sign, .size = seen_, .a = base, .imm = offset});
}
Value Builder::loadf(Type type, Value base, std::int64_t offset) {
  return append({.op = Op::loadf, .type = type, .size = seen_, .a = base, .imm = offset});
}
void Builder::store(Type type, Value base, std::int64_t offset, Value value) {
  append({.op = Op::store, .type = type, .size = seen_, .a = base, .b = value, .imm = offset});
}
void Builder::storef(Type type, Value base, std::int64_t offset, Value value) {
  if (const auto& from = code_.instructions[value]; from.op == Op::box && from.type == type) value = from.a;
  append({.op = Op::storef, .type = type, .size = seen_, .a = base, .b = value, .imm = offset});
}

Value Builder::atomic(AtomicKind kind, Type type, Value address, Value operand) {
  return append({.op = Op::atomic, .type = type, .flag = std::uint8_t(kind), .a = address, .b = operand});
}
Value Builder::load_linked(Type type, Value address) {
  return append({.op = Op::load_linked, .type = type, .a = address});
}
Value Builder::store_conditional(Type type, Value address, Value expected, Value value) {
  return append({.op = Op::store_conditional, .type = type, .a = address, .b = expected, .c = value});
}

Value Builder::toint(Type type, Type from, Rounding rounding, Value a) {
  return append({.op = Op::toint, .type = type, .reg = std::uint8_t(from), .flag = std::uint8_t(rounding), .a = a});
}
Value Builder::fromint(Type type, FromInteger from, Value a) {
  return append({.op = Op::fromint, .type = type, .flag = std::uint8_t(from), .a = a});
}

void Builder::branch(Condition condition, Value a, Value b, std::int64_t target) {
  put_constant_behind(condition, a, b);
  append({.op = Op::branch, .type = Type::i64, .condition = condition, .a = a, .b = b, .imm = target});
}

void Builder::interpret(std::uint32_t bits, bool ends) {
  append({.op = Op::interpret, .flag = ends, .imm = bits});
  held_.fill(no_value);
}

}  // namespace doppel::ir
