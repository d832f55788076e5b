#pragma once
// Runs functions of a WebAssembly store as host code, which the fast generator makes when one is first called. What the
// store has stays where it is: memories, tables and globals are used in place.
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "codegen/code_memory.h"
#include "codegen/fast/function_generator.h"
#include "codegen/fast/program_routines.h"
#include "engine/program_faults.h"
#include "engine/program_stack.h"
#include "guest/wasm/execution.h"
#include "guest/wasm/store.h"
#include "ir/program_context.h"

namespace doppel {

/// Where a program was: a function's number in the store and the byte of the module.
struct ProgramPlace {
  std::uint32_t function = 0, pc = 0;
};

struct ProgramEngineOptions {
  std::size_t stack_bytes = 4 << 20;
  std::size_t code_bytes = 256 << 20;
};

/// Of one thread at a time. The host's functions may call it again.
class ProgramEngine {
 public:
  /// The store must stay until the engine is gone. Error: the host's processor or memory does not allow it.
  static Result<std::unique_ptr<ProgramEngine>> create(wasm::Store& store, const ProgramEngineOptions& options = {});
  ~ProgramEngine();
  ProgramEngine(const ProgramEngine&) = delete;
  ProgramEngine& operator=(const ProgramEngine&) = delete;

  /// Calls a function of the store with arguments that fit it; `results` are what it gave if it finished. What a host
  /// function waits for is not waited for: its program is given up.
  wasm::Stop call(std::uint32_t function, std::span<const wasm::Cell> arguments, std::vector<wasm::Cell>& results);
  /// Where the last call that trapped did, if generated code did.
  std::optional<ProgramPlace> trapped_at() const { return trapped_at_; }

  /// Makes code of all functions of an instance's module; how many could not be made.
  std::size_t compile_all(const wasm::Instance& instance);
  /// Functions that have code, and its bytes.
  std::size_t compiled_functions() const { return compiled_.size(); }
  std::size_t code_bytes() const { return memory_->used(); }

 private:
  struct Compiled {
    std::uintptr_t begin = 0, end = 0;
    std::uint32_t function = 0;
    std::vector<fast::CodeSite> sites;
  };
  /// What an instance has besides the store's.
  struct InstanceCode {
    std::unique_ptr<std::byte[]> memory;
    ir::ProgramContext* context = nullptr;
    fast::ProgramShape shape;
    std::unique_ptr<fast::FunctionGenerator> generator;
  };
  /// Stubs that are made as they are needed.
  struct Stubs {
    std::size_t routine = 0;
    std::vector<const std::byte*> chunks;
  };

  ProgramEngine(wasm::Store& store, std::unique_ptr<CodeMemory> memory);
  Result<void> prepare(const ProgramEngineOptions& options);
  const std::byte* routine(std::size_t offset) const { return routines_at_ + offset; }
  const std::byte* stub(Stubs& stubs, std::uint32_t number);
  bool know_everything();
  void fill_context(ir::ProgramContext& context) const;
  bool know_instance(wasm::Instance& instance);
  bool know_function(std::uint32_t number);
  void update_views();
  const void* compile(InstanceCode& code, std::uint32_t index);
  const std::byte* generate(InstanceCode& code, std::uint32_t index, std::uint32_t number);
  wasm::Stop stop_of_trap();
  int interpret(std::uint32_t function, std::span<const wasm::Cell> arguments, std::span<wasm::Cell> results);
  int call_host(std::uint32_t function, ir::ProgramContext* caller);
  int stop_with(wasm::Stop stop);
  int run_routine(ir::ProgramContext& context, ir::Routine routine, std::uint32_t first, std::uint32_t second);

  static int on_runtime(ir::ProgramContext* context, std::uint32_t routine, std::uint64_t numbers);
  static int on_host(ir::ProgramState* state, std::uint32_t number, ir::ProgramContext* caller);
  static const void* on_compile(ir::ProgramContext* context, std::uint32_t index);
  static int on_subtype(const ir::FunctionRow* row, std::uint32_t type);

  wasm::Store& store_;
  std::unique_ptr<CodeMemory> memory_;
  std::unique_ptr<FaultingCode> faulting_;
  std::unique_ptr<ProgramStack> stack_;
  fast::ProgramRoutines routines_;
  const std::byte* routines_at_ = nullptr;
  std::unique_ptr<ir::ProgramState> state_;
  ir::ProgramContext host_context_;
  AddressRange rows_;
  std::size_t known_functions_ = 0;
  std::vector<std::unique_ptr<InstanceCode>> instances_;
  Stubs host_stubs_, compile_stubs_;
  std::vector<Compiled> compiled_;  // in the order of their addresses
  ir::Function function_;           // that is being made
  fast::FunctionCode made_;
  wasm::Stop stop_;  // of the host
  std::optional<ProgramPlace> trapped_at_;
};

}  // namespace doppel
