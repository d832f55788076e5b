// ProgramEngine: calls into generated code, and out of it to the host.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "codegen/fast/function_host.h"
#include "engine/program_engine.h"
#include "guest/wasm/bulk_operations.h"
#include "guest/wasm/translate.h"

namespace doppel {
namespace {

using wasm::Cell;
using wasm::Trap;

/// Goes through arguments or results in the order of the convention: where each is.
class Walk {
 public:
  Walk(ir::ProgramRegisters& registers, ir::ProgramCell* area) : registers_(registers), area_(area) {}

  Cell argument(wasm::ValueType type, std::size_t n) { return load(type, place(type, n)); }
  void set_argument(wasm::ValueType type, std::size_t n, Cell cell) { store(type, place(type, n), cell); }
  Cell result(wasm::ValueType type, std::size_t n) { return load(type, result_place(type, n)); }
  void set_result(wasm::ValueType type, std::size_t n, Cell cell) { store(type, result_place(type, n), cell); }

 private:
  std::uint64_t* place(wasm::ValueType type, std::size_t n) {
    if (ir::is_general(wasm::ir_type(type))) {
      if (general_ < fast::argument_registers.size()) return &registers_.general[general_++];
    } else if (vector_ < fast::vector_arguments) {
      return &registers_.vector[vector_++].low;
    }
    return &area_[n].low;
  }
  std::uint64_t* result_place(wasm::ValueType type, std::size_t n) {
    if (n != 0) return &area_[n].low;
    return ir::is_general(wasm::ir_type(type)) ? &registers_.result : &registers_.vector[0].low;
  }
  static Cell load(wasm::ValueType type, const std::uint64_t* at) {
    const auto bytes = ir::bytes(wasm::ir_type(type));
    constexpr std::uint64_t low_half = 0xffff'ffff;
    if (bytes == 4) return {*at & low_half, 0};
    return {at[0], bytes == 16 ? at[1] : 0};
  }
  static void store(wasm::ValueType type, std::uint64_t* at, Cell cell) {
    at[0] = cell.low;
    if (ir::bytes(wasm::ir_type(type)) == 16) at[1] = cell.high;
  }

