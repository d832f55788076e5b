#pragma once
// Instructions, folded or not (core specification, 6.5), in a function's body or a constant expression. What is nested
// is kept on a stack of its own, so any depth will do.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "guest/wasm/text/assembly.h"
#include "guest/wasm/text/immediates.h"
#include "guest/wasm/text/label_scope.h"

namespace doppel::wasm::text {

class ExpressionAssembler {
 public:
  /// Instructions go to the end of `out`. `notes` gets labels' names and branch hints; it may be null where there are
  /// none.
  ExpressionAssembler(Assembly& assembly, const IndexSpace& locals, Encoder& out, FunctionNotes* notes);

  /// Assembles up to the parenthesis that closes what the instructions stand in, and the final `end`.
  void all();
  /// Assembles one folded instruction, and the final `end`.
  void one_folded();

  /// Where the instructions came from; offsets in `out`.
  const std::vector<SourcePlace>& places() const { return places_; }

 private:
  /// What is open: a parenthesis, or a block without one.
  enum class Open : std::uint8_t {
    operands,
    condition,
    after_then,
    after_else,  ///< these four take no instructions but folded ones, or none
    block,
    then,
    otherwise,
    flat_block,  ///< this and what follows end without a parenthesis
    flat_if,
    flat_else,
  };
  struct Frame {
    Open open;
    std::uint32_t token_offset;  ///< of the instruction in the text
    std::uint32_t pending = 0;   ///< operands, condition: where its bytes begin in pending_
    std::optional<std::uint8_t> hint;
  };
  struct Label {
    std::string identifier, name;
  };

  bool step();
  void open_parenthesis();
  void open_branch_of_if(Frame& frame);
  void folded(Opcode opcode, const Token& token, std::optional<std::uint8_t> hint);
  void flat(Opcode opcode, const Token& token, std::optional<std::uint8_t> hint);
  void close_parenthesis();
  void flat_end(const Token& token);
  void flat_else(const Token& token);
  void check_label();

  Label label();
  void enter(Label label);
  void emit_pending(const Frame& frame);
  void emit_end(std::uint32_t token_offset);
  void note_place(std::uint32_t token_offset);
  std::optional<std::uint8_t> take_hint(Opcode opcode, std::uint32_t position);
  void note_hint(std::optional<std::uint8_t> hint);
  bool takes_operands_only() const;

  Assembly& assembly_;
  Cursor& cursor_;
  Encoder& out_;
  FunctionNotes* notes_;
  Encoder pending_;  ///< instructions whose operands are not over
  std::vector<Frame> frames_;
  std::vector<Label> conditions_;  ///< the labels of the blocks that begin at the `then` of those that are open
  LabelScope labels_;
  InstructionScope scope_;
  std::vector<SourcePlace> places_;
  std::uint32_t blocks_ = 0;
};

}  // namespace doppel::wasm::text
