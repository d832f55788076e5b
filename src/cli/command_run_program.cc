#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cli/command.h"
#include "machine/byte_size.h"
#include "process/program.h"

namespace doppel {
namespace {

struct ProgramOptions {
  std::vector<std::string> folders, variables;
  std::vector<int> listeners;
  std::string invoke, memory, stack = "1M", clock = "host", engine = "interpreter";
  std::optional<std::string> fuel, timeout;
};

/// HOST[:GUEST][,ro]
Result<wasi::Grant> parse_grant(std::string text) {
  wasi::Grant grant;
  if (text.ends_with(",ro")) grant.read_only = true, text.resize(text.size() - 3);
  const auto colon = text.rfind(':');
  grant.host_path = text.substr(0, colon);
  grant.guest_path = colon == text.npos ? grant.host_path : text.substr(colon + 1);
  if (grant.host_path.empty() || grant.guest_path.empty())
    return error("--dir {} names no folder: give HOST[:GUEST][,ro]", text);
  return grant;
}

/// NAME=VALUE, or NAME for what it is here; nothing where it is not set.
Result<std::optional<std::string>> parse_variable(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == 0 || text.empty()) return error("--env {} names no variable: give NAME=VALUE or NAME", text);
  if (equals != text.npos) return std::optional(text);
  const char* value = std::getenv(text.c_str());
  return value ? std::optional(text + "=" + value) : std::nullopt;
}

Result<std::uint64_t> parse_fuel(const std::string& text) {
  std::uint64_t count = 0;
  const auto* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, count);
  if (problem != std::errc() || stopped != end) return error("--fuel is '{}': give a number of instructions", text);
  return count;
}

Result<std::chrono::nanoseconds> parse_timeout(const std::string& text) {
  constexpr double most = 1e9;  // 31 years
  double seconds = 0;
  const auto* end = text.data() + text.size();
  const auto [stopped, problem] = std::from_chars(text.data(), end, seconds);
  // Written so that nan is refused.
  if (problem != std::errc() || stopped != end || !(seconds > 0 && seconds <= most))
    return error("--timeout is '{}': give a number of seconds, more than 0 and not more than 1e9", text);
  return std::chrono::nanoseconds(std::int64_t(seconds * 1e9));
}

Result<std::uint64_t> parse_stack(const std::string& text) {
  const auto bytes = parse_byte_size(text);
  if (bytes && (*bytes < (1 << 12) || *bytes > (1 << 30)))
    return error("--stack-limit is {}, and must be 4K to 1G", text);
  return bytes;
}

Result<void> take_limits(const ProgramOptions& o, ProgramConfiguration& c) {
  if (o.fuel) {
    const auto fuel = parse_fuel(*o.fuel);
    if (!fuel) return fuel.failure();
    c.fuel = *fuel;
  }
  if (o.timeout) {
    const auto timeout = parse_timeout(*o.timeout);
    if (!timeout) return timeout.failure();
    c.timeout = *timeout;
  }
  if (!o.memory.empty()) {
    const auto bytes = parse_byte_size(o.memory);
    if (!bytes) return bytes.failure();
    c.memory_bytes = *bytes;
  }
  const auto stack = parse_stack(o.stack);
  if (!stack) return stack.failure();
  c.stack_bytes = *stack;
  return {};
}

Result<ProgramConfiguration> configuration_of(const ProgramOptions& o, const std::vector<std::string>& words) {
  ProgramConfiguration c;
  c.file = words[0], c.wasi.arguments = words, c.invoke = o.invoke;
  for (const auto& text : o.folders) {
    auto grant = parse_grant(text);
    if (!grant) return grant.failure();
    c.wasi.grants.push_back(*std::move(grant));
  }
  for (const auto& text : o.variables) {
    auto variable = parse_variable(text);
    if (!variable) return variable.failure();
    if (*variable) c.wasi.environment.push_back(**variable);
  }
  c.wasi.listeners = o.listeners;
  if (auto taken = take_limits(o, c); !taken) return taken.failure();
  c.instruction_clock = o.clock == "instructions";
  c.executor = o.engine == "fast" ? ProgramExecutor::fast : ProgramExecutor::interpreter;
  return c;
}

int run_program(const ProgramOptions& options, const std::vector<std::string>& words) {
  if (words.empty()) return complain("there is no module to run: doppel run FILE.wasm");
  auto configuration = configuration_of(options, words);
  if (!configuration) return complain(configuration.message());
  auto program = Program::create(*std::move(configuration));
  if (!program) return complain(program.message());
  const auto end = (*program)->run();
  if (!end) return complain(end.message());
  for (const auto& result : end->results) print(stdout, "{}\n", result);
  if (!end->complaint.empty()) print(stderr, "doppel: {}\n", end->complaint);
  return end->status;
}

}  // namespace

void add_run_program(CLI::App& program, Action& action) {
  auto options = std::make_shared<ProgramOptions>();
  auto& o = *options;
  auto* verb = program.add_subcommand(std::string(run_program_verb), "Run a WebAssembly program: doppel run FILE.wasm");
  verb->group("");  // it is `doppel run` to users
  verb->prefix_command();
  verb->add_option("--dir", o.folders,
                   "A folder that the program may use: HOST[:GUEST][,ro]; may be given several times")
      ->type_name("FOLDER")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  verb->add_option("--env", o.variables,
                   "A variable of its environment: NAME=VALUE, or NAME as it is here; may be given several times")
      ->type_name("VARIABLE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  verb->add_option(
          "--listen", o.listeners,
          "A listening socket that doppel was started with, by its descriptor's number; may be given several times")
      ->type_name("N")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  verb->add_option(
          "--invoke", o.invoke,
          "Call this exported function, with the words behind the file as its arguments, and print what it gives")
      ->type_name("NAME");
  verb->add_option("--fuel", o.fuel, "Stop the program when it has executed so many instructions")->type_name("N");
  verb->add_option("--timeout", o.timeout, "Stop it after so many seconds")->type_name("SECONDS");
  verb->add_option("--memory-limit", o.memory, "How much memory it may have, for instance 512M")->type_name("SIZE");
  verb->add_option("--stack-limit", o.stack, "How much its calls may take, 4K to 1G")
      ->type_name("SIZE")
      ->capture_default_str();
  verb->add_option("--clock", o.clock,
                   "Time from the host's clock, or from counted instructions: then runs are repeatable")
      ->check(CLI::IsMember({"host", "instructions"}))
      ->type_name("host|instructions")
      ->capture_default_str();
  verb->add_option(
          "--engine", o.engine,
          "What executes it: the interpreter, or code that is made when a function is first called, some twenty times "
          "as fast, which knows no --fuel, --timeout and --clock instructions yet")
      ->check(CLI::IsMember({"interpreter", "fast"}))
      ->type_name("interpreter|fast")
      ->capture_default_str();
  verb->footer(
      "The exit status is the program's; 134 when it was stopped by a trap, 124 by --timeout, and 2 for what cannot be "
      "done.");
  verb->callback([options, verb, &action] {
    const auto words = verb->remaining();
    // To the parser an option that is not known begins the program's words.
    if (!words.empty() && words.front().starts_with('-')) throw CLI::ExtrasError({words.front()});
    action = [options, words] { return run_program(*options, words); };
  });
}

}  // namespace doppel
