#pragma once
// Constant expressions (core specification, 3.4.5 and 4.2.6), with those of the extended kind, that add, subtract and
// multiply.
#include <functional>
#include <optional>
#include <vector>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/module.h"
#include "guest/wasm/opcode.h"
#include "guest/wasm/value.h"

namespace doppel::wasm {

/// Validates the constant expressions of a module.
class ConstantValidator {
 public:
  explicit ConstantValidator(const Module& module) : module_(module) {}
  /// `expression` has to give one value of the type `wanted`, and may name the first `globals` globals. Error: "type
  /// mismatch", "constant expression required", "unknown function 3", …
  std::optional<ModuleError> check(ConstantExpression expression, ValueType wanted, std::uint32_t globals);

 private:
  void instruction(ByteReader& in, Opcode opcode, std::uint32_t globals);
  void global(ByteReader& in, std::uint32_t globals);
  void function(ByteReader& in);
  void binary(ByteReader& in, ValueType type);

  const Module& module_;
  std::vector<ValueType> stack_;
};

/// What a valid expression gives. `global` gives a global's value, `function_number` a function's number in the store,
/// both by index in the module.
Cell evaluate_constant(const Module& module, ConstantExpression expression,
                       const std::function<Cell(std::uint32_t)>& global,
                       const std::function<std::uint32_t(std::uint32_t)>& function_number);

}  // namespace doppel::wasm
