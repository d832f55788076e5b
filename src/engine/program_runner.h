#pragma once
// Scripts of the specification's tests on compiled code.
#include <memory>

#include "engine/program_engine.h"
#include "guest/wasm/script_runner.h"

namespace doppel {

/// For scripts that run one after the other, each in a store of its own that is gone when the next begins:
/// begin_script() between them.
class CompilingRunner : public wasm::Runner {
 public:
  wasm::CallOutcome call(wasm::Store& store, std::uint32_t function, std::span<const wasm::Cell> arguments) override;
  void begin_script() { engine_.reset(); }

 private:
  std::unique_ptr<ProgramEngine> engine_;
};

}  // namespace doppel
