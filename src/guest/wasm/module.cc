#include "guest/wasm/module.h"

#include <algorithm>
#include <array>

namespace doppel::wasm {

std::string_view spelling(ExternKind kind) {
  static constexpr std::array<std::string_view, 5> names = {"function", "table", "memory", "global", "tag"};
  return names[std::size_t(kind)];
}

const Export* Module::find_export(std::string_view name) const {
  const auto name_of = [this](std::uint32_t n) -> std::string_view { return exports[n].name; };
  const auto at = std::ranges::lower_bound(exports_by_name, name, {}, name_of);
  return at != exports_by_name.end() && name_of(*at) == name ? &exports[*at] : nullptr;
}

Error ModuleError::error() const {
  if (offset == 0) return doppel::error("the module is {}: {}", malformed ? "malformed" : "invalid", message);
  return doppel::error("the module is {} at byte {}: {}", malformed ? "malformed" : "invalid", offset, message);
}

}  // namespace doppel::wasm
