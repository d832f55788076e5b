#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "cli/command.h"
#include "engine/program_runner.h"
#include "guest/wasm/script_runner.h"
#include "guest/wasm/text/print.h"
#include "process/module_file.h"

namespace doppel {
namespace {

int validate(const std::vector<std::string>& files) {
  int status = 0;
  for (const auto& file : files)
    if (const auto module = load_valid_module(file); !module) status = complain(module.message());
  return status;
}

int print_text(const std::string& file) {
  const auto module = load_module(file);
  if (!module) return complain(module.message());
  const auto text = wasm::text::print(**module);
  if (const auto* wrong = std::get_if<wasm::ModuleError>(&text))
    return complain(fmt::format("{}: {}", file, wrong->error().message));
  std::fputs(std::get<std::string>(text).c_str(), stdout);
  return 0;
}

int run_script(const std::string& file, bool compiles) {
  const auto bytes = read_whole_file(file);
  if (!bytes) return complain(bytes.message());
  const auto script = wasm::text::parse_script({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
  if (const auto* wrong = std::get_if<wasm::text::TextError>(&script))
    return complain(fmt::format("{}:{}:{}: {}", file, wrong->line, wrong->column, wrong->message));
  wasm::InterpretingRunner interpreting;
  CompilingRunner compiling;
  wasm::Runner& runner = compiles ? static_cast<wasm::Runner&>(compiling) : interpreting;
  const auto report = wasm::run_script(std::get<std::vector<wasm::text::Command>>(script), runner);
  for (const auto& failure : report.failures) print(stderr, "{}:{}: {}\n", file, failure.line, failure.message);
  print(stdout, "{}: {} passed, {} failed\n", file, report.passed, report.failures.size());
  return report.failures.empty() ? 0 : 1;
}

int run_scripts(const std::vector<std::string>& files, const std::string& engine) {
  int status = 0;
  for (const auto& file : files) status = std::max(status, run_script(file, engine == "fast"));
  return status;
}

}  // namespace

void add_wasm(CLI::App& program, Action& action) {
  auto files = std::make_shared<std::vector<std::string>>();
  auto* wasm = program.add_subcommand("wasm", "Look at WebAssembly modules");
  wasm->require_subcommand(1);

  auto* check = wasm->add_subcommand("validate", "Say whether modules are valid, every function of them");
  check->add_option("FILE", *files, "Modules, in the binary or the text format")->required();
  check->callback([files, &action] { action = [files] { return validate(*files); }; });

  auto file = std::make_shared<std::string>();
  auto* show = wasm->add_subcommand("print", "Print a module in the text format");
  show->add_option("FILE", *file, "The module")->required();
  show->callback([file, &action] { action = [file] { return print_text(*file); }; });

  auto* script = wasm->add_subcommand(
      "wast", "Run scripts as those of the specification's tests; exit status 1 if any assertion fails");
  script->add_option("FILE", *files, "Scripts")->required();
  auto engine = std::make_shared<std::string>("interpreter");
  script->add_option("--engine", *engine, "What runs functions")
      ->check(CLI::IsMember({"interpreter", "fast"}))
      ->capture_default_str();
  script->callback([files, engine, &action] { action = [files, engine] { return run_scripts(*files, *engine); }; });
}

}  // namespace doppel
