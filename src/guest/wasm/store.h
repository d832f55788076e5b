#pragma once
// What a running program consists of (core specification, 4.2): instances and what they share. All of it is plain data
// whose references are numbers, so that a copy of a store means the same as the store.
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "guest/wasm/linear_memory.h"
#include "guest/wasm/module.h"
#include "guest/wasm/value.h"

namespace doppel::wasm {

class Store;
class Execution;
class FunctionInfos;

/// How a host function ends.
struct HostOutcome {
  enum class Kind : std::uint8_t {
    returned,  ///< `results` are filled in
    trapped,   ///< by `trap`
    ended,     ///< the program ends with `status`
    waits,     ///< it cannot go on yet, and nothing has happened: it is called again, with the same arguments, when the
               ///< execution is resumed
  } kind = Kind::returned;
  Trap trap = Trap::unreachable;
  int status = 0;
  static HostOutcome returned() { return {}; }
  static HostOutcome trapped(Trap trap) { return {.kind = Kind::trapped, .trap = trap}; }
  static HostOutcome ended(int status) { return {.kind = Kind::ended, .status = status}; }
  static HostOutcome waits() { return {.kind = Kind::waits}; }
};

struct Instance;
/// What a host function is called with. The caller is the instance whose code calls, null when the host itself does.
struct HostCall {
  Store& store;
  Instance* caller;
  std::span<const Cell> arguments;
  std::span<Cell> results;
};
/// A function of the host's, that modules import by module and name.
struct HostFunction {
  std::string module, name;
  std::vector<ValueType> parameters, results;
  std::function<HostOutcome(const HostCall&)> call;
};

/// A function of a store: of an instance's module, or of the host.
struct FunctionEntry {
  static constexpr std::uint32_t host = ~0U;
  TypeId type = 0;
  std::uint32_t instance = host;  ///< number in the store
  std::uint32_t index = 0;        ///< in the module's index space; of the host: in Store::host_functions
};

struct TableInstance {
  TableType type;
  std::vector<Reference> elements;
};
struct GlobalInstance {
  GlobalType type;
  Cell value;
};

/// `functions` and so on: the numbers in the store of what the module's index spaces name.
struct Instance {
  std::shared_ptr<const Module> module;
  std::uint32_t number = 0;
  std::vector<std::uint32_t> functions, tables, memories, globals, tags;
  std::vector<bool> dropped_elements, dropped_data;
  std::shared_ptr<FunctionInfos> infos;  ///< of the module's functions, which every store shares
};

/// Something that an import can be bound to: its kind and number in the store.
struct Extern {
  ExternKind kind = ExternKind::function;
  std::uint32_t number = 0;
  bool operator==(const Extern&) const = default;
};

/// Why a module could not be instantiated.
struct InstantiationError {
  enum class Kind : std::uint8_t { unlinkable, trapped, resources } kind = Kind::unlinkable;
  std::string message;  ///< of an unlinkable one as the specification's tests say it: "unknown import", "incompatible
                        ///< import type"
  Trap trap = Trap::unreachable;
};

struct StoreLimits {
  std::uint64_t memory_bytes =
      1ULL << 48;  ///< of all memories together; what asks for more is refused as memory.grow may
  std::uint64_t table_elements = 10'000'000;  ///< of all tables together
};

class Store {
 public:
  explicit Store(StoreLimits limits = {});
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  std::uint32_t add_host_function(HostFunction function);
  /// Error: there is no room for it.
  Result<std::uint32_t> add_table(TableType type, Reference initial);
  /// Error: there is no room for it.
  Result<std::uint32_t> add_memory(MemoryType type);
  std::uint32_t add_global(GlobalType type, Cell value);

  using Resolver = std::function<std::optional<Extern>(std::string_view module, std::string_view name)>;
  /// Links and initialises a valid module (4.5.4), all but its start function, which the caller runs. Of one that
  /// traps half-way what it has written stays written, as the specification wants.
  std::variant<Instance*, InstantiationError> instantiate(std::shared_ptr<const Module> module,
                                                          const Resolver& resolve);

  Extern exported(const Instance& instance, const Export& e) const;
  const DefinedType& type_of(std::uint32_t function) const;

  /// memory.grow and table.grow (4.6.10, 4.6.9): the old size in pages or elements, or nothing where the type, the
  /// store's limits or the host do not allow the new one.
  std::optional<std::uint64_t> grow_memory(std::uint32_t memory, std::uint64_t pages);
  std::optional<std::uint64_t> grow_table(std::uint32_t table, std::uint64_t elements, Reference initial);

  // What is in a deque has a stable address: generated code keeps pointers to what is in them.
  std::vector<FunctionEntry> functions;
  std::deque<HostFunction> host_functions;
  std::deque<TableInstance> tables;
  std::deque<LinearMemory> memories;
  std::deque<GlobalInstance> globals;
  std::vector<TagType> tags;
  std::deque<Instance> instances;

 private:
  std::uint64_t memory_bytes() const;
  std::uint64_t table_elements() const;

  StoreLimits limits_;
  std::map<TypeId, std::shared_ptr<const TypeGroup>> host_types_;  ///< keeps the types of host functions alive
};

}  // namespace doppel::wasm
