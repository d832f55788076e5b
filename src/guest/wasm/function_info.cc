#include "guest/wasm/function_info.h"

#include <algorithm>
#include <utility>

#include "guest/wasm/body_form.h"
#include "guest/wasm/function_decoder.h"

namespace doppel::wasm {
namespace {

/// Hears of a function's branches. An operand's value is how many words lie below it.
class BranchRecorder {
 public:
  struct Value {
    std::uint32_t below = 0;
  };
  struct Block {
    std::uint32_t height = 0;            // words below its parameters
    std::uint32_t begin = 0, first = 0;  // of a loop: where it goes on, and the first entry there
    std::vector<std::uint32_t> to_end;   // entries that wait for it
    std::uint32_t to_else = none;        // of an if
  };
  using Decoder = FunctionDecoder<BranchRecorder>;
  using Operand = Decoder::Operand;
  using Control = Decoder::Control;

  /// `place` is the byte of an instruction whose operands are asked for, if any is.
  explicit BranchRecorder(FunctionInfo& info, std::uint32_t place = none) : info_(info), place_(place) {}
  void attach(Decoder& decoder) { decoder_ = &decoder; }
  std::optional<std::uint32_t> operand_words() const { return operand_words_; }

  void instruction() {
    if (decoder_->at() == place_) operand_words_ = below(decoder_->operands().size());
  }

  void begin() {
    std::uint32_t offset = 0;
    for (std::size_t n = 0; n < decoder_->locals().size(); n++) {
      if (n == decoder_->type().parameters.size()) info_.parameter_words = offset;
      info_.local_offset.push_back(offset);
      offset += decoder_->locals()[n].words();
    }
    info_.local_offset.push_back(offset);
    if (decoder_->locals().size() == decoder_->type().parameters.size()) info_.parameter_words = offset;
    info_.local_words = offset;
    info_.result_words = words(decoder_->type().results);
    info_.code_begin = decoder_->behind();
  }

  void block(Control& control) { control.block.height = height_of(control); }
  void loop(Control& control, Operand*) {
    control.block.height = height_of(control);
    control.block.begin = decoder_->behind();
    control.block.first = next();
  }
  void if_(Control& control, Value, Operand*) {
    control.block.height = height_of(control);
    control.block.to_else = next();
    add(0, control.block.height);
    info_.branches.back().keep = std::uint16_t(words(control.type.parameters()));
  }
  void else_(Control& control, Operand* operands, Operand* parameters) {
    if (operands != nullptr) branch(control, operands);
    land(control.block.to_else, decoder_->behind());
    control.block.to_else = none;
    auto below = control.block.height;
    for (const auto type : control.type.parameters())
      (parameters++)->value.below = std::exchange(below, below + type.words());
  }
  void end(Control& control, Operand*) {
    // The function's own end is executed: it returns.
    const auto to = control.kind == ControlKind::function ? decoder_->at() : decoder_->behind();
    if (to == place_ && control.kind == ControlKind::function) operand_words_ = info_.result_words;
    for (const auto entry : control.block.to_end) land(entry, to);
    if (control.block.to_else != none) land(control.block.to_else, to);
  }
  void results(Control&, Operand* operands) { place(operands); }

  void br(Control& to, Operand* operands) { branch(to, operands); }
  void br_if(Control& to, Value, Operand* operands) { branch(to, operands); }
  void br_on_null(Control& to, Value, Operand* operands) { branch(to, operands); }
  void br_on_non_null(Control& to, Value, Operand* operands) { branch(to, operands); }
  void br_table(Value, std::span<const std::uint32_t> depths, Operand* operands) {
    for (const auto depth : depths) branch(decoder_->control(depth), operands);
  }
  void return_(Operand*) {}
  void unreachable() {}

  void call(std::uint32_t, bool, Operand*, Operand* results) { place(results); }
  void call_ref(TypeId, Value, bool, bool, Operand*, Operand* results) { place(results); }
  void call_indirect(TypeId, std::uint32_t, Value, bool, Operand*, Operand* results) { place(results); }

