// Any bytes as a WebAssembly module: they are refused with a sentence, or what is made of them can be looked at whole.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "guest/wasm/constant_expression.h"
#include "guest/wasm/module.h"
#include "guest/wasm/module_names.h"

namespace {

using namespace doppel::wasm;

void check_error(const ModuleError& error, std::size_t size) {
  if (error.message.empty() || error.offset > size || error.error().message.empty()) std::abort();
}

// What a valid module's globals begin as; those that it names are 0.
void evaluate_globals(const Module& module) {
  const auto zero = [](std::uint32_t) { return Cell{}; };
  const auto same = [](std::uint32_t function) { return function; };
  for (std::size_t n = module.imported_globals; n < module.globals.size(); n++)
    evaluate_constant(module, module.globals[n].initial, zero, same);
}

void look_up_names(std::shared_ptr<const Module> module) {
  const ModuleNames names(module);
  for (std::uint32_t n = 0; n < module->functions.size() && n < 16; n++) {
    names.find(NameKind::function, n);
    names.find(NameKind::local, n, n);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto parsed = parse_module(std::make_shared<std::vector<std::uint8_t>>(data, data + size));
  if (const auto* error = std::get_if<ModuleError>(&parsed)) return check_error(*error, size), 0;
  const auto module = std::make_shared<const Module>(std::move(std::get<Module>(parsed)));
  look_up_names(module);
  if (const auto error = validate_module(*module)) return check_error(*error, size), 0;
  evaluate_globals(*module);
  if (const auto error = validate(*module)) check_error(*error, size);
  return 0;
}
