#include <fmt/format.h>

#include <array>

#include "guest/wasm/constant_expression.h"
#include "guest/wasm/module.h"
#include "guest/wasm/validate_types.h"

namespace doppel::wasm {
namespace {

using Outcome = std::optional<ModuleError>;

template <typename... Args>
ModuleError invalid(fmt::format_string<Args...> format, Args&&... args) {
  return {.message = fmt::format(format, std::forward<Args>(args)...)};
}

bool is_function_type(TypeId id) { return type_registry::type(id).form == DefinedType::Form::func; }

// 3.2.15.
Outcome check_limits(const Limits& limits, std::uint64_t most, const std::string& too_large) {
  if (limits.minimum > most || limits.maximum.value_or(0) > most) return invalid("{}", too_large);
  if (limits.minimum > limits.maximum.value_or(most)) return invalid("size minimum must not be greater than maximum");
  return std::nullopt;
}

std::uint32_t index_space(const Module& module, ExternKind kind) {
  switch (kind) {
    case ExternKind::function:
      return std::uint32_t(module.functions.size());
    case ExternKind::table:
      return std::uint32_t(module.tables.size());
    case ExternKind::memory:
      return std::uint32_t(module.memories.size());
    case ExternKind::global:
      return std::uint32_t(module.globals.size());
    case ExternKind::tag:
      return std::uint32_t(module.tags.size());
  }
  return 0;
}

Outcome check_index(const Module& module, ExternKind kind, std::uint32_t index) {
  if (index < index_space(module, kind)) return std::nullopt;
  return invalid("unknown {} {}", spelling(kind), index);
}

Outcome check_functions(const Module& module) {
  for (std::size_t n = 0; n < module.functions.size(); n++)
    if (!is_function_type(module.functions[n].type)) return invalid("non-function type: of function {}", n);
  return std::nullopt;
}

// 3.2.17. The expression sees the imported globals only, since the others come after the tables.
Outcome check_table(const Module& module, const Table& table, bool imported) {
  const Limits& limits = table.type.limits;
  const std::uint64_t most = limits.is64 ? ~0ULL : 0xffff'ffffULL;
  if (auto error = check_limits(limits, most, "table size must be at most 2^32-1")) return error;
  if (table.initial)
    return ConstantValidator(module).check(*table.initial, table.type.element, module.imported_globals);
  if (!imported && !table.type.element.defaultable())
    return invalid("type mismatch: a table of {} needs what its elements begin as", spelling(table.type.element));
  return std::nullopt;
}

Outcome check_tables(const Module& module) {
  for (std::size_t n = 0; n < module.tables.size(); n++)
    if (auto error = check_table(module, module.tables[n], n < module.imported_tables)) return error;
  return std::nullopt;
}

// Pages that fill the address space (3.2.16); one byte less where pages are bytes, so that the size has as many bits.
std::uint64_t most_pages(const MemoryType& type) {
  const unsigned bits = type.limits.is64 ? 64 : 32;
  if (type.page_shift > 0) return 1ULL << (bits - type.page_shift);
  return type.limits.is64 ? ~0ULL : 0xffff'ffffULL;
}

Outcome check_memory(const MemoryType& type) {
  if (type.page_shift != 0 && type.page_shift != 16)
    return invalid("invalid custom page size: 2^{} bytes, of 1 or 65536", type.page_shift);
  const std::uint64_t most = most_pages(type);
  const bool usual = !type.limits.is64 && type.page_shift == 16;
  return check_limits(type.limits, most,
                      fmt::format("memory size must be at most {} pages{}", most, usual ? " (4GiB)" : ""));
}

Outcome check_memories(const Module& module) {
  for (const MemoryType& type : module.memories)
    if (auto error = check_memory(type)) return error;
  return std::nullopt;
}

Outcome check_tags(const Module& module) {
  for (const TagType& tag : module.tags) {
    if (!is_function_type(tag.type)) return invalid("non-function type: of a tag");
    if (!type_registry::type(tag.type).results.empty()) return invalid("non-empty tag result type");
  }
  return std::nullopt;
}

// Each sees those before it (3.5.1).
Outcome check_globals(const Module& module) {
  ConstantValidator constants(module);
  for (std::uint32_t n = module.imported_globals; n < module.globals.size(); n++)
    if (auto error = constants.check(module.globals[n].initial, module.globals[n].type.type, n)) return error;
  return std::nullopt;
}

Outcome check_exports(const Module& module) {
  for (const Export& e : module.exports)
    if (auto error = check_index(module, e.kind, e.index)) return error;
  for (std::size_t n = 1; n < module.exports_by_name.size(); n++) {
    const std::string& name = module.exports[module.exports_by_name[n]].name;
    if (module.exports[module.exports_by_name[n - 1]].name == name) return invalid("duplicate export name {:?}", name);
  }
  return std::nullopt;
}

Outcome check_start(const Module& module) {
  if (!module.start) return std::nullopt;
  if (auto error = check_index(module, ExternKind::function, *module.start)) return error;
  const DefinedType& type = type_registry::type(module.functions[*module.start].type);
  if (!type.parameters.empty() || !type.results.empty()) return invalid("start function: it has parameters or results");
  return std::nullopt;
}

ValueType address_type(const Limits& limits) { return limits.is64 ? i64 : i32; }

// 3.4.9.
Outcome check_element_table(const Module& module, const ElementSegment& segment, ConstantValidator& constants) {
  if (auto error = check_index(module, ExternKind::table, segment.table)) return error;
  const TableType& table = module.tables[segment.table].type;
  if (auto error = constants.check(segment.offset, address_type(table.limits), std::uint32_t(module.globals.size())))
    return error;
  if (is_subtype(segment.type, table.element)) return std::nullopt;
  return invalid("type mismatch: elements are {}, those of table {} {}", spelling(segment.type), segment.table,
                 spelling(table.element));
}

Outcome check_element(const Module& module, const ElementSegment& segment, ConstantValidator& constants) {
  for (const std::uint32_t function : segment.functions)
    if (auto error = check_index(module, ExternKind::function, function)) return error;
  for (const ConstantExpression expression : segment.expressions)
    if (auto error = constants.check(expression, segment.type, std::uint32_t(module.globals.size()))) return error;
  if (segment.mode != SegmentMode::active) return std::nullopt;
  return check_element_table(module, segment, constants);
}

Outcome check_elements(const Module& module) {
  ConstantValidator constants(module);
  for (const ElementSegment& segment : module.elements)
    if (auto error = check_element(module, segment, constants)) return error;
  return std::nullopt;
}

// 3.4.10.
Outcome check_data(const Module& module) {
  ConstantValidator constants(module);
  for (const DataSegment& segment : module.data) {
    if (segment.mode != SegmentMode::active) continue;
    if (auto error = check_index(module, ExternKind::memory, segment.memory)) return error;
    const ValueType address = address_type(module.memories[segment.memory].limits);
    if (auto error = constants.check(segment.offset, address, std::uint32_t(module.globals.size()))) return error;
  }
  return std::nullopt;
}

// In the order of the sections.
constexpr std::array checks = {validate_types, check_functions, check_tables, check_memories, check_tags,
                               check_globals,  check_exports,   check_start,  check_elements, check_data};

}  // namespace

std::optional<ModuleError> validate_module(const Module& module) {
  for (const auto check : checks)
    if (auto error = check(module)) return error;
  return std::nullopt;
}

}  // namespace doppel::wasm
