#include "guest/wasm/translate.h"

#include "guest/wasm/function_decoder.h"
#include "guest/wasm/translation_table.h"
#include "guest/wasm/value.h"

namespace doppel::wasm {
namespace {

using ir::FunctionInstruction;
using ir::FunctionOp;
using ir::Routine;
using ir::Type;
using ir::VectorOp;

constexpr std::uint32_t no_block = ~0U;

/// What FunctionDecoder tells becomes operations.
class Translator {
 public:
  using Value = ir::Value;
  struct Block {
    std::uint32_t target = no_block;  ///< where branches to it go
    std::uint32_t otherwise = no_block;
    std::uint32_t saved = 0;  ///< where the parameters of an `if` are in saved_
    std::uint32_t height = 0;
  };
  using Decoder = FunctionDecoder<Translator>;
  using Operand = Decoder::Operand;
  using Control = Decoder::Control;

  Translator(const Module& module, std::uint32_t function, ir::Function& out)
      : out_(out), module_(module), decoder_(module, function, *this) {}
  std::optional<ModuleError> run() { return decoder_.run(); }

  void begin();
  void block(Control& control);
  void loop(Control& control, Operand* operands);
  void if_(Control& control, Value condition, Operand* operands);
  void else_(Control& control, Operand* operands, Operand* parameters);
  void end(Control& control, Operand* operands);
  void results(Control& control, Operand* operands);
  void br(Control& control, Operand* operands);
  void br_if(Control& control, Value condition, Operand* operands);
  void br_table(Value index, std::span<const std::uint32_t> depths, Operand* operands);
  void br_on_null(Control& control, Value reference, Operand* operands);
  void br_on_non_null(Control& control, Value reference, Operand* operands);
  void return_(Operand* operands);
  void unreachable();

  void call(std::uint32_t function, bool tail, Operand* arguments, Operand* results);
  void call_indirect(TypeId type, std::uint32_t table, Value element, bool tail, Operand* arguments, Operand* results);
  void call_ref(TypeId type, Value callee, bool nullable, bool tail, Operand* arguments, Operand* results);

  Value plain(Opcode opcode, const Value* values, const Immediate& immediate);
  Value load(Opcode opcode, const MemoryArgument& argument, Value address, Value vector, const Immediate& lane);
  void store(Opcode opcode, const MemoryArgument& argument, Value address, Value value, const Immediate& lane);
  Value bulk(Opcode opcode, std::uint32_t first, std::uint32_t second, const Value* values);
  Value table(Opcode opcode, std::uint32_t first, std::uint32_t table, const Value* values);
  Value select(ValueType type, Value condition, Value first, Value second) {
    return give({.op = FunctionOp::select, .type = ir_type(type), .a = condition, .b = first, .c = second});
  }
  Value local_get(std::uint32_t index) {
    return give({.op = FunctionOp::get_variable, .type = out_.variables[index], .imm = index});
  }
  void local_set(std::uint32_t index, Value value) {
    add({.op = FunctionOp::set_variable, .type = out_.variables[index], .a = value, .imm = index});
  }
  Value global_get(std::uint32_t index) {
    return give({.op = FunctionOp::get_global, .type = ir_type(module_.globals[index].type.type), .imm = index});
  }
  void global_set(std::uint32_t index, Value value) {
    add({.op = FunctionOp::set_global, .type = ir_type(module_.globals[index].type.type), .a = value, .imm = index});
  }
  void drop(ValueType, Value) {}
  Value ref_null() { return give({.op = FunctionOp::constant, .type = Type::ref}); }
  Value ref_func(std::uint32_t index) { return give({.op = FunctionOp::function, .type = Type::ref, .imm = index}); }
  Value ref_is_null(Value reference) { return give({.op = FunctionOp::is_zero, .type = Type::ref, .a = reference}); }
  void ref_as_non_null(Value reference) { trap_if_null(reference, Trap::null_reference); }

