#include "guest/wasm/script_runner.h"

#include <fmt/format.h>

#include "guest/wasm/script_values.h"

namespace doppel::wasm {
namespace {

using text::Command;
using text::ScriptModule;
using text::TextError;

/// What is wrong with a command; nothing where it does what it should.
using Complaint = std::optional<std::string>;
/// A module, or why it is none: whether in form, and how that is called.
struct Refusal {
  bool malformed = false;
  std::string message;
};
using Loaded = std::variant<std::shared_ptr<const Module>, Refusal>;

Loaded load(const ScriptModule& source) {
  if (const auto* wrong = std::get_if<TextError>(&source.module)) return Refusal{true, wrong->message};
  auto bytes = std::make_shared<const std::vector<std::uint8_t>>(std::get<0>(source.module).bytes);
  auto parsed = parse_module(std::move(bytes));
  if (const auto* wrong = std::get_if<ModuleError>(&parsed)) return Refusal{wrong->malformed, wrong->message};
  auto module = std::make_shared<const Module>(std::get<Module>(std::move(parsed)));
  if (const auto wrong = validate(*module)) return Refusal{wrong->malformed, wrong->message};
  return module;
}

Complaint compare_messages(std::string_view wanted, std::string_view found) {
  if (found.starts_with(wanted)) return {};
  return fmt::format("\"{}\" is expected and not \"{}\"", wanted, found);
}

std::string spelling(const Stop& stop) {
  switch (stop.kind) {
    case Stop::Kind::finished:
      return "finished";
    case Stop::Kind::trapped:
      return fmt::format("trapped: {}", spelling(stop.trap));
    case Stop::Kind::ended:
      return fmt::format("ended with {}", stop.status);
    case Stop::Kind::exhausted:
      return "not finished";
    case Stop::Kind::waits:
      return "waiting";
  }
  return {};
}

/// A script's run: its modules by their names in it and by those they are registered under.
class ScriptRun {
 public:
  explicit ScriptRun(Runner& runner) : runner_(runner), spectest_(Spectest::add_to(store_)) {}
  Complaint run(const Command& command);

 private:
  struct Instantiated {
    Instance* instance = nullptr;  // null: `message` says why not
    bool trapped = false;
    std::string message{};
  };

  Instantiated instantiate(const std::shared_ptr<const Module>& module);
  std::optional<Extern> resolve(std::string_view module, std::string_view name) const;
  std::variant<CallOutcome, std::string> act(const text::Action& action);
  Instance* find(const std::string& id) const;

  Complaint module(const ScriptModule& source);
  Complaint instance(const text::ScriptInstance& names);
  Complaint add(const std::string& id, const std::shared_ptr<const Module>& module);
  Complaint register_(const Command& command);
  Complaint action(const Command& command);
  Complaint assert_return(const Command& command);
  Complaint assert_trap(const Command& command);
  Complaint assert_instantiation_fails(const Command& command, bool trapped);
  Complaint assert_refused(const Command& command, std::optional<bool> malformed);

