#include "guest/wasm/text/expression.h"

#include "guest/wasm/text/keyword.h"
#include "guest/wasm/text/type_syntax.h"

namespace doppel::wasm::text {

namespace {

constexpr std::string_view hint_id = "metadata.code.branch_hint";

bool is_block(Opcode opcode) {
  return opcode == Opcode::block || opcode == Opcode::loop || opcode == Opcode::if_ || opcode == Opcode::try_table;
}

/// The instruction that a word means; none where a word cannot be one.
Opcode opcode_of(const Cursor& cursor, const Token& token) {
  return token.kind == TokenKind::keyword ? find_opcode(cursor.spelling(token)) : Opcode::count;
}

}  // namespace

ExpressionAssembler::ExpressionAssembler(Assembly& assembly, const IndexSpace& locals, Encoder& out,
                                         FunctionNotes* notes)
    : assembly_(assembly), cursor_(assembly.cursor), out_(out), notes_(notes), scope_{assembly, locals, labels_} {}

void ExpressionAssembler::all() {
  while (step()) {
  }
  emit_end(cursor_.peek().offset);
}

void ExpressionAssembler::one_folded() {
  if (!cursor_.at(TokenKind::open)) return cursor_.unexpected();
  do step();
  while (!frames_.empty() && !cursor_.failed());
  emit_end(cursor_.peek().offset);
}

bool ExpressionAssembler::takes_operands_only() const {
  return !frames_.empty() && frames_.back().open <= Open::after_else;
}

/// Takes the next instruction or parenthesis; false at the end of all.
bool ExpressionAssembler::step() {
  if (cursor_.failed()) return false;
  if (cursor_.at(TokenKind::open)) {
    open_parenthesis();
    return true;
  }
  if (cursor_.at(TokenKind::close)) {
    if (frames_.empty()) return false;
    close_parenthesis();
    return true;
  }
  const auto position = cursor_.position();
  const auto opcode = opcode_of(cursor_, cursor_.peek());
  if (opcode == Opcode::count || takes_operands_only()) {
    cursor_.unexpected();
    return false;
  }
  const auto hint = take_hint(opcode, position);
  flat(opcode, cursor_.take(), hint);
  return true;
}

void ExpressionAssembler::open_parenthesis() {
  if (!frames_.empty()) {
    auto& frame = frames_.back();
    if (frame.open == Open::condition && cursor_.at_open("then")) return open_branch_of_if(frame);
    if (frame.open == Open::after_then && cursor_.at_open("else")) return open_branch_of_if(frame);
    if (frame.open == Open::after_then || frame.open == Open::after_else) return cursor_.unexpected();
  }
  const auto position = cursor_.position();
  cursor_.take();
  const auto opcode = opcode_of(cursor_, cursor_.peek());
  if (opcode == Opcode::count || opcode == Opcode::end || opcode == Opcode::else_) return cursor_.unexpected();
  const auto hint = take_hint(opcode, position);
  folded(opcode, cursor_.take(), hint);
}

/// The `if` itself comes behind its condition.
void ExpressionAssembler::open_branch_of_if(Frame& frame) {
  const auto token = cursor_.take();
  cursor_.take();
  if (frame.open == Open::condition) {
    emit_pending(frame);
    enter(std::move(conditions_.back()));
    conditions_.pop_back();
    frame.open = Open::then;
  } else {
    note_place(token.offset);
    encode_opcode(Opcode::else_, out_);
    frame.open = Open::otherwise;
  }
}

void ExpressionAssembler::folded(Opcode opcode, const Token& token, std::optional<std::uint8_t> hint) {
  const auto pending = pending_.size();
  if (!is_block(opcode)) {
    frames_.push_back({Open::operands, token.offset, pending, hint});
    assemble_instruction(scope_, opcode, pending_);
    return;
  }
  auto name = label();
  if (opcode == Opcode::if_) {
    assemble_instruction(scope_, opcode, pending_);
    frames_.push_back({Open::condition, token.offset, pending, hint});
    conditions_.push_back(std::move(name));
    return;
  }
  note_place(token.offset);
  assemble_instruction(scope_, opcode, out_);
  enter(std::move(name));
  frames_.push_back({Open::block, token.offset, 0, {}});
}

void ExpressionAssembler::flat(Opcode opcode, const Token& token, std::optional<std::uint8_t> hint) {
  if (opcode == Opcode::end) return flat_end(token);
  if (opcode == Opcode::else_) return flat_else(token);
  auto name = is_block(opcode) ? label() : Label{};
  note_hint(hint);
  note_place(token.offset);
  assemble_instruction(scope_, opcode, out_);
  if (!is_block(opcode)) return;
  enter(std::move(name));
  const auto open = opcode == Opcode::if_ ? Open::flat_if : Open::flat_block;
  frames_.push_back({open, token.offset, 0, {}});
}

void ExpressionAssembler::close_parenthesis() {
  auto& frame = frames_.back();
  switch (frame.open) {
    case Open::operands:
      emit_pending(frame);
      frames_.pop_back();
      break;
    case Open::then:
      frame.open = Open::after_then;
      break;
    case Open::otherwise:
      frame.open = Open::after_else;
      break;
    case Open::block:
    case Open::after_then:
    case Open::after_else:
      labels_.pop();
      emit_end(cursor_.peek().offset);
      frames_.pop_back();
      break;
    default:
      return cursor_.unexpected();
  }
  cursor_.take();
}

/// The label that `end` and `else` may repeat.
void ExpressionAssembler::check_label() {
  if (!cursor_.at(TokenKind::identifier)) return;
  const auto token = cursor_.peek();
  if (cursor_.identifier() != labels_.innermost()) cursor_.fail_at(token, "mismatching label");
}

void ExpressionAssembler::flat_end(const Token& token) {
  if (frames_.empty() || frames_.back().open < Open::flat_block) return cursor_.fail_at(token, "unexpected token end");
  check_label();
  labels_.pop();
  frames_.pop_back();
  emit_end(token.offset);
}

void ExpressionAssembler::flat_else(const Token& token) {
  if (frames_.empty() || frames_.back().open != Open::flat_if) return cursor_.fail_at(token, "unexpected token else");
  check_label();
  frames_.back().open = Open::flat_else;
  note_place(token.offset);
  encode_opcode(Opcode::else_, out_);
}

/// The identifier of a block and the name that it has, perhaps by an annotation.
ExpressionAssembler::Label ExpressionAssembler::label() {
  Label label;
  if (cursor_.at(TokenKind::identifier)) label.identifier = cursor_.identifier();
  const auto* annotation = assembly_.annotations.take(cursor_.position(), "name");
  label.name = annotation != nullptr ? annotated_name(cursor_, *annotation) : label.identifier;
  return label;
}

void ExpressionAssembler::enter(Label label) {
  if (notes_ != nullptr && !label.name.empty()) notes_->labels[blocks_] = std::move(label.name);
  blocks_++;
  labels_.push(std::move(label.identifier));
}

void ExpressionAssembler::emit_pending(const Frame& frame) {
  note_hint(frame.hint);
  note_place(frame.token_offset);
  out_.raw(std::span(pending_.bytes).subspan(frame.pending));
  pending_.bytes.resize(frame.pending);
}

void ExpressionAssembler::emit_end(std::uint32_t token_offset) {
  note_place(token_offset);
  encode_opcode(Opcode::end, out_);
}

void ExpressionAssembler::note_place(std::uint32_t token_offset) {
  auto place = cursor_.list().place(token_offset);
  place.offset = out_.size();
  places_.push_back(place);
}

/// What an annotation before the instruction says of its branch.
std::optional<std::uint8_t> ExpressionAssembler::take_hint(Opcode opcode, std::uint32_t position) {
  const auto* annotation = assembly_.annotations.take(position, hint_id);
  if (annotation == nullptr) return {};
  auto inside = Cursor::over(cursor_.list(), *annotation);
  std::string value;
  while (inside.at(TokenKind::string)) value += inside.string();
  const bool well_formed = inside.at_end() && value.size() == 1 && std::uint8_t(value[0]) <= 1;
  if (const auto* second = assembly_.annotations.take(position, hint_id))
    fail_annotation(cursor_, *second, "duplicate annotation");
  else if (!well_formed)
    fail_annotation(cursor_, *annotation, "unexpected token");
  else if (notes_ == nullptr)
    fail_annotation(cursor_, *annotation, "not in a function");
  else if (opcode != Opcode::if_ && opcode != Opcode::br_if)
    fail_annotation(cursor_, *annotation, "invalid target");
  else
    return std::uint8_t(value[0]);
  return {};
}

void ExpressionAssembler::note_hint(std::optional<std::uint8_t> hint) {
  if (hint && notes_ != nullptr) notes_->hints.push_back({out_.size(), *hint});
}

}  // namespace doppel::wasm::text
