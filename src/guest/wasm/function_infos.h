#pragma once
// What the interpreter needs to know of a module's functions, found out when one is first called and kept for all
// stores in which the module is.
#include <atomic>
#include <memory>
#include <variant>
#include <vector>

#include "guest/wasm/function_info.h"
#include "guest/wasm/module.h"

namespace doppel::wasm {

/// Every function may be called from any thread.
class FunctionInfos {
 public:
  /// Those of the module: the same for all who ask while one of them holds them.
  static std::shared_ptr<FunctionInfos> of_module(const std::shared_ptr<const Module>& module);
  explicit FunctionInfos(std::shared_ptr<const Module> module);
  ~FunctionInfos();

  /// Of a function of the module's own, by its index; null where its body is not valid.
  const FunctionInfo* of_function(std::uint32_t function);

 private:
  using Outcome = std::variant<FunctionInfo, ModuleError>;
  const Outcome& decode(std::uint32_t function);

  std::shared_ptr<const Module> module_;
  std::vector<std::atomic<const Outcome*>> outcomes_;  // owned; null: not yet asked for
};

}  // namespace doppel::wasm