  Runner& runner_;
  Store store_;
  Result<Spectest> spectest_;
  std::map<std::string, std::shared_ptr<const Module>> definitions_;  // "": the latest
  std::map<std::string, Instance*> instances_;                        // "": the latest
  std::map<std::string, Instance*, std::less<>> registered_;
};

Complaint ScriptRun::run(const Command& command) {
  switch (command.kind) {
    case Command::Kind::module:
      return module(*command.module);
    case Command::Kind::instance:
      return instance(command.instance);
    case Command::Kind::register_:
      return register_(command);
    case Command::Kind::action:
      return action(command);
    case Command::Kind::assert_return:
      return assert_return(command);
    case Command::Kind::assert_trap:
    case Command::Kind::assert_exhaustion:
      return command.module ? assert_instantiation_fails(command, true) : assert_trap(command);
    case Command::Kind::assert_unlinkable:
      return assert_instantiation_fails(command, false);
    case Command::Kind::assert_malformed:
      return assert_refused(command, true);
    case Command::Kind::assert_invalid:
      return assert_refused(command, false);
    case Command::Kind::assert_malformed_custom:
    case Command::Kind::assert_invalid_custom:
      return assert_refused(command, {});  // annotations are refused as text
    case Command::Kind::assert_exception:
      return "exceptions are not supported";
  }
  return {};
}

std::optional<Extern> ScriptRun::resolve(std::string_view module, std::string_view name) const {
  if (module == "spectest" && spectest_.ok()) return spectest_->find(name);
  const auto found = registered_.find(module);
  if (found == registered_.end()) return {};
  const Export* const e = found->second->module->find_export(name);
  return e ? std::optional(store_.exported(*found->second, *e)) : std::nullopt;
}

ScriptRun::Instantiated ScriptRun::instantiate(const std::shared_ptr<const Module>& module) {
  auto made = store_.instantiate(module, [this](auto from, auto name) { return resolve(from, name); });
  if (const auto* failure = std::get_if<InstantiationError>(&made))
    return {.trapped = failure->kind == InstantiationError::Kind::trapped, .message = failure->message};
  Instance* const instance = std::get<Instance*>(made);
  if (!module->start) return {.instance = instance};
  const auto [stop, results] = runner_.call(store_, instance->functions[*module->start], {});
  if (stop.kind == Stop::Kind::finished) return {.instance = instance};
  return {.trapped = stop.kind == Stop::Kind::trapped, .message = std::string(wasm::spelling(stop.trap))};
}

Instance* ScriptRun::find(const std::string& id) const {
  const auto found = instances_.find(id);
  return found == instances_.end() ? nullptr : found->second;
}

std::variant<CallOutcome, std::string> ScriptRun::act(const text::Action& action) {
  const Instance* const instance = find(action.module);
  if (!instance) return fmt::format("there is no module {}", action.module);
  const Export* const e = instance->module->find_export(action.name);
  if (!e) return fmt::format("nothing is exported as \"{}\"", action.name);
  const Extern found = store_.exported(*instance, *e);
  if (action.kind == text::Action::Kind::get) {
    if (found.kind != ExternKind::global) return fmt::format("\"{}\" is no global", action.name);
    return CallOutcome{{}, {store_.globals[found.number].value}};
  }
  if (found.kind != ExternKind::function) return fmt::format("\"{}\" is no function", action.name);
  std::vector<Cell> arguments;
  for (const auto& value : action.arguments) arguments.push_back(value.cell);
  if (arguments.size() != store_.type_of(found.number).parameters.size())
    return fmt::format("\"{}\" has other parameters", action.name);
  return runner_.call(store_, found.number, arguments);
}

Complaint ScriptRun::add(const std::string& id, const std::shared_ptr<const Module>& module) {
  instances_.erase("");
  const auto made = instantiate(module);
  if (!made.instance) return "is not instantiated: " + made.message;
  instances_[""] = made.instance;
  instances_[id] = made.instance;
  return {};
}

Complaint ScriptRun::module(const ScriptModule& source) {
  instances_.erase("");
  auto loaded = load(source);
  if (const auto* refusal = std::get_if<Refusal>(&loaded)) return "is refused: " + refusal->message;
  const auto& module = std::get<0>(loaded);
  definitions_[""] = module;
  definitions_[source.id] = module;
  return source.definition ? Complaint() : add(source.id, module);
}

Complaint ScriptRun::instance(const text::ScriptInstance& names) {
  const auto definition = definitions_.find(names.of);
  if (definition == definitions_.end()) return "there is no definition " + names.of;
  return add(names.id, definition->second);
}

Complaint ScriptRun::register_(const Command& command) {
  Instance* const instance = find(command.id);
  if (!instance) return "there is no module " + command.id;
  registered_[command.as] = instance;
  return {};
}

Complaint ScriptRun::action(const Command& command) {
  const auto outcome = act(*command.action);
  if (const auto* complaint = std::get_if<std::string>(&outcome)) return *complaint;
  const Stop& stop = std::get<CallOutcome>(outcome).stop;
  return stop.kind == Stop::Kind::finished ? Complaint() : spelling(stop);
}

Complaint ScriptRun::assert_return(const Command& command) {
  const auto outcome = act(*command.action);
  if (const auto* complaint = std::get_if<std::string>(&outcome)) return *complaint;
  const auto& [stop, results] = std::get<CallOutcome>(outcome);
  if (stop.kind != Stop::Kind::finished) return spelling(stop);
  if (matches(command.results, results)) return {};
  return fmt::format("{} is expected and not {}", wasm::spelling(command.results), wasm::spelling(results));
}

Complaint ScriptRun::assert_trap(const Command& command) {
  const auto outcome = act(*command.action);
  if (const auto* complaint = std::get_if<std::string>(&outcome)) return *complaint;
  const Stop& stop = std::get<CallOutcome>(outcome).stop;
  if (stop.kind != Stop::Kind::trapped) return spelling(stop);
  if (command.message.starts_with(wasm::spelling(stop.trap))) return {};  // some say which element
  return compare_messages(command.message, wasm::spelling(stop.trap));
}

Complaint ScriptRun::assert_instantiation_fails(const Command& command, bool trapped) {
  const auto loaded = load(*command.module);
  if (const auto* refusal = std::get_if<Refusal>(&loaded)) return "is refused: " + refusal->message;
  const auto made = instantiate(std::get<0>(loaded));
  if (made.instance) return "is instantiated";
  if (made.trapped != trapped) return "is not instantiated: " + made.message;
  return compare_messages(command.message, made.message);
}

Complaint ScriptRun::assert_refused(const Command& command, std::optional<bool> malformed) {
  const auto loaded = load(*command.module);
  const auto* refusal = std::get_if<Refusal>(&loaded);
  if (!refusal) return fmt::format("is taken, \"{}\" is expected", command.message);
  if (malformed && refusal->malformed != *malformed)
    return fmt::format("\"{}\" is said to be {}", refusal->message, *malformed ? "invalid" : "malformed");
  return compare_messages(command.message, refusal->message);
}

}  // namespace

CallOutcome InterpretingRunner::call(Store& store, std::uint32_t function, std::span<const Cell> arguments) {
  auto execution = std::make_unique<Execution>(store);
  execution->call(function, arguments);
  for (;;) {
    std::int64_t budget = slice_;
    const Stop stop = execution->run(budget);
    const auto results = execution->results();
    if (stop.kind != Stop::Kind::exhausted) return {stop, {results.begin(), results.end()}};
    if (!copying_) continue;
    auto copy = std::make_unique<Execution>(store);
    if (const auto restored = copy->restore(execution->frames(), execution->stack()); !restored)
      return {{.kind = Stop::Kind::waits}, {}};
    execution = std::move(copy);
  }
}

ScriptReport run_script(std::span<const Command> commands, Runner& runner) {
  ScriptRun run(runner);
  ScriptReport report;
  for (const Command& command : commands) {
    if (auto complaint = run.run(command))
      report.failures.push_back({command.line, std::move(*complaint)});
    else
      report.passed++;
  }
  return report;
}

}  // namespace doppel::wasm
