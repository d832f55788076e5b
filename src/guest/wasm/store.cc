#include "guest/wasm/store.h"

#include <numeric>

namespace doppel::wasm {
namespace {

/// Elements that a table of the type may have (3.2.17); what vectors hold is far less.
std::uint64_t most_elements(const TableType& type) {
  const std::uint64_t addressable = type.limits.is64 ? ~0ULL : 0xffff'ffffULL;
  return std::min(type.limits.maximum.value_or(addressable), addressable);
}

}  // namespace

Store::Store(StoreLimits limits) : limits_(limits) {}
Store::~Store() = default;

std::uint32_t Store::add_host_function(HostFunction function) {
  auto group = type_registry::intern({DefinedType{.form = DefinedType::Form::func,
                                                  .final = true,
                                                  .super = {},
                                                  .parameters = function.parameters,
                                                  .results = function.results,
                                                  .fields = {}}});
  const auto type = group->first;
  host_types_.emplace(type, std::move(group));
  functions.push_back({.type = type, .index = std::uint32_t(host_functions.size())});
  host_functions.push_back(std::move(function));
  return std::uint32_t(functions.size() - 1);
}

Result<std::uint32_t> Store::add_table(TableType type, Reference initial) {
  tables.push_back({type, {}});
  const auto number = std::uint32_t(tables.size() - 1);
  if (grow_table(number, type.limits.minimum, initial)) return number;
  tables.pop_back();
  return error("there is no room for a table of {} elements", type.limits.minimum);
}

Result<std::uint32_t> Store::add_memory(MemoryType type) {
  const auto room = (limits_.memory_bytes - std::min(limits_.memory_bytes, memory_bytes())) >> type.page_shift;
  if (type.limits.minimum > room)
    return error("a memory of {} pages of {} bytes is more than the {} that are allowed", type.limits.minimum,
                 1U << type.page_shift, room);
  auto memory = LinearMemory::create(type);
  if (!memory) return memory.failure();
  memories.push_back(std::move(*memory));
  return std::uint32_t(memories.size() - 1);
}

std::uint32_t Store::add_global(GlobalType type, Cell value) {
  globals.push_back({type, value});
  return std::uint32_t(globals.size() - 1);
}

Extern Store::exported(const Instance& instance, const Export& e) const {
  const std::vector<std::uint32_t>* const spaces[] = {&instance.functions, &instance.tables, &instance.memories,
                                                      &instance.globals, &instance.tags};
  return {e.kind, spaces[std::size_t(e.kind)]->at(e.index)};
}

const DefinedType& Store::type_of(std::uint32_t function) const {
  return type_registry::type(functions[function].type);
}

std::uint64_t Store::memory_bytes() const {
  return std::accumulate(memories.begin(), memories.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const LinearMemory& memory) { return sum + memory.bytes(); });
}

std::uint64_t Store::table_elements() const {
  return std::accumulate(tables.begin(), tables.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const TableInstance& table) { return sum + table.elements.size(); });
}

std::optional<std::uint64_t> Store::grow_memory(std::uint32_t memory, std::uint64_t pages) {
  LinearMemory& grown = memories[memory];
  const auto room = limits_.memory_bytes - std::min(limits_.memory_bytes, memory_bytes());
  if (pages > room >> grown.type().page_shift) return {};
  return grown.grow(pages);
}

std::optional<std::uint64_t> Store::grow_table(std::uint32_t table, std::uint64_t elements, Reference initial) {
  auto& [type, content] = tables[table];
  const std::uint64_t old = content.size(), most = most_elements(type);
  const auto room = limits_.table_elements - std::min(limits_.table_elements, table_elements());
  if (elements > room || old > most || elements > most - old) return {};
  content.resize(old + elements, initial);
  return old;
}

}  // namespace doppel::wasm
