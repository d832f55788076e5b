#include "ir/function_verify.h"

#include "ir/function_print.h"

namespace doppel::ir {
namespace {

class FunctionVerifier {
 public:
  explicit FunctionVerifier(const Function& function) : f_(function) {}

  Result<void> run() {
    if (f_.variable_at.size() != f_.variables.size() + 1) return error("variables have no places");
    if (f_.code.empty() || row(f_.code.back().op).effect != FunctionOpRow::Effect::ends)
      return error("the code does not end");
    for (at_ = 0; at_ < f_.code.size(); at_++) {
      const auto& i = f_.code[at_];
      if (i.op >= FunctionOp::count) return error("operation {} does not exist", at_);
      if (const auto* wrong = problem(i)) return error("operation {} ({}): {}", at_, print(f_, at_), wrong);
    }
    return {};
  }

 private:
  const char* problem(const FunctionInstruction& i) {
    for (const auto v : direct_arguments(i))
      if (v != no_value && !is_value(v)) return "an argument is no value that was given before";
    const auto list = argument_list(i);
    if (std::uint64_t{list.first} + list.count > f_.arguments.size()) return "it has more arguments than there are";
    for (const auto v : f_.list(list))
      if (!is_value(v)) return "an argument is no value that was given before";
    if (gives(i) && i.slot + words_of(result_type(i)) > f_.operand_words) return "its word is behind the frame";
    if (const auto* wrong = argument_types(i)) return wrong;
    if (const auto* wrong = target(i)) return wrong;
    return follows(i) ? nullptr : "a block's end is not where it is";
  }

  static bool gives(const FunctionInstruction& i) { return row(i.op).result != "-" && i.type != Type::none; }
  bool is_value(Value v) const { return v < at_ && gives(f_.code[v]); }
  Type type(Value v) const { return result_type(f_.code[v]); }

  /// Where the table says t, i or r.
  const char* argument_types(const FunctionInstruction& i) const {
    const auto letters = row(i.op).arguments;
    if (letters.find('*') != letters.npos) return nullptr;
    const auto arguments = direct_arguments(i);
    for (std::size_t n = 0; n < letters.size() && n < arguments.size(); n++) {
      if (letters[n] == '-' || arguments[n] == no_value) continue;
      const auto expected = letters[n] == 't'   ? i.type
                            : letters[n] == 'i' ? Type::i32
                            : letters[n] == 'r' ? Type::ref
                                                : type(arguments[n]);
      if (type(arguments[n]) != expected) return "an argument has another type";
    }
    if (i.op == FunctionOp::get_variable || i.op == FunctionOp::set_variable)
      if (i.imm >= f_.variables.size() || f_.variables[i.imm] != i.type) return "there is no such variable";
    return nullptr;
  }

  const char* target(const FunctionInstruction& i) const {
    if (i.op == FunctionOp::jump || i.op == FunctionOp::jump_if) return passes(i, i.imm);
    if (i.op != FunctionOp::jump_table) return nullptr;
    if (i.c + (i.imm >> 32) > f_.labels.size()) return "it has more labels than there are";
    for (std::uint64_t n = 0; n < i.imm >> 32; n++)
      if (const auto* wrong = passes(i, f_.labels[i.c + n])) return wrong;
    return nullptr;
  }
  const char* passes(const FunctionInstruction& i, std::uint64_t block) const {
    if (block >= f_.blocks.size()) return "there is no such block";
    const auto& to = f_.blocks[block];
    if (to.begin >= f_.code.size() || f_.code[to.begin].op != FunctionOp::block || f_.code[to.begin].imm != block)
      return "the block has no place";
    const auto list = f_.list(argument_list(i));
    if (list.size() != to.parameters) return "the block has another number of parameters";
    for (std::size_t n = 0; n < list.size(); n++) {
      const auto& parameter = f_.code[to.begin + 1 + n];
      if (parameter.op != FunctionOp::parameter || parameter.type != type(list[n]))
        return "a parameter of the block has another type";
    }
    return nullptr;
  }

  /// Behind what ends a block another one begins; parameters are at a block's begin.
  bool follows(const FunctionInstruction& i) const {
    const bool first = at_ == 0;
    const auto before = first ? FunctionOp::block : f_.code[at_ - 1].op;
    if (i.op == FunctionOp::parameter) return before == FunctionOp::block || before == FunctionOp::parameter;
    if (first || i.op == FunctionOp::block || before == FunctionOp::jump_if) return true;
    return row(before).effect != FunctionOpRow::Effect::ends;
  }

  const Function& f_;
  Value at_ = 0;
};

}  // namespace

Result<void> verify(const Function& function) { return FunctionVerifier(function).run(); }

}  // namespace doppel::ir
