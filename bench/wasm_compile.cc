// bench_wasm_compile FILE.wasm [ROUNDS]: how fast all functions of a module become host code: megabytes of its code
// section a second of the processor's time, of each step.
#include <fmt/format.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>

#include "engine/program_engine.h"
#include "guest/wasm/translate.h"

namespace doppel {
namespace {

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

void report(const char* step, double megabytes, double seconds) {
  fmt::print("{:<24}{:8.1f} MB/s\n", step, megabytes / seconds);
}

int run(const char* file, int rounds) {
  std::ifstream stream(file, std::ios::binary);
  auto bytes = std::make_shared<std::vector<std::uint8_t>>(std::istreambuf_iterator<char>(stream),
                                                           std::istreambuf_iterator<char>());
  auto parsed = wasm::parse_module(bytes);
  if (const auto* wrong = std::get_if<wasm::ModuleError>(&parsed)) {
    fmt::print(stderr, "{}: {}\n", file, wrong->error().message);
    return 1;
  }
  const auto module = std::make_shared<const wasm::Module>(std::get<0>(std::move(parsed)));
  const double megabytes = double(module->code.size()) * rounds / 1e6;
  const auto functions = std::uint32_t(module->functions.size());
  fmt::print("{} functions, {} bytes of code\n", functions - module->imported_functions, module->code.size());
  auto begin = processor_seconds();
  for (int n = 0; n < rounds; n++)
    for (auto f = module->imported_functions; f < functions; f++) (void)wasm::validate_function(*module, f);
  report("validated", megabytes, processor_seconds() - begin);
  begin = processor_seconds();
  ir::Function function;
  std::size_t operations = 0;
  for (int n = 0; n < rounds; n++)
    for (auto f = module->imported_functions; f < functions; f++) {
      if (const auto wrong = wasm::translate(*module, f, function)) {
        fmt::print(stderr, "{}: {}\n", file, wrong->error().message);
        return 1;
      }
      operations += function.code.size();
    }
  report("translated", megabytes, processor_seconds() - begin);
  double spent = 0;
  std::size_t code = 0, failed = 0;
  for (int n = 0; n < rounds; n++) {
    wasm::Store store;
    auto& instance = store.instances.emplace_back();  // of which only the code is wanted
    instance.module = module;
    instance.functions.resize(functions);
    auto engine = ProgramEngine::create(store);
    if (!engine) return 1;
    begin = processor_seconds();
    failed += (*engine)->compile_all(instance);
    spent += processor_seconds() - begin;
    code = (*engine)->code_bytes();
  }
  report("validated and compiled", megabytes, spent);
  fmt::print("{:.2f} operations and {:.2f} bytes of host code a byte, {} functions failed\n",
             double(operations) / 1e6 / megabytes, double(code) / double(module->code.size()), failed);
  return 0;
}

}  // namespace
}  // namespace doppel

int main(int argc, char** argv) {
  if (argc < 2) return 1;
  return doppel::run(argv[1], argc > 2 ? std::atoi(argv[2]) : 1);
}
