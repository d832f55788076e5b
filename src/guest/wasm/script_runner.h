#pragma once
// Runs scripts of the specification's tests on an engine.
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "guest/wasm/execution.h"
#include "guest/wasm/spectest.h"
#include "guest/wasm/text/script.h"

namespace doppel::wasm {

/// How a call ended, and what it gave if it finished.
struct CallOutcome {
  Stop stop;
  std::vector<Cell> results;
};

/// What executes functions.
class Runner {
 public:
  virtual ~Runner() = default;
  /// `arguments` fit the function's type.
  virtual CallOutcome call(Store& store, std::uint32_t function, std::span<const Cell> arguments) = 0;
};

/// The interpreter, which is stopped every `slice` instructions; with `copying` it goes on each time as a new execution
/// with the frames and stack of the one before.
class InterpretingRunner : public Runner {
 public:
  explicit InterpretingRunner(std::int64_t slice = std::int64_t{1} << 40, bool copying = false)
      : slice_(slice), copying_(copying) {}
  CallOutcome call(Store& store, std::uint32_t function, std::span<const Cell> arguments) override;

 private:
  std::int64_t slice_;
  bool copying_;
};

struct ScriptFailure {
  std::uint32_t line = 0;
  std::string message;
};
struct ScriptReport {
  std::uint32_t passed = 0;  ///< assertions, and commands that are none
  std::vector<ScriptFailure> failures;
};

/// Runs all commands in a new store.
ScriptReport run_script(std::span<const text::Command> commands, Runner& runner);

}  // namespace doppel::wasm
