#include "guest/wasm/validate_types.h"

#include <fmt/format.h>

#include <algorithm>

namespace doppel::wasm {
namespace {

constexpr std::uint32_t most_depth = 63;  // as engines of the web have it

// 3.3.11: what can be written has to be the very same type.
bool is_field_subtype(FieldType sub, FieldType super) {
  if (sub.mutable_ != super.mutable_) return false;
  return sub.mutable_ ? sub.type == super.type : is_subtype(sub.type, super.type);
}

// 3.3.10.
bool is_composite_subtype(const DefinedType& sub, const DefinedType& super) {
  const auto is_value_subtype = [](ValueType a, ValueType b) { return is_subtype(a, b); };
  if (sub.form != super.form || sub.fields.size() < super.fields.size()) return false;
  return std::ranges::equal(super.parameters, sub.parameters, is_value_subtype) &&
         std::ranges::equal(sub.results, super.results, is_value_subtype) &&
         std::ranges::equal(std::span(sub.fields).first(super.fields.size()), super.fields, is_field_subtype);
}

std::optional<std::string> subtype_error(TypeId id) {
  const DefinedType& type = type_registry::type(id);
  if (!type.super) return std::nullopt;
  const DefinedType& super = type_registry::type(type.super->id());
  if (super.final) return "has a final supertype";
  if (type_registry::depth(id) > most_depth) return fmt::format("has more than {} supertypes", most_depth);
  if (!is_composite_subtype(type, super)) return "does not match its supertype";
  return std::nullopt;
}

}  // namespace

std::optional<ModuleError> validate_types(const Module& module) {
  for (std::size_t n = 0; n < module.types.size(); n++)
    if (const auto error = subtype_error(module.types[n]))
      return ModuleError{.message = fmt::format("sub type {} {}", n, *error)};
  return std::nullopt;
}

}  // namespace doppel::wasm
