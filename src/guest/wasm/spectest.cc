#include "guest/wasm/spectest.h"

namespace doppel::wasm {
namespace {

struct Printer {
  std::string_view name;
  std::vector<ValueType> parameters;
};
/// They print nothing here: the tests only call them.
const std::vector<Printer>& printers() {
  static const std::vector<Printer> all = {
      {"print", {}},        {"print_i32", {i32}},          {"print_i64", {i64}},          {"print_f32", {f32}},
      {"print_f64", {f64}}, {"print_i32_f32", {i32, f32}}, {"print_f64_f64", {f64, f64}},
  };
  return all;
}

struct Constant {
  std::string_view name;
  ValueType type;
  Cell value;
};
constexpr std::array constants = {
    Constant{"global_i32", i32, Cell::of_i32(666)},
    Constant{"global_i64", i64, Cell::of_i64(666)},
    Constant{"global_f32", f32, Cell::of_f32(666.6F)},
    Constant{"global_f64", f64, Cell::of_f64(666.6)},
};

}  // namespace

Result<Spectest> Spectest::add_to(Store& store) {
  Spectest made;
  for (const auto& [name, parameters] : printers()) {
    const auto number = store.add_host_function({.module = "spectest",
                                                 .name = std::string(name),
                                                 .parameters = parameters,
                                                 .results = {},
                                                 .call = [](const HostCall&) { return HostOutcome::returned(); }});
    made.exports_.emplace(name, Extern{ExternKind::function, number});
  }
  for (const auto& [name, type, value] : constants)
    made.exports_.emplace(name, Extern{ExternKind::global, store.add_global({.type = type}, value)});
  for (const bool is64 : {false, true}) {
    const auto table = store.add_table({{.minimum = 10, .maximum = 20, .is64 = is64}, funcref}, Reference::null());
    if (!table) return table.failure();
    made.exports_.emplace(is64 ? "table64" : "table", Extern{ExternKind::table, *table});
  }
  const auto memory = store.add_memory({.limits = {.minimum = 1, .maximum = 2}});
  if (!memory) return memory.failure();
  made.exports_.emplace("memory", Extern{ExternKind::memory, *memory});
  return made;
}

std::optional<Extern> Spectest::find(std::string_view name) const {
  const auto found = exports_.find(name);
  return found == exports_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace doppel::wasm
