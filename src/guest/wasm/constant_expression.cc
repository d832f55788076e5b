#include "guest/wasm/constant_expression.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "guest/wasm/instruction_skip.h"
#include "guest/wasm/read_types.h"

namespace doppel::wasm {
namespace {

void refuse_instruction(ByteReader& in, Opcode opcode) {
  const OpcodeRow& r = row(opcode);
  if (r.feature == Feature::gc) in.refuse(fmt::format("{} needs garbage collection, which is not supported", r.text));
  if (r.feature == Feature::exceptions) in.refuse(fmt::format("{} needs exceptions, which are not supported", r.text));
  in.refuse(fmt::format("constant expression required: it has {}", r.text));
}

std::string mismatch(ValueType wanted, const std::vector<ValueType>& stack) {
  if (stack.size() != 1)
    return fmt::format("type mismatch: one {} is wanted, not {} values", spelling(wanted), stack.size());
  return fmt::format("type mismatch: {} is wanted, not {}", spelling(wanted), spelling(stack.front()));
}

}  // namespace

std::optional<ModuleError> ConstantValidator::check(ConstantExpression expression, ValueType wanted,
                                                    std::uint32_t globals) {
  ByteReader in(module_.bytes->data(), expression.begin, expression.end);
  stack_.clear();
  while (!in.at_end()) {
    const Opcode opcode = read_opcode(in);
    if (opcode == Opcode::end) break;
    if (opcode != Opcode::count) instruction(in, opcode, globals);
  }
  if (stack_.size() != 1 || !is_subtype(stack_.front(), wanted)) {
    if (!in.failed()) in.refuse(mismatch(wanted, stack_));
  }
  if (!in.failed()) return std::nullopt;
  return ModuleError{in.malformed(), in.failure_offset(), in.message()};
}

void ConstantValidator::instruction(ByteReader& in, Opcode opcode, std::uint32_t globals) {
  switch (opcode) {
    case Opcode::i32_const:
      in.s32();
      return stack_.push_back(i32);
    case Opcode::i64_const:
      in.s64();
      return stack_.push_back(i64);
    case Opcode::f32_const:
      in.fixed32();
      return stack_.push_back(f32);
    case Opcode::f64_const:
      in.fixed64();
      return stack_.push_back(f64);
    case Opcode::v128_const:
      in.skip(16);
      return stack_.push_back(v128);
    case Opcode::ref_null:
      return stack_.push_back(ValueType::reference(read_heap_type(in, {module_.types}), true));
    case Opcode::ref_func:
      return function(in);
    case Opcode::global_get:
      return global(in, globals);
    case Opcode::i32_add:
    case Opcode::i32_sub:
    case Opcode::i32_mul:
      return binary(in, i32);
    case Opcode::i64_add:
    case Opcode::i64_sub:
    case Opcode::i64_mul:
      return binary(in, i64);
    default:
      refuse_instruction(in, opcode);
  }
}

void ConstantValidator::global(ByteReader& in, std::uint32_t globals) {
  const std::uint32_t at = in.offset(), index = in.u32();
  if (in.failed()) return;
  if (index >= globals) return in.refuse_at(at, fmt::format("unknown global {}", index));
  const GlobalType& type = module_.globals[index].type;
  if (type.mutable_) return in.refuse_at(at, fmt::format("constant expression required: global {} is mutable", index));
  stack_.push_back(type.type);
}

void ConstantValidator::function(ByteReader& in) {
  const std::uint32_t at = in.offset(), index = in.u32();
  if (in.failed()) return;
  if (index >= module_.functions.size()) return in.refuse_at(at, fmt::format("unknown function {}", index));
  stack_.push_back(ValueType::reference(HeapType::defined(module_.functions[index].type), false));
}

void ConstantValidator::binary(ByteReader& in, ValueType type) {
  const std::size_t size = stack_.size();
  if (size < 2 || stack_[size - 1] != type || stack_[size - 2] != type)
    return in.refuse(fmt::format("type mismatch: two {} are wanted", spelling(type)));
  stack_.pop_back();
}

namespace {

// Its reader stands behind the opcode.
class Evaluation {
 public:
  Evaluation(ByteReader in, const std::function<Cell(std::uint32_t)>& global,
             const std::function<std::uint32_t(std::uint32_t)>& function_number)
      : in_(std::move(in)), global_(global), function_number_(function_number) {}

  Cell run() {
    for (Opcode opcode = read_opcode(in_); opcode != Opcode::end && opcode != Opcode::count; opcode = read_opcode(in_))
      instruction(opcode);
    return pop();
  }

 private:
  void instruction(Opcode opcode) {
    switch (opcode) {
      case Opcode::i32_const:
        return push(Cell::of_i32(std::uint32_t(in_.s32())));
      case Opcode::i64_const:
        return push(Cell::of_i64(std::uint64_t(in_.s64())));
      case Opcode::f32_const:
        return push(Cell::of_i32(in_.fixed32()));
      case Opcode::f64_const:
        return push(Cell::of_i64(in_.fixed64()));
      case Opcode::v128_const: {
        const std::uint64_t low = in_.fixed64(), high = in_.fixed64();
        return push({low, high});
      }
      case Opcode::ref_func:
        return push(Cell::of(Reference::function(function_number_(in_.u32()))));
      case Opcode::global_get:
        return push(global_(in_.u32()));
      case Opcode::ref_null:
        skip_immediates(in_, opcode);
        return push(Cell::of(Reference::null()));
      default:
        return arithmetic(opcode);
    }
  }

  void arithmetic(Opcode opcode) {
    const std::uint64_t b = pop().low, a = pop().low;
    switch (opcode) {
      case Opcode::i32_add:
        return push(Cell::of_i32(std::uint32_t(a + b)));
      case Opcode::i32_sub:
        return push(Cell::of_i32(std::uint32_t(a - b)));
      case Opcode::i32_mul:
        return push(Cell::of_i32(std::uint32_t(a * b)));
      case Opcode::i64_add:
        return push(Cell::of_i64(a + b));
      case Opcode::i64_sub:
        return push(Cell::of_i64(a - b));
      case Opcode::i64_mul:
        return push(Cell::of_i64(a * b));
      default:
        std::abort();  // not in a valid expression
    }
  }

  void push(Cell cell) { stack_.push_back(cell); }
  Cell pop() {
    const Cell top = stack_.back();
    stack_.pop_back();
    return top;
  }

  ByteReader in_;
  const std::function<Cell(std::uint32_t)>& global_;
  const std::function<std::uint32_t(std::uint32_t)>& function_number_;
  std::vector<Cell> stack_;
};

}  // namespace

Cell evaluate_constant(const Module& module, ConstantExpression expression,
                       const std::function<Cell(std::uint32_t)>& global,
                       const std::function<std::uint32_t(std::uint32_t)>& function_number) {
  return Evaluation({module.bytes->data(), expression.begin, expression.end}, global, function_number).run();
}

}  // namespace doppel::wasm
