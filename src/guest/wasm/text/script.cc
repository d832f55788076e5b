#include "guest/wasm/text/script.h"

#include <algorithm>
#include <array>

#include "guest/wasm/text/assemble_tokens.h"
#include "guest/wasm/text/cursor.h"
#include "guest/wasm/text/script_value.h"

namespace doppel::wasm::text {

namespace {

/// What stands in a command of each kind, in order.
enum class Part : std::uint8_t { nothing, action, module, action_or_module, results, message };
struct Form {
  std::string_view word;
  Command::Kind kind;
  std::array<Part, 2> parts;
};
constexpr Form assertions[] = {
    {"assert_return", Command::Kind::assert_return, {Part::action, Part::results}},
    {"assert_trap", Command::Kind::assert_trap, {Part::action_or_module, Part::message}},
    {"assert_exhaustion", Command::Kind::assert_exhaustion, {Part::action, Part::message}},
    {"assert_exception", Command::Kind::assert_exception, {Part::action, Part::nothing}},
    {"assert_malformed", Command::Kind::assert_malformed, {Part::module, Part::message}},
    {"assert_malformed_custom", Command::Kind::assert_malformed_custom, {Part::module, Part::message}},
    {"assert_invalid", Command::Kind::assert_invalid, {Part::module, Part::message}},
    {"assert_invalid_custom", Command::Kind::assert_invalid_custom, {Part::module, Part::message}},
    {"assert_unlinkable", Command::Kind::assert_unlinkable, {Part::module, Part::message}},
};
constexpr std::string_view field_words[] = {"type", "rec",    "import", "func",  "table", "memory",
                                            "tag",  "global", "export", "start", "elem",  "data"};

std::string dollar(Cursor& cursor) {
  return cursor.at(TokenKind::identifier) ? "$" + cursor.identifier() : std::string();
}

class ScriptParser {
 public:
  explicit ScriptParser(std::string_view text)
      : list_(tokenize(text)), cursor_(list_, 0, std::uint32_t(list_.tokens.size()) - 1) {}

  std::variant<std::vector<Command>, TextError> run() {
    while (!cursor_.at_end()) command();
    if (!cursor_.failed() && list_.error) cursor_.unexpected();
    if (cursor_.failed()) return *cursor_.error();
    return std::move(commands_);
  }

 private:
  void command();
  void bare_module();
  void module_command(Command& command);
  void register_command(Command& command);
  void assertion(const Form& form, Command& command);
  void part(Part part, Command& command);
  ScriptModule module();
  void binary_module(ScriptModule& module);
  void quoted_module(ScriptModule& module);
  void text_module(ScriptModule& module, std::uint32_t begin);
  Action action();
  bool at_field() const { return std::ranges::find(field_words, cursor_.word_after_open()) != std::end(field_words); }

  TokenList list_;
  Cursor cursor_;
  std::vector<Command> commands_;
};

void ScriptParser::command() {
  if (at_field()) return bare_module();
  Command command;
  command.line = list_.place(cursor_.peek().offset).line;
  const auto word = cursor_.word_after_open();
  const auto* form = std::ranges::find(assertions, word, &Form::word);
  if (word == "module") {
    module_command(command);
  } else if (word == "register") {
    register_command(command);
  } else if (word == "invoke" || word == "get") {
    command.kind = Command::Kind::action;
    command.action = action();
  } else if (form != std::end(assertions)) {
    assertion(*form, command);
  } else {
    if (cursor_.at(TokenKind::open)) cursor_.take();
    return cursor_.unexpected();
  }
  commands_.push_back(std::move(command));
}

/// Fields without `(module`, up to the next command.
void ScriptParser::bare_module() {
  Command command;
  command.line = list_.place(cursor_.peek().offset).line;
  const auto begin = cursor_.position();
  while (at_field()) {
    cursor_.take();
    if (!cursor_.skip_group()) return cursor_.unexpected();
  }
  command.module.emplace();
  command.module->module = assemble_tokens(list_, begin, cursor_.position(), ModulePlace::script);
  commands_.push_back(std::move(command));
}

void ScriptParser::module_command(Command& command) {
  if (!cursor_.at_keyword("instance", 2)) {
    command.module = module();
    return;
  }
  command.kind = Command::Kind::instance;
  for (int n = 0; n < 3; n++) cursor_.take();
  command.instance.id = dollar(cursor_);
  command.instance.of = dollar(cursor_);
  cursor_.close();
}

void ScriptParser::register_command(Command& command) {
  command.kind = Command::Kind::register_;
  cursor_.expect_open("register");
  command.as = cursor_.name();
  command.id = dollar(cursor_);
  cursor_.close();
}

void ScriptParser::assertion(const Form& form, Command& command) {
  command.kind = form.kind;
  cursor_.expect_open(form.word);
  for (const auto p : form.parts) part(p, command);
  cursor_.close();
}

void ScriptParser::part(Part p, Command& command) {
  switch (p) {
    case Part::nothing:
      break;
    case Part::action_or_module:
      return part(cursor_.at_open("module") ? Part::module : Part::action, command);
    case Part::action:
      command.action = action();
      break;
    case Part::module:
      command.module = module();
      break;
    case Part::results:
      while (cursor_.at(TokenKind::open)) command.results.push_back(expected_value(cursor_));
      break;
    case Part::message:
      command.message = cursor_.string();
      break;
  }
}

/// `(module definition? $id? binary|quote? …)`.
ScriptModule ScriptParser::module() {
  ScriptModule module;
  const auto begin = cursor_.position();
  if (!cursor_.expect_open("module")) return module;
  module.definition = cursor_.take_keyword("definition");
  module.id = dollar(cursor_);
  if (cursor_.take_keyword("binary"))
    binary_module(module);
  else if (cursor_.take_keyword("quote"))
    quoted_module(module);
  else
    text_module(module, begin);
  return module;
}

void ScriptParser::binary_module(ScriptModule& module) {
  AssembledModule assembled;
  while (cursor_.at(TokenKind::string)) {
    const auto bytes = cursor_.string();
    assembled.bytes.insert(assembled.bytes.end(), bytes.begin(), bytes.end());
  }
  cursor_.close();
  module.module = std::move(assembled);
}

void ScriptParser::quoted_module(ScriptModule& module) {
  module.quoted = true;
  std::string text;
  while (cursor_.at(TokenKind::string)) {
    if (!text.empty()) text += ' ';
    text += cursor_.string();
  }
  cursor_.close();
  module.module = assemble(text);
}

void ScriptParser::text_module(ScriptModule& module, std::uint32_t begin) {
  if (!cursor_.skip_group()) return cursor_.unexpected();
  module.module = assemble_tokens(list_, begin, cursor_.position(), ModulePlace::script);
}

Action ScriptParser::action() {
  Action action;
  action.kind = cursor_.at_open("get") ? Action::Kind::get : Action::Kind::invoke;
  if (!cursor_.take_open("get") && !cursor_.expect_open("invoke")) return action;
  action.module = dollar(cursor_);
  action.name = cursor_.name();
  if (action.kind == Action::Kind::invoke)
    while (cursor_.at(TokenKind::open)) action.arguments.push_back(argument_value(cursor_));
  cursor_.close();
  return action;
}

}  // namespace

std::variant<std::vector<Command>, TextError> parse_script(std::string_view text) { return ScriptParser(text).run(); }

}  // namespace doppel::wasm::text
