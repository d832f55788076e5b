#include "guest/wasm/body_form.h"

#include "guest/wasm/instruction_skip.h"
#include "guest/wasm/read_types.h"

namespace doppel::wasm {
namespace {

void skip_locals(ByteReader& in, const Module& module) {
  constexpr std::uint64_t most_locals = ~0U;
  const std::uint32_t groups = in.u32();
  std::uint64_t locals = 0;
  for (std::uint32_t n = 0; n < groups && !in.failed(); n++) {
    const std::uint32_t at = in.offset();
    locals += in.u32();
    if (locals > most_locals) in.fail_at(at, "too many locals");
    read_value_type(in, {module.types});
  }
}

void skip_body(ByteReader& in, const Module& module, ByteRange body) {
  skip_locals(in, module);
  bool names_data = false;
  skip_expression(in, [&](ByteReader&, Opcode opcode) {
    names_data |= row(opcode).immediates.find('D') != std::string_view::npos;
    return false;
  });
  if (!in.failed() && in.offset() != body.end) in.fail_at(body.begin, "section size mismatch");
  if (names_data && !module.data_count) in.fail_at(body.begin, "data count section required");
}

}  // namespace

std::optional<ModuleError> find_malformed_body(const Module& module) {
  for (std::size_t n = module.imported_functions; n < module.functions.size(); n++) {
    const ByteRange body = module.functions[n].body;
    if (body.begin == 0) break;  // of a module that breaks off
    ByteReader in(module.bytes->data(), body.begin, std::uint32_t(module.bytes->size()));
    skip_body(in, module, body);
    if (in.malformed()) return ModuleError{true, in.failure_offset(), in.message()};
  }
  return std::nullopt;
}

}  // namespace doppel::wasm
