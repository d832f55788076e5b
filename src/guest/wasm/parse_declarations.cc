// Imports, what a module declares itself, and exports (5.3.12 to 5.3.17, 5.5.5 to 5.5.11).
#include <fmt/format.h>

#include "guest/wasm/module_parse.h"

namespace doppel::wasm {
namespace {

constexpr std::uint8_t has_maximum = 1, is_shared = 2, is_64 = 4, has_page_size = 8;
constexpr std::uint8_t table_with_initial = 0x40;

// `allowed` are the flags that there may be.
std::uint8_t read_limits_flags(ModuleParse& parse, std::uint8_t allowed) {
  const std::uint8_t flags = parse.in.byte();
  // Some that announce what no byte is left for are wrong themselves.
  if ((flags & ~allowed) != 0 || parse.in.at_end()) parse.in.fail_at(parse.in.offset() - 1, "malformed limits flags");
  if (flags & is_shared) parse.in.refuse("threads are not supported");
  return flags;
}

Limits read_limits(ModuleParse& parse, std::uint8_t flags) {
  Limits limits;
  limits.is64 = (flags & is_64) != 0;
  limits.minimum = parse.in.u64();
  if (flags & has_maximum) limits.maximum = parse.in.u64();
  return limits;
}

ExternKind read_kind(ModuleParse& parse, std::string_view message) {
  const std::uint8_t code = parse.in.byte();
  if (code > std::uint8_t(ExternKind::tag))
    return parse.in.fail_at(parse.in.offset() - 1, std::string(message)), ExternKind{};
  return ExternKind(code);
}

template <typename Entry>
std::uint32_t add(std::vector<Entry>& space, std::uint32_t& imported, Entry entry) {
  space.push_back(std::move(entry));
  return imported++;
}

// Puts what is imported into the index space of its kind and gives its index.
std::uint32_t read_imported(ModuleParse& parse, ExternKind kind) {
  Module& module = parse.module;
  switch (kind) {
    case ExternKind::function:
      return add(module.functions, module.imported_functions, Function{.type = parse.type_id(), .body = {}});
    case ExternKind::table:
      return add(module.tables, module.imported_tables, Table{.type = read_table_type(parse), .initial = {}});
    case ExternKind::memory:
      return add(module.memories, module.imported_memories, read_memory_type(parse));
    case ExternKind::global:
      return add(module.globals, module.imported_globals, Global{.type = read_global_type(parse), .initial = {}});
    case ExternKind::tag:
      return add(module.tags, module.imported_tags, read_tag_type(parse));
  }
  return 0;
}

Import read_import(ModuleParse& parse) {
  Import import;
  import.module = parse.in.name();
  import.name = parse.in.name();
  import.kind = read_kind(parse, "malformed import kind");
  if (!parse.in.failed()) import.index = read_imported(parse, import.kind);
  return import;
}

// 0x40 0x00 in front of a table says that an expression follows it (5.5.7).
Table read_table(ModuleParse& parse) {
  const bool with_initial = parse.in.peek() == table_with_initial;
  if (with_initial) {
    parse.in.byte();
    if (parse.in.byte() != 0) parse.in.fail_at(parse.in.offset() - 1, "malformed table");
  }
  Table table{.type = read_table_type(parse), .initial = {}};
  if (with_initial) table.initial = read_constant_expression(parse);
  return table;
}

Global read_global(ModuleParse& parse) {
  Global global{.type = read_global_type(parse), .initial = {}};
  global.initial = read_constant_expression(parse);
  return global;
}

Export read_export(ModuleParse& parse) {
  Export e;
  e.name = parse.in.name();
  e.kind = read_kind(parse, "malformed export kind");
  e.index = parse.in.u32();
  if (e.kind == ExternKind::function) parse.make_referable(e.index);
  return e;
}

}  // namespace

TableType read_table_type(ModuleParse& parse) {
  TableType type;
  type.element = read_reference_type(parse.in, parse.types());
  if (!parse.in.failed()) type.limits = read_limits(parse, read_limits_flags(parse, has_maximum | is_shared | is_64));
  return type;
}

MemoryType read_memory_type(ModuleParse& parse) {
  constexpr std::uint32_t most_shift = 63;
  MemoryType type;
  const std::uint8_t flags = read_limits_flags(parse, has_maximum | is_shared | is_64 | has_page_size);
  type.limits = read_limits(parse, flags);
  if (!(flags & has_page_size)) return type;
  const std::uint32_t at = parse.in.offset(), shift = parse.in.u32();
  if (shift > most_shift) parse.in.fail_at(at, "invalid custom page size");
  type.page_shift = std::uint8_t(shift);
  return type;
}

GlobalType read_global_type(ModuleParse& parse) {
  GlobalType type{.type = read_value_type(parse.in, parse.types())};
  type.mutable_ = read_mutability(parse.in);
  return type;
}

TagType read_tag_type(ModuleParse& parse) {
  if (parse.in.byte() != 0) parse.in.fail_at(parse.in.offset() - 1, "malformed tag attribute");
  return {.type = parse.type_id()};
}

void read_import_section(ModuleParse& parse) {
  constexpr std::uint32_t least_bytes = 4;
  read_list(parse, parse.count(limits::imports, "imports"), least_bytes, parse.module.imports, read_import);
}

void read_function_section(ModuleParse& parse) {
  parse.function_types = parse.count(limits::functions, "functions");
  read_list(parse, parse.function_types, 1, parse.module.functions,
            [](ModuleParse& p) { return Function{.type = p.type_id(), .body = {}}; });
}

void read_table_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::tables, "tables"), 3, parse.module.tables, read_table);
}

void read_memory_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::memories, "memories"), 2, parse.module.memories, read_memory_type);
}

void read_tag_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::types, "tags"), 2, parse.module.tags, read_tag_type);
}

void read_global_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::globals, "globals"), 3, parse.module.globals, read_global);
}

void read_export_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::exports, "exports"), 3, parse.module.exports, read_export);
}

void read_start_section(ModuleParse& parse) { parse.module.start = parse.in.u32(); }

}  // namespace doppel::wasm
