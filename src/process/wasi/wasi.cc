#include "process/wasi/wasi.h"

#include <csignal>
#include <cstring>

#include "process/wasi/context.h"
#include "process/wasi/function_table.h"
#include "process/wasi/host_descriptors.h"

namespace doppel::wasi {
namespace {

/// The caller's first memory; none where the module has none.
std::span<std::uint8_t> memory_of(const wasm::HostCall& call) {
  if (!call.caller || call.caller->memories.empty()) return {};
  auto& memory = call.store.memories[call.caller->memories[0]];
  return {memory.data(), memory.bytes()};
}

wasm::HostOutcome run(Context& context, const FunctionRow& row, const wasm::HostCall& call) {
  context.pending = {};
  const Answer answer = row.call(context, GuestView(memory_of(call)), call.arguments);
  // A poll that waits is called again at once; whoever calls something else has given it up.
  if (row.name != "poll_oneoff") context.poll_started.reset();
  if (answer.outcome.kind != wasm::HostOutcome::Kind::returned) return answer.outcome;
  if (!call.results.empty()) call.results[0] = wasm::Cell::of_i32(std::uint32_t(answer.error));
  return answer.outcome;
}

std::vector<wasm::ValueType> types(std::string_view letters) {
  std::vector<wasm::ValueType> out;
  for (const char letter : letters) out.push_back(letter == 'i' ? wasm::i32 : wasm::i64);
  return out;
}

wasm::HostFunction function(const std::shared_ptr<Context>& context, std::string_view module, const FunctionRow& row) {
  return {.module = std::string(module),
          .name = std::string(row.name),
          .parameters = types(row.parameters),
          .results = types(row.results),
          .call = [context, &row](const wasm::HostCall& call) { return run(*context, row, call); }};
}

bool has_nul(const std::vector<std::string>& strings) {
  return std::ranges::any_of(strings, [](const auto& string) { return string.find('\0') != std::string::npos; });
}

}  // namespace

Wasi::Wasi(std::shared_ptr<Context> context) : context_(std::move(context)) {}
Wasi::Wasi(Wasi&&) noexcept = default;
Wasi& Wasi::operator=(Wasi&&) noexcept = default;
Wasi::~Wasi() = default;

Result<Wasi> Wasi::create(WasiConfiguration configuration, std::shared_ptr<Environment> environment) {
  if (has_nul(configuration.arguments)) return error("An argument of the program has a NUL in it");
  if (has_nul(configuration.environment)) return error("An environment variable of the program has a NUL in it");
  if (configuration.grants.size() + configuration.listeners.size() + 3 > limits::descriptors)
    return error("A program cannot be given {} folders and {} sockets; it can have {} descriptors",
                 configuration.grants.size(), configuration.listeners.size(), limits::descriptors);
  struct sigaction action{};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) std::signal(SIGPIPE, SIG_IGN);
  auto context = std::make_shared<Context>();
  context->environment = std::move(environment);
  context->yielding = configuration.yielding;
  context->paths = ConfinedPath(configuration.resolver);
  if (const auto opened = open_initial(*context, configuration); !opened) return opened.failure();
  context->arguments = std::move(configuration.arguments);
  context->variables = std::move(configuration.environment);
  return Wasi(std::move(context));
}

std::vector<wasm::HostFunction> Wasi::functions() const {
  std::vector<wasm::HostFunction> out;
  for (const auto& row : preview1_functions()) out.push_back(function(context_, "wasi_snapshot_preview1", row));
  for (const auto& row : unstable_functions()) out.push_back(function(context_, "wasi_unstable", row));
  for (const auto& row : preview1_functions()) {
    const bool other = std::ranges::any_of(unstable_functions(), [&](const auto& old) { return old.name == row.name; });
    if (!other && row.name != "sock_accept") out.push_back(function(context_, "wasi_unstable", row));
  }
  return out;
}

const Pending& Wasi::pending() const { return context_->pending; }

}  // namespace doppel::wasi