 private:
  Value add(FunctionInstruction i) {
    i.pc = decoder_.at();
    out_.code.push_back(i);
    return Value(out_.code.size() - 1);
  }
  /// Adds what gives a value, in the next free word.
  Value give(FunctionInstruction i) { return give_at(i, next_word()); }
  Value give_at(FunctionInstruction i, std::uint32_t word) {
    i.slot = word;
    out_.operand_words = std::max(out_.operand_words, word + ir::words_of(result_type(i)));
    return add(i);
  }
  std::uint32_t word_behind(const Operand& operand) const {
    return out_.code[operand.value].slot + ir::words_of(ir_type(operand.type));
  }
  /// Words of the operands below `operand`.
  std::uint32_t words_below(const Operand* operand) {
    return operand == decoder_.operands().data() ? 0 : word_behind(operand[-1]);
  }
  std::uint32_t next_word() {
    const auto operands = decoder_.operands();
    return operands.empty() ? 0 : word_behind(operands.back());
  }
  std::uint32_t new_block(std::uint32_t height, std::span<const ValueType> parameters, bool loop = false) {
    out_.blocks.push_back({.height = height, .parameters = std::uint32_t(parameters.size()), .loop = loop});
    return std::uint32_t(out_.blocks.size() - 1);
  }
  void place(std::uint32_t block);
  void place(std::uint32_t block, std::span<const ValueType> types, Operand* parameters);
  void jump(std::uint32_t block, const Operand* operands, std::size_t count);
  void jump_if(Control& control, Value condition, bool negated, const Operand* operands, std::size_t count);
  std::uint32_t pool(const Operand* operands, std::size_t count);
  std::uint32_t pool(std::span<const Value> values);
  void trap_if_null(Value reference, Trap trap) {
    add({.op = FunctionOp::trap_if_null, .type = Type::ref, .flag = std::uint16_t(trap), .a = reference});
  }
  void called(FunctionInstruction call, const DefinedType& type, bool tail, Operand* arguments, Operand* results);
  Value runtime(Routine routine, std::uint32_t first, std::uint32_t second, std::span<const Value> values, Type type);
  std::uint32_t vector_pool(const std::uint8_t* bytes);
  Type address_type(std::uint32_t memory) const { return module_.memories[memory].limits.is64 ? Type::i64 : Type::i32; }

