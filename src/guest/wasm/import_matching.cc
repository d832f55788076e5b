#include "guest/wasm/import_matching.h"

namespace doppel::wasm {
namespace {

/// 3.3.9: `size` is the present one of what has the limits `has`.
bool limits_match(std::uint64_t size, const Limits& has, const Limits& wants) {
  if (has.is64 != wants.is64 || has.shared != wants.shared || size < wants.minimum) return false;
  return !wants.maximum || (has.maximum && *has.maximum <= *wants.maximum);
}

bool table_matches(const TableInstance& there, const TableType& wants) {
  return there.type.element == wants.element && limits_match(there.elements.size(), there.type.limits, wants.limits);
}

bool memory_matches(const LinearMemory& there, const MemoryType& wants) {
  return there.type().page_shift == wants.page_shift && limits_match(there.pages(), there.type().limits, wants.limits);
}

/// 3.3.12: what others may write must have the very type.
bool global_matches(const GlobalType& has, const GlobalType& wants) {
  if (has.mutable_ != wants.mutable_) return false;
  return has.mutable_ ? has.type == wants.type : is_subtype(has.type, wants.type);
}

}  // namespace

bool matches_import(const Store& store, Extern there, const Module& module, const Import& import) {
  if (there.kind != import.kind) return false;
  switch (import.kind) {
    case ExternKind::function:
      return is_subtype(store.functions[there.number].type, module.functions[import.index].type);
    case ExternKind::table:
      return table_matches(store.tables[there.number], module.tables[import.index].type);
    case ExternKind::memory:
      return memory_matches(store.memories[there.number], module.memories[import.index]);
    case ExternKind::global:
      return global_matches(store.globals[there.number].type, module.globals[import.index].type);
    case ExternKind::tag:
      return store.tags[there.number] == module.tags[import.index];
  }
  return false;
}

}  // namespace doppel::wasm
