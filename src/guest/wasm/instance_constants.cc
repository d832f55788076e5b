#include "guest/wasm/instance_constants.h"

#include "guest/wasm/constant_expression.h"

namespace doppel::wasm {

Cell constant_of(const Store& store, const Instance& instance, ConstantExpression expression) {
  return evaluate_constant(
      *instance.module, expression,
      [&](std::uint32_t global) { return store.globals[instance.globals[global]].value; },
      [&](std::uint32_t function) { return instance.functions[function]; });
}

Reference element_of(const Store& store, const Instance& instance, const ElementSegment& segment, std::uint32_t n) {
  if (segment.by_expression) return constant_of(store, instance, segment.expressions[n]).reference();
  return Reference::function(instance.functions[segment.functions[n]]);
}

}  // namespace doppel::wasm
