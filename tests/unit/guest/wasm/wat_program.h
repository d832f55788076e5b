#pragma once
// Programs in the text format, in a store of their own.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "guest/wasm/execution.h"
#include "guest/wasm/store.h"
#include "guest/wasm/text/assemble.h"

namespace doppel::wasm::bench {

/// A module from text. What is wrong with it fails the test.
inline std::shared_ptr<const Module> module_of(std::string_view text) {
  auto assembled = text::assemble(text);
  if (const auto* wrong = std::get_if<text::TextError>(&assembled)) {
    ADD_FAILURE() << wrong->line << ":" << wrong->column << ": " << wrong->message;
    return std::make_shared<const Module>();
  }
  auto parsed = parse_module(
      std::make_shared<const std::vector<std::uint8_t>>(std::move(std::get<text::AssembledModule>(assembled).bytes)));
  if (const auto* wrong = std::get_if<ModuleError>(&parsed)) {
    ADD_FAILURE() << wrong->message;
    return std::make_shared<const Module>();
  }
  return std::make_shared<const Module>(std::get<Module>(std::move(parsed)));
}

/// A store with one instance or more.
struct Program {
  Store store;
  Instance* instance = nullptr;
  std::map<std::string, Extern, std::less<>> host;  // what modules may import, by name

  explicit Program(StoreLimits limits = {}) : store(limits) {}
  explicit Program(std::string_view text) { add(text); }

  void add_host(std::string name, std::vector<ValueType> parameters, std::vector<ValueType> results,
                std::function<HostOutcome(const HostCall&)> call) {
    const auto number =
        store.add_host_function({"host", name, std::move(parameters), std::move(results), std::move(call)});
    host[name] = {ExternKind::function, number};
  }
  std::variant<Instance*, InstantiationError> instantiate(std::string_view text) {
    return store.instantiate(module_of(text), [this](std::string_view, std::string_view name) {
      const auto found = host.find(name);
      return found == host.end() ? std::nullopt : std::optional(found->second);
    });
  }
  void add(std::string_view text) {
    const auto made = instantiate(text);
    if (const auto* wrong = std::get_if<InstantiationError>(&made)) FAIL() << wrong->message;
    instance = std::get<Instance*>(made);
  }
  std::uint32_t function(std::string_view name) const {
    const Export* const e = instance->module->find_export(name);
    EXPECT_TRUE(e) << name;
    return e ? store.exported(*instance, *e).number : 0;
  }
  /// The results' cells, or none where it does not finish.
  std::vector<Cell> call(std::string_view name, std::vector<Cell> arguments = {}) {
    Execution execution(store);
    execution.call(function(name), arguments);
    const Stop stop = execution.run();
    EXPECT_EQ(stop.kind, Stop::Kind::finished) << spelling(stop.trap);
    return {execution.results().begin(), execution.results().end()};
  }
  /// How it fails: EXPECTs that it does.
  Trap trap(std::string_view name, std::vector<Cell> arguments = {}) {
    Execution execution(store);
    execution.call(function(name), arguments);
    const Stop stop = execution.run();
    EXPECT_EQ(stop.kind, Stop::Kind::trapped);
    return stop.trap;
  }
};

inline std::vector<Cell> one(std::uint32_t value) { return {Cell::of_i32(value)}; }

}  // namespace doppel::wasm::bench