  ir::ProgramRegisters& registers_;
  ir::ProgramCell* area_;
  std::size_t general_ = 0, vector_ = 0;
};

/// Generated code has no type for the sanitizer to look at.
[[clang::no_sanitize("function")]] int enter(const std::byte* routine, fast::ProgramEntry& entry,
                                             ir::ProgramState& state) {
  using Enter = int (*)(fast::ProgramEntry*, ir::ProgramState*);
  return reinterpret_cast<Enter>(reinterpret_cast<std::uintptr_t>(routine))(&entry, &state);
}

}  // namespace

wasm::Stop ProgramEngine::call(std::uint32_t function, std::span<const Cell> arguments, std::vector<Cell>& results) {
  trapped_at_.reset();
  const auto& type = store_.type_of(function);
  results.assign(type.results.size(), {});
  stop_ = {};
  if (!know_everything()) {
    interpret(function, arguments, results);
    return stop_;
  }
  const auto& row = host_context_.rows[function];
  fast::ProgramEntry entry{.registers = {}, .code = row.code, .context = row.context, .stack = state_->stack & ~15ULL};
  Walk in(entry.registers, state_->area.data());
  for (std::size_t n = 0; n < arguments.size(); n++) in.set_argument(type.parameters[n], n, arguments[n]);
  const auto host_stack = state_->host_stack, stack = state_->stack;
  state_->fault = 0;
  const bool trapped = enter(routine(routines_.enter), entry, *state_) != 0;
  state_->host_stack = host_stack;
  state_->stack = stack;
  if (trapped) return stop_of_trap();
  Walk out(entry.registers, state_->area.data());
  for (std::size_t n = 0; n < results.size(); n++) results[n] = out.result(type.results[n], n);
  return {};
}

wasm::Stop ProgramEngine::stop_of_trap() {
  const auto pc = state_->trap_pc;
  const auto next = std::ranges::upper_bound(compiled_, pc, {}, &Compiled::begin);
  const bool given = std::exchange(state_->fault, 0) != 0;
  // Behind a tail call to the host is the code of who called before.
  if (next != compiled_.begin() && pc < next[-1].end) {
    const auto& code = next[-1];
    const auto offset = std::uint32_t(pc - code.begin);
    for (auto site = std::ranges::lower_bound(code.sites, offset, {}, &fast::CodeSite::offset);
         site != code.sites.end() && site->offset == offset; ++site) {
      if (given != (site->trap == fast::CodeSite::no_trap)) continue;
      trapped_at_ = ProgramPlace{code.function, site->pc};
      if (!given) return {.kind = wasm::Stop::Kind::trapped, .trap = Trap(site->trap)};
    }
  }
  if (given) return stop_;
  fmt::print(stderr, "doppel: compiled code went wrong at {:#x}\n", pc);
  std::abort();
}

int ProgramEngine::stop_with(wasm::Stop stop) {
  stop_ = stop;
  state_->fault = 1;
  return 1;
}

int ProgramEngine::interpret(std::uint32_t function, std::span<const Cell> arguments, std::span<Cell> results) {
  wasm::Execution execution(store_);
  execution.call(function, arguments);
  const auto stop = execution.run();
  if (stop.kind != wasm::Stop::Kind::finished) return stop_with(stop);
  std::ranges::copy(execution.results(), results.begin());
  return 0;
}

/// A function of the host's, or one that has to be interpreted.
int ProgramEngine::call_host(std::uint32_t function, ir::ProgramContext* caller) {
  const auto& type = store_.type_of(function);
  std::vector<Cell> arguments(type.parameters.size()), results(type.results.size());
  Walk in(state_->registers, state_->area.data());
  for (std::size_t n = 0; n < arguments.size(); n++) arguments[n] = in.argument(type.parameters[n], n);
  const auto entry = store_.functions[function];
  if (entry.instance != wasm::FunctionEntry::host) {
    if (interpret(function, arguments, results) != 0) return 1;
  } else {
    auto* const instance = caller ? static_cast<wasm::Instance*>(caller->instance) : nullptr;
    const auto outcome = store_.host_functions[entry.index].call({store_, instance, arguments, results});
    using Kind = wasm::HostOutcome::Kind;
    if (outcome.kind == Kind::trapped) return stop_with({.kind = wasm::Stop::Kind::trapped, .trap = outcome.trap});
    if (outcome.kind == Kind::ended) return stop_with({.kind = wasm::Stop::Kind::ended, .status = outcome.status});
    if (outcome.kind == Kind::waits) return stop_with({.kind = wasm::Stop::Kind::waits});
  }
  if (!know_everything()) return stop_with({.kind = wasm::Stop::Kind::trapped, .trap = Trap::invalid_function});
  Walk out(state_->registers, state_->area.data());
  for (std::size_t n = 0; n < results.size(); n++) out.set_result(type.results[n], n, results[n]);
  return 0;
}

int ProgramEngine::run_routine(ir::ProgramContext& context, ir::Routine routine, std::uint32_t first,
                               std::uint32_t second) {
  auto& instance = *static_cast<wasm::Instance*>(context.instance);
  auto& a = state_->area;
  const auto done = [&](wasm::bulk::Outcome trap) {
    return trap ? stop_with({.kind = wasm::Stop::Kind::trapped, .trap = *trap}) : 0;
  };
  const auto give = [&](std::optional<std::uint64_t> size, bool is64) {
    a[0].low = is64 ? size.value_or(~0ULL) : std::uint32_t(size.value_or(0xffff'ffff));
    update_views();
    return 0;
  };
  using ir::Routine;
  switch (routine) {
    case Routine::memory_grow: {
      const auto memory = instance.memories[first];
      return give(store_.grow_memory(memory, a[0].low), store_.memories[memory].type().limits.is64);
    }
    case Routine::memory_fill:
      return done(
          wasm::bulk::memory_fill(store_, instance.memories[first], a[0].low, std::uint8_t(a[1].low), a[2].low));
    case Routine::memory_copy:
      return done(wasm::bulk::memory_copy(store_, instance.memories[second], instance.memories[first], a[0].low,
                                          a[1].low, a[2].low));
    case Routine::memory_init:
      return done(
          wasm::bulk::memory_init(store_, instance, instance.memories[second], first, a[0].low, a[1].low, a[2].low));
    case Routine::data_drop:
      instance.dropped_data[first] = true;
      return 0;
    case Routine::table_grow: {
      const auto table = instance.tables[second];
      return give(store_.grow_table(table, a[1].low, {a[0].low}), store_.tables[table].type.limits.is64);
    }
    case Routine::table_fill:
      return done(wasm::bulk::table_fill(store_, instance.tables[second], a[0].low, {a[1].low}, a[2].low));
    case Routine::table_copy:
      return done(wasm::bulk::table_copy(store_, instance.tables[second], instance.tables[first], a[0].low, a[1].low,
                                         a[2].low));
    case Routine::table_init:
      return done(
          wasm::bulk::table_init(store_, instance, instance.tables[second], first, a[0].low, a[1].low, a[2].low));
    default:
      instance.dropped_elements[first] = true;
      return 0;
  }
}

int ProgramEngine::on_runtime(ir::ProgramContext* context, std::uint32_t routine, std::uint64_t numbers) {
  auto& engine = *static_cast<ProgramEngine*>(context->state->program);
  return engine.run_routine(*context, ir::Routine(routine), std::uint32_t(numbers), std::uint32_t(numbers >> 32));
}

int ProgramEngine::on_host(ir::ProgramState* state, std::uint32_t number, ir::ProgramContext* caller) {
  return static_cast<ProgramEngine*>(state->program)->call_host(number, caller);
}

const void* ProgramEngine::on_compile(ir::ProgramContext* context, std::uint32_t index) {
  auto& engine = *static_cast<ProgramEngine*>(context->state->program);
  const auto& instance = *static_cast<const wasm::Instance*>(context->instance);
  const void* const code = engine.compile(*engine.instances_[instance.number], index);
  if (code) return code;
  fmt::print(stderr, "doppel: there is no room for compiled code\n");
  std::abort();
}

int ProgramEngine::on_subtype(const ir::FunctionRow* row, std::uint32_t type) {
  return wasm::is_subtype(wasm::TypeId(row->type), wasm::TypeId(type));
}

}  // namespace doppel
