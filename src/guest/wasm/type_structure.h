#pragma once
// Recursive groups by their structure (core specification, 3.1.2): two are the same if they differ in nothing but the
// numbers of their own types.
#include <cstdint>
#include <span>

#include "guest/wasm/types.h"

namespace doppel::wasm {

/// Where a group's own types lie among the numbers of defined types; of one that has no numbers yet: no types.
struct OwnTypes {
  TypeId first = 0;
  std::uint32_t size = 0;
};

/// A group's heap type as it is written where the group has no numbers: its own types by their place.
constexpr HeapType placed(HeapType heap, OwnTypes own) {
  if (!heap.is_defined() || heap.id() < own.first || heap.id() - own.first >= own.size) return heap;
  return HeapType::of_group(heap.id() - own.first);
}

/// Replaces each heap type in a type by what `change` makes of it.
template <typename Change>
void change_heap_types(DefinedType& type, const Change& change) {
  const auto change_value = [&](ValueType& value) {
    if (value.is_reference()) value = ValueType::reference(change(value.heap()), value.nullable());
  };
  if (type.super) type.super = change(*type.super);
  for (ValueType& value : type.parameters) change_value(value);
  for (ValueType& value : type.results) change_value(value);
  for (FieldType& field : type.fields) change_value(field.type);
}

/// A number that equal groups have in common. It depends on a secret of the process, so that no module can be made
/// whose types all have the same.
std::uint64_t fingerprint(std::span<const DefinedType> types, OwnTypes own);

/// Whether `types`, which have no numbers yet, are the same group as `group`.
bool is_same_group(const TypeGroup& group, std::span<const DefinedType> types);

}  // namespace doppel::wasm