  ir::Function& out_;
  const Module& module_;
  Decoder decoder_;
  std::vector<Value> saved_;
  bool reached_ = false;  // the end of the block that ends
};

std::uint32_t Translator::pool(const Operand* operands, std::size_t count) {
  const auto first = std::uint32_t(out_.arguments.size());
  for (std::size_t n = 0; n < count; n++) out_.arguments.push_back(operands[n].value);
  return first;
}

std::uint32_t Translator::pool(std::span<const Value> values) {
  const auto first = std::uint32_t(out_.arguments.size());
  out_.arguments.insert(out_.arguments.end(), values.begin(), values.end());
  return first;
}

void Translator::begin() {
  out_.clear();
  const auto& type = decoder_.type();
  for (const auto t : type.parameters) out_.parameters.push_back(ir_type(t));
  for (const auto t : type.results) out_.results.push_back(ir_type(t));
  std::uint32_t word = 0;
  for (const auto t : decoder_.locals()) {
    out_.variables.push_back(ir_type(t));
    out_.variable_at.push_back(word);
    word += t.words();
  }
  out_.variable_at.push_back(word);
  decoder_.control(0).block.target = new_block(0, type.results);
}

void Translator::place(std::uint32_t block) { out_.blocks[block].begin = add({.op = FunctionOp::block, .imm = block}); }

void Translator::place(std::uint32_t block, std::span<const ValueType> types, Operand* parameters) {
  place(block);
  auto word = out_.blocks[block].height;
  for (std::size_t n = 0; n < types.size(); n++) {
    const auto type = ir_type(types[n]);
    parameters[n].value = give_at({.op = FunctionOp::parameter, .type = type, .imm = n}, word);
    word += ir::words_of(type);
  }
}

void Translator::jump(std::uint32_t block, const Operand* operands, std::size_t count) {
  out_.blocks[block].uses++;
  const auto first = pool(operands, count);
  add({.op = FunctionOp::jump, .a = first, .b = std::uint32_t(count), .imm = block});
}

void Translator::jump_if(Control& control, Value condition, bool negated, const Operand* operands, std::size_t count) {
  const auto block = control.block.target;
  out_.blocks[block].uses++;
  const auto first = pool(operands, count);
  add({.op = FunctionOp::jump_if,
       .flag = negated,
       .a = condition,
       .b = first,
       .c = std::uint32_t(count),
       .imm = block});
}

void Translator::block(Control& control) {
  const auto operands = decoder_.operands().data() + control.height;
  control.block.height = words_below(operands);
  control.block.target = new_block(control.block.height, control.type.results());
}

void Translator::loop(Control& control, Operand* operands) {
  const auto parameters = control.type.parameters();
  control.block.height = words_below(operands);
  control.block.target = new_block(control.block.height, parameters, true);
  jump(control.block.target, operands, parameters.size());
  place(control.block.target, parameters, operands);
}

void Translator::if_(Control& control, Value condition, Operand* operands) {
  const auto parameters = control.type.parameters();
  auto& block = control.block;
  block.height = words_below(operands);
  const auto above = parameters.empty() ? block.height : word_behind(operands[parameters.size() - 1]);
  block.otherwise = new_block(above, {});
  block.target = new_block(block.height, control.type.results());
  block.saved = std::uint32_t(saved_.size());
  for (std::size_t n = 0; n < parameters.size(); n++) saved_.push_back(operands[n].value);
  out_.blocks[block.otherwise].uses++;
  add({.op = FunctionOp::jump_if, .flag = 1, .a = condition, .b = 0, .c = 0, .imm = block.otherwise});
}

void Translator::else_(Control& control, Operand* operands, Operand* parameters) {
  auto& block = control.block;
  if (operands) jump(block.target, operands, control.type.results().size());
  place(block.otherwise);
  for (std::size_t n = 0; n < control.type.parameters().size(); n++) parameters[n].value = saved_[block.saved + n];
  saved_.resize(block.saved);
}

void Translator::end(Control& control, Operand* operands) {
  auto& block = control.block;
  const auto count = control.type.results().size();
  reached_ = operands != nullptr;
  if (control.kind == ControlKind::function) {
    const auto& results = control.type.results();
    if (reached_) return_(operands);
    if (out_.blocks[block.target].uses == 0) return;
    std::vector<Operand> parameters(count);
    place(block.target, results, parameters.data());
    return return_(parameters.data());
  }
  if (control.kind == ControlKind::if_) {  // without else: it gives its parameters
    if (reached_) jump(block.target, operands, count);
    place(block.otherwise);
    const auto first = pool(std::span(saved_).subspan(block.saved, count));
    out_.blocks[block.target].uses++;
    add({.op = FunctionOp::jump, .a = first, .b = std::uint32_t(count), .imm = block.target});
    saved_.resize(block.saved);
    return;
  }
  if (control.kind != ControlKind::loop && reached_ && out_.blocks[block.target].uses != 0)
    jump(block.target, operands, count);
}

void Translator::results(Control& control, Operand* operands) {
  auto& block = control.block;
  const bool loop = control.kind == ControlKind::loop;
  const bool branched = !loop && out_.blocks[block.target].uses != 0;
  if (reached_ && !branched) return;  // all comes from above
  const auto results = control.type.results();
  // What nothing leads to is told as if it were reached.
  if (loop) block.target = new_block(block.height, results);
  place(block.target, results, operands);
}

void Translator::br(Control& control, Operand* operands) {
  jump(control.block.target, operands, control.label().size());
}

void Translator::br_if(Control& control, Value condition, Operand* operands) {
  jump_if(control, condition, false, operands, control.label().size());
}

void Translator::br_table(Value index, std::span<const std::uint32_t> depths, Operand* operands) {
  const auto labels = std::uint32_t(out_.labels.size());
  for (const auto depth : depths) {
    const auto target = decoder_.control(depth).block.target;
    out_.labels.push_back(target);
    out_.blocks[target].uses++;
  }
  const std::uint64_t count = decoder_.control(depths.back()).label().size();
  const auto first = pool(operands, count);
  add({.op = FunctionOp::jump_table, .a = index, .b = first, .c = labels, .imm = count | depths.size() << 32});
}

/// The reference stays, so that what is made of it needs the word behind it.
void Translator::br_on_null(Control& control, Value reference, Operand* operands) {
  const auto above = out_.code[reference].slot + 1;
  const auto null = give_at({.op = FunctionOp::is_zero, .type = Type::ref, .a = reference}, above);
  jump_if(control, null, false, operands, control.label().size());
}

void Translator::br_on_non_null(Control& control, Value reference, Operand* operands) {
  const auto above = out_.code[reference].slot + 1;
  const auto null = give_at({.op = FunctionOp::is_zero, .type = Type::ref, .a = reference}, above);
  jump_if(control, null, true, operands, control.label().size());
}

void Translator::return_(Operand* operands) {
  const auto count = decoder_.type().results.size();
  const auto first = pool(operands, count);
  add({.op = FunctionOp::return_, .a = first, .b = std::uint32_t(count)});
}

void Translator::unreachable() { add({.op = FunctionOp::trap, .flag = std::uint16_t(Trap::unreachable)}); }

void Translator::called(FunctionInstruction call, const DefinedType& type, bool tail, Operand* arguments,
                        Operand* results) {
  call.a = pool(arguments, type.parameters.size());
  call.b = std::uint32_t(type.parameters.size());
  if (tail) {
    add(call);
    return;
  }
  auto word = words_below(results);
  for (std::size_t n = 0; n < type.results.size(); n++) {
    const auto kind = ir_type(type.results[n]);
    if (n == 0) call.type = kind;
    const auto result = n == 0 ? call : FunctionInstruction{.op = FunctionOp::result, .type = kind, .imm = n};
    results[n].value = give_at(result, word);
    word += ir::words_of(kind);
  }
  if (type.results.empty()) add(call);
}

void Translator::call(std::uint32_t function, bool tail, Operand* arguments, Operand* results) {
  called({.op = tail ? FunctionOp::tail_call : FunctionOp::call, .imm = function},
         type_registry::type(module_.functions[function].type), tail, arguments, results);
}

void Translator::call_indirect(TypeId type, std::uint32_t table, Value element, bool tail, Operand* arguments,
                               Operand* results) {
  called({.op = tail ? FunctionOp::tail_call_indirect : FunctionOp::call_indirect,
          .c = element,
          .imm = type | std::uint64_t{table} << 32},
         type_registry::type(type), tail, arguments, results);
}

void Translator::call_ref(TypeId type, Value callee, bool nullable, bool tail, Operand* arguments, Operand* results) {
  if (nullable) trap_if_null(callee, Trap::null_function);
  called({.op = tail ? FunctionOp::tail_call_ref : FunctionOp::call_ref, .c = callee, .imm = type},
         type_registry::type(type), tail, arguments, results);
}

std::uint32_t Translator::vector_pool(const std::uint8_t* bytes) {
  std::copy_n(bytes, 16, out_.vectors.emplace_back().begin());
  return std::uint32_t(out_.vectors.size() - 1);
}

Translator::Value Translator::plain(Opcode opcode, const Value* values, const Immediate& immediate) {
  switch (opcode) {
    case Opcode::nop:
      return 0;
    case Opcode::i32_const:
      return give({.op = FunctionOp::constant, .type = Type::i32, .imm = immediate.bits});
    case Opcode::i64_const:
      return give({.op = FunctionOp::constant, .type = Type::i64, .imm = immediate.bits});
    case Opcode::f32_const:
      return give({.op = FunctionOp::constant, .type = Type::f32, .imm = immediate.bits});
    case Opcode::f64_const:
      return give({.op = FunctionOp::constant, .type = Type::f64, .imm = immediate.bits});
    case Opcode::v128_const:
      return give({.op = FunctionOp::vector_constant, .type = Type::v128, .imm = vector_pool(immediate.bytes)});
    default:
      break;
  }
  const auto& row = translation(opcode);
  FunctionInstruction i{.op = row.op, .type = row.type, .flag = row.flag};
  const auto count = detail::shapes[std::size_t(opcode)].count;
  if (count > 0) i.a = values[0];
  if (count > 1) i.b = values[1];
  if (count > 2) i.c = values[2];
  if (immediate.bytes) i.imm = vector_pool(immediate.bytes);
  if (row.op == FunctionOp::vector) i.flag = std::uint16_t(i.flag | immediate.bits << 8);
  return give(i);
}

Translator::Value Translator::load(Opcode opcode, const MemoryArgument& argument, Value address, Value vector,
                                   const Immediate& lane) {
  const auto& row = access_row(opcode);
  const bool has_lane = detail::shapes[std::size_t(opcode)].immediate == 'n';
  FunctionInstruction i{.op = FunctionOp::load,
                        .type = row.type,
                        .flag = std::uint16_t(unsigned(row.memory) | (row.sign ? ir::load_signed : 0)),
                        .a = address,
                        .c = argument.memory,
                        .imm = argument.offset};
  const auto loaded = give(i);
  if (row.then == VectorOp::count) return loaded;
  FunctionInstruction then{.op = FunctionOp::vector,
                           .type = Type::v128,
                           .flag = std::uint16_t(unsigned(row.then) | lane.bits << 8),
                           .a = loaded};
  if (has_lane) then.a = vector, then.b = loaded;
  return give(then);
}

void Translator::store(Opcode opcode, const MemoryArgument& argument, Value address, Value value,
                       const Immediate& lane) {
  const auto& row = access_row(opcode);
  if (row.then != VectorOp::count)  // the vector's word is free then, but not the address's
    value = give_at({.op = FunctionOp::vector,
                     .type = row.type,
                     .flag = std::uint16_t(unsigned(row.then) | lane.bits << 8),
                     .a = value},
                    out_.code[value].slot);
  add({.op = FunctionOp::store,
       .type = row.type,
       .flag = std::uint16_t(row.memory),
       .a = address,
       .b = value,
       .c = argument.memory,
       .imm = argument.offset});
}

Translator::Value Translator::runtime(Routine routine, std::uint32_t first, std::uint32_t second,
                                      std::span<const Value> values, Type type) {
  FunctionInstruction i{.op = FunctionOp::runtime,
                        .type = type,
                        .flag = std::uint16_t(routine),
                        .a = pool(values),
                        .b = std::uint32_t(values.size()),
                        .imm = first | std::uint64_t{second} << 32};
  return type == Type::none ? add(i) : give(i);
}

Translator::Value Translator::bulk(Opcode opcode, std::uint32_t first, std::uint32_t second, const Value* values) {
  switch (opcode) {
    case Opcode::memory_size:
      return give({.op = FunctionOp::memory_size, .type = address_type(second), .imm = second});
    case Opcode::memory_grow:
      return runtime(Routine::memory_grow, second, 0, {values, 1}, address_type(second));
    case Opcode::memory_fill:
      return runtime(Routine::memory_fill, second, 0, {values, 3}, Type::none);
    case Opcode::memory_copy:
      return runtime(Routine::memory_copy, first, second, {values, 3}, Type::none);
    case Opcode::memory_init:
      return runtime(Routine::memory_init, first, second, {values, 3}, Type::none);
    case Opcode::data_drop:
      return runtime(Routine::data_drop, first, 0, {}, Type::none);
    default:
      return runtime(Routine::elem_drop, first, 0, {}, Type::none);
  }
}

Translator::Value Translator::table(Opcode opcode, std::uint32_t first, std::uint32_t table, const Value* values) {
  const auto address = module_.tables[table].type.limits.is64 ? Type::i64 : Type::i32;
  switch (opcode) {
    case Opcode::table_get:
      return give({.op = FunctionOp::table_get, .type = Type::ref, .a = values[0], .imm = table});
    case Opcode::table_set:
      return add({.op = FunctionOp::table_set, .type = Type::ref, .a = values[0], .b = values[1], .imm = table});
    case Opcode::table_size:
      return give({.op = FunctionOp::table_size, .type = address, .imm = table});
    case Opcode::table_grow:
      return runtime(Routine::table_grow, 0, table, {values, 2}, address);
    case Opcode::table_fill:
      return runtime(Routine::table_fill, 0, table, {values, 3}, Type::none);
    case Opcode::table_copy:
      return runtime(Routine::table_copy, first, table, {values, 3}, Type::none);
    default:
      return runtime(Routine::table_init, first, table, {values, 3}, Type::none);
  }
}

}  // namespace

ir::Type ir_type(ValueType type) {
  switch (type.kind()) {
    case ValueKind::i32:
      return Type::i32;
    case ValueKind::i64:
      return Type::i64;
    case ValueKind::f32:
      return Type::f32;
    case ValueKind::f64:
      return Type::f64;
    case ValueKind::v128:
      return Type::v128;
    default:
      return Type::ref;
  }
}

std::optional<ModuleError> translate(const Module& module, std::uint32_t function, ir::Function& out) {
  return Translator(module, function, out).run();
}

}  // namespace doppel::wasm