  Value plain(Opcode, const Value*, const Immediate&) { return make(); }
  Value load(Opcode, const MemoryArgument&, Value, Value, const Immediate&) { return make(); }
  void store(Opcode, const MemoryArgument&, Value, Value, const Immediate&) {}
  Value bulk(Opcode, std::uint32_t, std::uint32_t, const Value*) { return make(); }
  Value table(Opcode, std::uint32_t, std::uint32_t, const Value*) { return make(); }
  Value select(ValueType type, Value, Value, Value) {
    note_width(type);
    return make();
  }
  Value local_get(std::uint32_t) { return make(); }
  void local_set(std::uint32_t, Value) {}
  Value global_get(std::uint32_t) { return make(); }
  void global_set(std::uint32_t, Value) {}
  Value ref_null() { return make(); }
  Value ref_func(std::uint32_t) { return make(); }
  Value ref_is_null(Value) { return make(); }
  void ref_as_non_null(Value) {}
  void drop(ValueType type, Value) { note_width(type); }

 private:
  static constexpr std::uint32_t none = ~0U;
  static std::uint32_t words(std::span<const ValueType> types) {
    std::uint32_t sum = 0;
    for (const auto type : types) sum += type.words();
    return sum;
  }

  std::uint32_t next() const { return std::uint32_t(info_.branches.size()); }
  std::uint32_t above(const Operand& operand) const { return operand.value.below + operand.type.words(); }
  /// The words below operand `n`, all of those before it being in their places.
  std::uint32_t below(std::size_t n) const { return n == 0 ? 0 : above(decoder_->operands()[n - 1]); }
  /// Below a block's parameters, which are on the stack.
  std::uint32_t height_of(const Control& control) const { return below(control.height); }
  void note_width(ValueType type) {
    if (type == v128) info_.wide.push_back(decoder_->at());
  }
  /// Something that is pushed next.
  Value make() {
    constexpr std::uint32_t most_words = 2;
    const auto height = below(decoder_->operands().size());
    info_.max_operand_words = std::max(info_.max_operand_words, height + most_words);
    return {height};
  }
  /// Gives the operands from `first` on their places.
  void place(Operand* first) {
    const auto operands = decoder_->operands();
    for (auto n = std::size_t(first - operands.data()); n < operands.size(); n++) operands[n].value.below = below(n);
    if (!operands.empty()) info_.max_operand_words = std::max(info_.max_operand_words, above(operands.back()));
  }
  void add(std::uint16_t keep, std::uint32_t drop_to) {
    info_.branches.push_back({.at = decoder_->at(), .drop_to = drop_to, .keep = keep});
  }
  void land(std::uint32_t entry, std::uint32_t pc) {
    info_.branches[entry].pc = pc, info_.branches[entry].next = next();
  }
  void branch(Control& to, Operand*) {
    const auto entry = next();
    add(std::uint16_t(words(to.label())), to.kind == ControlKind::function ? 0 : to.block.height);
    if (to.kind == ControlKind::loop)
      info_.branches[entry].pc = to.block.begin, info_.branches[entry].next = to.block.first;
    else
      to.block.to_end.push_back(entry);
  }

  FunctionInfo& info_;
  std::uint32_t place_;
  std::optional<std::uint32_t> operand_words_;
  Decoder* decoder_ = nullptr;
};

}  // namespace

std::variant<FunctionInfo, ModuleError> function_info(const Module& module, std::uint32_t function) {
  FunctionInfo info;
  BranchRecorder recorder(info);
  BranchRecorder::Decoder decoder(module, function, recorder);
  recorder.attach(decoder);
  if (auto wrong = decoder.run()) return std::move(*wrong);
  return info;
}

std::optional<std::uint32_t> operand_words(const Module& module, std::uint32_t function, std::uint32_t pc) {
  FunctionInfo info;
  BranchRecorder recorder(info, pc);
  BranchRecorder::Decoder decoder(module, function, recorder);
  recorder.attach(decoder);
  if (decoder.run()) return {};
  return recorder.operand_words();
}

std::optional<ModuleError> validate_function(const Module& module, std::uint32_t function) {
  auto info = function_info(module, function);
  if (auto* wrong = std::get_if<ModuleError>(&info)) return std::move(*wrong);
  return std::nullopt;
}

std::optional<ModuleError> validate(const Module& module) {
  auto wrong = validate_module(module);
  for (auto n = module.imported_functions; n < module.functions.size() && !wrong; n++)
    wrong = validate_function(module, n);
  if (!wrong) return std::nullopt;
  // What has no form comes before what has no meaning, wherever it lies.
  if (auto malformed = find_malformed_body(module)) return malformed;
  return wrong;
}

}  // namespace doppel::wasm
