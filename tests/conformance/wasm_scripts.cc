// wasm_scripts [--slice N | --engine fast] SCRIPT...: runs scripts of the specification's tests in the interpreter and
// prints what fails; exit status 1 if anything does. With --slice a run is stopped every N instructions and goes on as
// a copy; with --engine fast functions are compiled.
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/program_runner.h"
#include "guest/wasm/script_runner.h"

namespace doppel::wasm {
namespace {

/// Failures of a script; one that cannot be read has one.
std::size_t run_file(const char* path, Runner& runner) {
  std::ostringstream text;
  std::ifstream file(path, std::ios::binary);
  text << file.rdbuf();
  if (!file) {
    fmt::print("{}: cannot be read\n", path);
    return 1;
  }
  const auto parsed = text::parse_script(text.str());
  if (const auto* wrong = std::get_if<text::TextError>(&parsed)) {
    fmt::print("{}:{}:{}: {}\n", path, wrong->line, wrong->column, wrong->message);
    return 1;
  }
  const auto report = run_script(std::get<0>(parsed), runner);
  for (const auto& [line, message] : report.failures) fmt::print("{}:{}: {}\n", path, line, message);
  fmt::print("{}: {} passed, {} failed\n", path, report.passed, report.failures.size());
  return report.failures.size();
}

}  // namespace
}  // namespace doppel::wasm

int main(int argc, char** argv) {
  std::int64_t slice = 0;
  int first = 1;
  bool compiles = false;
  if (argc > 2 && std::strcmp(argv[1], "--slice") == 0) {
    std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), slice);
    first = 3;
  } else if (argc > 2 && std::strcmp(argv[1], "--engine") == 0) {
    compiles = std::strcmp(argv[2], "fast") == 0;
    first = 3;
  }
  auto interpreting = slice > 0 ? doppel::wasm::InterpretingRunner(slice, true) : doppel::wasm::InterpretingRunner();
  doppel::CompilingRunner compiling;
  std::size_t failures = 0;
  for (int n = first; n < argc; n++) {
    compiling.begin_script();
    failures += compiles ? doppel::wasm::run_file(argv[n], compiling) : doppel::wasm::run_file(argv[n], interpreting);
  }
  return failures == 0 && first < argc ? 0 : 1;
}
