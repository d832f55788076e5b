// Instantiation (core specification, 4.5.3 and 4.5.4): imports are matched, the module's own parts are allocated and
// initialised, active segments are written.
#include "guest/wasm/bulk_operations.h"
#include "guest/wasm/function_infos.h"
#include "guest/wasm/import_matching.h"
#include "guest/wasm/instance_constants.h"
#include "guest/wasm/store.h"

namespace doppel::wasm {
namespace {

using Failure = std::optional<InstantiationError>;

InstantiationError unlinkable(std::string_view what, const Import& import) {
  return {.message = fmt::format("{} of {} \"{}\" \"{}\"", what, spelling(import.kind), import.module, import.name)};
}

/// What the module's imports are bound to, in their order.
std::variant<std::vector<Extern>, InstantiationError> link(const Store& store, const Module& module,
                                                           const Store::Resolver& resolve) {
  std::vector<Extern> found;
  for (const Import& import : module.imports) {
    const auto there = resolve ? resolve(import.module, import.name) : std::nullopt;
    if (!there) return unlinkable("unknown import", import);
    if (!matches_import(store, *there, module, import)) return unlinkable("incompatible import type", import);
    found.push_back(*there);
  }
  return found;
}

class Instantiation {
 public:
  Instantiation(Store& store, std::shared_ptr<const Module> module, std::span<const Extern> imports)
      : store_(store),
        module_(*module),
        tables_(store.tables.size()),
        memories_(store.memories.size()),
        instance_(store.instances.emplace_back()) {
    instance_.number = std::uint32_t(store.instances.size() - 1);
    instance_.infos = FunctionInfos::of_module(module);
    instance_.module = std::move(module);
    for (const Extern& import : imports) space(import.kind).push_back(import.number);
  }

  /// Memories and tables are made first, as there may be no room for them.
  Failure allocate();
  Failure initialize();
  Instance& instance() { return instance_; }
  /// As if nothing had been made: for an instance that nothing refers to yet.
  void undo() {
    while (store_.memories.size() > memories_) store_.memories.pop_back();
    while (store_.tables.size() > tables_) store_.tables.pop_back();
    store_.instances.pop_back();
  }

 private:
  std::vector<std::uint32_t>& space(ExternKind kind);
  void add_functions();
  Failure add_memories();
  Failure add_tables();
  void add_globals();
  void fill_tables();
  bulk::Outcome write_elements(std::uint32_t segment);
  bulk::Outcome write_data(std::uint32_t segment);
  std::uint64_t offset_of(ConstantExpression offset, bool is64) const;

  Store& store_;
  const Module& module_;
  std::size_t tables_, memories_;  // that were there before
  Instance& instance_;
};

std::vector<std::uint32_t>& Instantiation::space(ExternKind kind) {
  std::vector<std::uint32_t>* const spaces[] = {&instance_.functions, &instance_.tables, &instance_.memories,
                                                &instance_.globals, &instance_.tags};
  return *spaces[std::size_t(kind)];
}

Failure Instantiation::allocate() {
  if (auto failure = add_memories()) return failure;
  if (auto failure = add_tables()) return failure;
  add_functions();
  for (std::size_t n = module_.imported_tags; n < module_.tags.size(); n++) {
    instance_.tags.push_back(std::uint32_t(store_.tags.size()));
    store_.tags.push_back(module_.tags[n]);
  }
  add_globals();
  instance_.dropped_elements.resize(module_.elements.size());
  instance_.dropped_data.resize(module_.data.size());
  return {};
}

void Instantiation::add_functions() {
  for (std::size_t n = module_.imported_functions; n < module_.functions.size(); n++) {
    instance_.functions.push_back(std::uint32_t(store_.functions.size()));
    store_.functions.push_back(
        {.type = module_.functions[n].type, .instance = instance_.number, .index = std::uint32_t(n)});
  }
}

Failure Instantiation::add_memories() {
  for (std::size_t n = module_.imported_memories; n < module_.memories.size(); n++) {
    const auto memory = store_.add_memory(module_.memories[n]);
    if (!memory) return InstantiationError{InstantiationError::Kind::resources, memory.message()};
    instance_.memories.push_back(*memory);
  }
  return {};
}

Failure Instantiation::add_tables() {
  for (std::size_t n = module_.imported_tables; n < module_.tables.size(); n++) {
    const auto table = store_.add_table(module_.tables[n].type, Reference::null());
    if (!table) return InstantiationError{InstantiationError::Kind::resources, table.message()};
    instance_.tables.push_back(*table);
  }
  return {};
}

void Instantiation::add_globals() {
  for (std::size_t n = module_.imported_globals; n < module_.globals.size(); n++) {
    const auto& [type, initial] = module_.globals[n];
    instance_.globals.push_back(store_.add_global(type, constant_of(store_, instance_, initial)));
  }
}

void Instantiation::fill_tables() {
  for (std::size_t n = module_.imported_tables; n < module_.tables.size(); n++) {
    if (!module_.tables[n].initial) continue;
    auto& elements = store_.tables[instance_.tables[n]].elements;
    elements.assign(elements.size(), constant_of(store_, instance_, *module_.tables[n].initial).reference());
  }
}

std::uint64_t Instantiation::offset_of(ConstantExpression offset, bool is64) const {
  const Cell value = constant_of(store_, instance_, offset);
  return is64 ? value.i64() : value.i32();
}

bulk::Outcome Instantiation::write_elements(std::uint32_t segment) {
  const ElementSegment& s = module_.elements[segment];
  if (s.mode == SegmentMode::passive) return {};
  if (s.mode == SegmentMode::active) {
    const auto table = instance_.tables[s.table];
    const auto offset = offset_of(s.offset, store_.tables[table].type.limits.is64);
    if (auto trap = bulk::table_init(store_, instance_, table, segment, offset, 0, s.size())) return trap;
  }
  instance_.dropped_elements[segment] = true;
  return {};
}

bulk::Outcome Instantiation::write_data(std::uint32_t segment) {
  const DataSegment& s = module_.data[segment];
  if (s.mode != SegmentMode::active) return {};
  const auto memory = instance_.memories[s.memory];
  const auto offset = offset_of(s.offset, store_.memories[memory].type().limits.is64);
  if (auto trap = bulk::memory_init(store_, instance_, memory, segment, offset, 0, s.bytes.size())) return trap;
  instance_.dropped_data[segment] = true;
  return {};
}

Failure Instantiation::initialize() {
  fill_tables();
  const auto trapped = [](Trap trap) {
    return InstantiationError{InstantiationError::Kind::trapped, std::string(spelling(trap)), trap};
  };
  for (std::uint32_t n = 0; n < module_.elements.size(); n++)
    if (const auto trap = write_elements(n)) return trapped(*trap);
  for (std::uint32_t n = 0; n < module_.data.size(); n++)
    if (const auto trap = write_data(n)) return trapped(*trap);
  return {};
}

}  // namespace

std::variant<Instance*, InstantiationError> Store::instantiate(std::shared_ptr<const Module> module,
                                                               const Resolver& resolve) {
  auto imports = link(*this, *module, resolve);
  if (auto* failure = std::get_if<InstantiationError>(&imports)) return std::move(*failure);
  Instantiation making(*this, std::move(module), std::get<0>(imports));
  if (auto failure = making.allocate()) {
    making.undo();
    return std::move(*failure);
  }
  if (auto failure = making.initialize()) return std::move(*failure);
  return &making.instance();
}

}  // namespace doppel::wasm
