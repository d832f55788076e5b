#pragma once
// The process machine: one WebAssembly program, created when it starts and gone when it ends.
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/program_engine.h"
#include "guest/wasm/execution.h"
#include "process/wasi/wasi.h"

namespace doppel {

/// What executes a program's code. Compiled code counts no instructions yet, and is stopped by nothing but its end.
enum class ProgramExecutor : std::uint8_t { interpreter, fast };

struct ProgramConfiguration {
  std::string file;  ///< a module, see load_module()
  wasi::WasiConfiguration wasi;
  std::string invoke;  ///< a function to call in the place of _start, with the arguments behind the program's name
  ProgramExecutor executor = ProgramExecutor::interpreter;
  std::optional<std::uint64_t> fuel;  ///< instructions that it may execute
  std::optional<std::chrono::nanoseconds> timeout;
  std::uint64_t memory_bytes = 1ULL << 48;  ///< of all its memories together
  std::uint64_t stack_bytes = 1 << 20;      ///< of locals and operands of all activations
  bool instruction_clock =
      false;  ///< time is a count of instructions, and entropy a function of nothing: runs are repeatable
};

/// How a program ended.
struct ProgramEnd {
  int status = 0;                    ///< for the shell
  std::string complaint;             ///< why it was stopped, with where it was; empty for one that ended
  std::vector<std::string> results;  ///< of an invoked function, as text
};

class Program {
 public:
  static constexpr int trap_status = 134;     ///< as of a process that aborts
  static constexpr int timeout_status = 124;  ///< as of timeout(1)

  /// Error: the file is no module, wants what is not there, or its first memory is too large; what is to execute it
  /// cannot do what is asked for, or not on this host.
  static Result<std::unique_ptr<Program>> create(ProgramConfiguration configuration);
  ~Program();
  /// To the program's end.
  Result<ProgramEnd> run();

 private:
  class Clock;
  explicit Program(ProgramConfiguration configuration);
  Result<void> link();
  Result<void> make_executor();
  Result<void> choose_function();
  Result<std::vector<wasm::Cell>> invoke_arguments() const;
  wasm::Stop execute(std::uint32_t function, std::span<const wasm::Cell> arguments);
  wasm::Stop interpret(std::uint32_t function, std::span<const wasm::Cell> arguments);
  ProgramEnd end_of(const wasm::Stop& stop) const;
  std::string complaint(std::string_view reason) const;
  std::string reason_of(wasm::Trap trap) const;
  void wait();

  ProgramConfiguration configuration_;
  std::shared_ptr<const wasm::Module> module_;
  std::unique_ptr<wasm::Store> store_;
  std::unique_ptr<wasm::Execution> execution_;  // one of these
  std::unique_ptr<ProgramEngine> engine_;
  std::vector<wasm::Cell> results_;  // of the last call that finished
  wasm::Instance* instance_ = nullptr;
  std::shared_ptr<wasi::Environment> host_;
  std::shared_ptr<Clock> clock_;  // null: time is the host's
  std::optional<wasi::Wasi> wasi_;
  std::optional<std::uint32_t> start_, entry_;  // functions of the store
  std::chrono::steady_clock::time_point deadline_{};
};

}  // namespace doppel
