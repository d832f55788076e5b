#include "engine/program_runner.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace doppel {

wasm::CallOutcome CompilingRunner::call(wasm::Store& store, std::uint32_t function,
                                        std::span<const wasm::Cell> arguments) {
  if (!engine_) {
    auto made = ProgramEngine::create(store);
    if (!made) {
      fmt::print(stderr, "doppel: {}\n", made.message());
      std::exit(1);
    }
    engine_ = std::move(*made);
  }
  wasm::CallOutcome outcome;
  outcome.stop = engine_->call(function, arguments, outcome.results);
  return outcome;
}

}  // namespace doppel
