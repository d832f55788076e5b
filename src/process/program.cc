#include "process/program.h"

#include <algorithm>
#include <limits>
#include <map>

#include "process/backtrace.h"
#include "process/invocation.h"
#include "process/module_file.h"

namespace doppel {
namespace {

constexpr std::int64_t slice = 1 << 22;  // instructions between two looks at the host's clock: some milliseconds

std::string_view end_of_name(const std::string& path) {
  const auto slash = path.rfind('/');
  return std::string_view(path).substr(slash == path.npos ? 0 : slash + 1);
}

}  // namespace

/// The environment of a run whose time is a count of instructions: one takes a nanosecond, waiting takes what is waited
/// for, and entropy is the same in every run.
class Program::Clock : public wasi::Environment {
 public:
  explicit Clock(std::shared_ptr<wasi::Environment> host) : host_(std::move(host)) {}
  /// What is left to execute, counted down while the program runs.
  void begin(const std::int64_t& left, std::int64_t all) { left_ = &left, all_ = all; }
  void end() { executed_ += std::uint64_t(all_ - *left_), left_ = nullptr; }
  std::uint64_t executed() const { return executed_ + (left_ ? std::uint64_t(all_ - *left_) : 0); }

  std::optional<std::uint64_t> clock_now(wasi::ClockId) override { return executed() + waited_; }
  std::optional<std::uint64_t> clock_resolution(wasi::ClockId) override { return 1; }
  void random(std::span<std::uint8_t> out) override {
    for (auto& byte : out) {  // SplitMix64
      auto z = random_ += 0x9e37'79b9'7f4a'7c15;
      z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
      z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
      byte = std::uint8_t((z ^ z >> 31) >> 56);
    }
  }
  int wait(std::span<pollfd> descriptors, std::optional<std::uint64_t> deadline) override {
    // Descriptors are the outside: a run that reads what comes when it likes is as repeatable as what it reads.
    const auto now = executed() + waited_;
    if (!deadline || *deadline <= now)
      return host_->wait(descriptors, deadline ? std::optional<std::uint64_t>(0) : std::nullopt);
    const int ready = descriptors.empty() ? 0 : host_->wait(descriptors, 0);
    if (ready == 0) waited_ += *deadline - now;
    return ready;
  }
  void yield() override {}
  /// As wait(), for a call that has come back to be made again: only then it counts, but it saw itself counted.
  void wait_for_call(std::span<pollfd> descriptors, std::uint64_t deadline) {
    executed_++;
    wait(descriptors, deadline);
    executed_--;
  }

 private:
  std::shared_ptr<wasi::Environment> host_;
  const std::int64_t* left_ = nullptr;
  std::int64_t all_ = 0;
  std::uint64_t executed_ = 0, waited_ = 0, random_ = 0;
};

Program::Program(ProgramConfiguration configuration) : configuration_(std::move(configuration)) {}
Program::~Program() = default;

Result<std::unique_ptr<Program>> Program::create(ProgramConfiguration configuration) {
  auto module = load_module(configuration.file);
  if (!module) return module.failure();
  std::unique_ptr<Program> program(new Program(std::move(configuration)));
  program->module_ = *std::move(module);
  if (auto linked = program->link(); !linked) return linked.failure();
  if (auto chosen = program->choose_function(); !chosen) return chosen.failure();
  return program;
}

Result<void> Program::link() {
  auto& c = configuration_;
  host_ = wasi::host_environment();
  std::shared_ptr<wasi::Environment> environment = host_;
  if (c.instruction_clock) environment = clock_ = std::make_shared<Clock>(host_);
  // Who waits inside of WASI cannot be stopped.
  if (c.timeout) c.wasi.yielding = true;
  auto wasi = wasi::Wasi::create(c.wasi, std::move(environment));
  if (!wasi) return wasi.failure();
  wasi_ = *std::move(wasi);
  store_ = std::make_unique<wasm::Store>(wasm::StoreLimits{.memory_bytes = c.memory_bytes});
  std::map<std::pair<std::string, std::string>, std::uint32_t, std::less<>> functions;
  for (auto& function : wasi_->functions()) {
    auto name = std::pair(function.module, function.name);
    functions[std::move(name)] = store_->add_host_function(std::move(function));
  }
  std::string missing, last;
  const auto resolve = [&](std::string_view module, std::string_view name) -> std::optional<wasm::Extern> {
    const auto found = functions.find(std::pair(std::string(module), std::string(name)));
    last = one_line(fmt::format("{}.{}", module, name));
    if (found != functions.end()) return wasm::Extern{wasm::ExternKind::function, found->second};
    missing = last;
    return std::nullopt;
  };
  auto instance = store_->instantiate(module_, resolve);
  if (const auto* wrong = std::get_if<wasm::InstantiationError>(&instance)) {
    if (!missing.empty()) return error("{} imports {}, which is not part of WASI preview 1", c.file, missing);
    if (wrong->kind == wasm::InstantiationError::Kind::unlinkable)
      return error("{} imports {} as something else than WASI preview 1 has by that name", c.file, last);
    if (wrong->kind == wasm::InstantiationError::Kind::trapped)
      return error("{} cannot start: {}", c.file, wasm::spelling(wrong->trap));
    return error("{} cannot start: {}", c.file, wrong->message);
  }
  instance_ = std::get<wasm::Instance*>(instance);
  return make_executor();
}

Result<void> Program::make_executor() {
  const auto& c = configuration_;
  if (c.executor == ProgramExecutor::fast) {
    if (c.fuel || c.timeout || c.instruction_clock)
      return error(
          "compiled code counts no instructions: the interpreter does for --fuel, --timeout and --clock instructions");
    auto engine = ProgramEngine::create(*store_, {.stack_bytes = c.stack_bytes});
    if (!engine) return engine.failure();
    engine_ = *std::move(engine);
    return {};
  }
  execution_ = std::make_unique<wasm::Execution>(
      *store_, std::uint32_t(std::min<std::uint64_t>(c.stack_bytes / sizeof(std::uint64_t), UINT32_MAX)),
      std::uint32_t(std::min<std::uint64_t>(c.stack_bytes / sizeof(wasm::Frame), UINT32_MAX)));
  return {};
}

Result<void> Program::choose_function() {
  const auto& c = configuration_;
  if (module_->start) start_ = instance_->functions[*module_->start];
  const auto name = c.invoke.empty() ? std::string("_start") : c.invoke;
  const auto* found = module_->find_export(name);
  if (found && found->kind != wasm::ExternKind::function)
    return error("{} exports {}, but not as a function", c.file, name);
  if (!found && c.invoke.empty() && start_) return {};
  if (!found)
    return error("{} exports no function {}{}", c.file, name, c.invoke.empty() ? ": name one with --invoke" : "");
  entry_ = instance_->functions[found->index];
  const auto arguments = invoke_arguments();
  return arguments ? Result<void>() : arguments.failure();
}

Result<std::vector<wasm::Cell>> Program::invoke_arguments() const {
  std::vector<wasm::Cell> out;
  const auto& parameters = store_->type_of(*entry_).parameters;
  std::span<const std::string> words = configuration_.wasi.arguments;
  words = configuration_.invoke.empty() ? std::span<const std::string>()
                                        : words.subspan(std::min<std::size_t>(1, words.size()));
  if (words.size() != parameters.size())
    return error("the function {} takes {} arguments, not {}",
                 configuration_.invoke.empty() ? "_start" : configuration_.invoke, parameters.size(), words.size());
  for (std::size_t n = 0; n < words.size(); n++) {
    auto value = parse_value(parameters[n], words[n]);
    if (!value) return value.failure();
    out.push_back(*value);
  }
  return out;
}

/// Until what the program waits for has come, or its time is over.
void Program::wait() {
  auto pending = wasi_->pending();
  const auto end = std::uint64_t(std::chrono::nanoseconds(deadline_.time_since_epoch()).count());
  // Counted time passes by itself, at once. What comes from outside takes the host's.
  if (clock_ && pending.deadline) {
    clock_->wait_for_call(pending.descriptors, *pending.deadline);
  } else {
    host_->wait(pending.descriptors, std::min(pending.deadline.value_or(end), end));
  }
}

wasm::Stop Program::execute(std::uint32_t function, std::span<const wasm::Cell> arguments) {
  if (engine_) return engine_->call(function, arguments, results_);
  const auto stop = interpret(function, arguments);
  if (stop.kind == wasm::Stop::Kind::finished)
    results_.assign(execution_->results().begin(), execution_->results().end());
  return stop;
}

/// A call to its end, in slices where somebody looks at the time.
wasm::Stop Program::interpret(std::uint32_t function, std::span<const wasm::Cell> arguments) {
  auto& fuel = configuration_.fuel;
  execution_->call(function, arguments);
  while (true) {
    auto all = configuration_.timeout ? slice : std::numeric_limits<std::int64_t>::max();
    if (fuel) all = std::int64_t(std::min(std::uint64_t(all), *fuel));
    auto left = all;
    if (clock_) clock_->begin(left, all);
    const auto stop = execution_->run(left);
    if (clock_) clock_->end();
    if (fuel) *fuel -= std::uint64_t(all - left);
    const bool waits = stop.kind == wasm::Stop::Kind::waits;
    if (waits) wait();
    if (!waits && stop.kind != wasm::Stop::Kind::exhausted) return stop;
    if (!waits && fuel && *fuel == 0) return {.kind = wasm::Stop::Kind::trapped, .trap = wasm::Trap::out_of_fuel};
    if (configuration_.timeout && std::chrono::steady_clock::now() >= deadline_) return stop;
  }
}

Result<ProgramEnd> Program::run() {
  if (configuration_.timeout) deadline_ = std::chrono::steady_clock::now() + *configuration_.timeout;
  std::vector<wasm::Cell> arguments;
  if (entry_) {
    auto given = invoke_arguments();
    if (!given) return given.failure();
    arguments = *std::move(given);
  }
  // A reactor is initialised before any of its functions is called.
  std::vector<std::uint32_t> before;
  if (start_) before.push_back(*start_);
  const auto* initialize = configuration_.invoke.empty() ? nullptr : module_->find_export("_initialize");
  if (initialize && initialize->kind == wasm::ExternKind::function && configuration_.invoke != "_initialize")
    before.push_back(instance_->functions[initialize->index]);
  for (const auto function : before)
    if (const auto stop = execute(function, {}); stop.kind != wasm::Stop::Kind::finished) return end_of(stop);
  if (!entry_) return ProgramEnd{};
  const auto stop = execute(*entry_, arguments);
  auto end = end_of(stop);
  if (stop.kind == wasm::Stop::Kind::finished) {
    const auto& types = store_->type_of(*entry_).results;
    for (std::size_t n = 0; n < types.size(); n++) end.results.push_back(value_text(types[n], results_[n]));
  }
  return end;
}

ProgramEnd Program::end_of(const wasm::Stop& stop) const {
  switch (stop.kind) {
    case wasm::Stop::Kind::finished:
      return {};
    case wasm::Stop::Kind::ended:
      return {.status = stop.status};
    case wasm::Stop::Kind::trapped:
      return {.status = trap_status, .complaint = complaint(reason_of(stop.trap))};
    default:
      return {.status = timeout_status, .complaint = complaint("its time is over")};
  }
}

std::string Program::complaint(std::string_view reason) const {
  std::vector<wasm::Frame> frames;
  if (execution_) frames.assign(execution_->frames().begin(), execution_->frames().end());
  if (engine_)  // of compiled code where it stopped, not how it came there
    if (const auto place = engine_->trapped_at()) frames.push_back({.function = place->function, .pc = place->pc});
  return fmt::format("{} was stopped: {}{}", end_of_name(configuration_.file), reason,
                     backtrace(*module_, *store_, frames));
}

/// With what is wrong with a function that was not validated before it was called.
std::string Program::reason_of(wasm::Trap trap) const {
  const std::string reason(wasm::spelling(trap));
  if (trap != wasm::Trap::invalid_function) return reason;
  const auto wrong = wasm::validate(*module_);
  return wrong ? fmt::format("{}: {}", reason, wrong->error().message) : reason;
}

}  // namespace doppel
