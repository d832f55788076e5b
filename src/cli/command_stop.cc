#include <memory>

#include "api/control_client.h"
#include "cli/named_machines.h"

namespace doppel {
namespace {

constexpr int patience_ms = 30'000;

Result<void> stop(const MachineEntry& machine) {
  const auto process = machine.process();
  if (!process) return process.failure();
  if (auto asked = ask(machine, {{"do", "stop"}}); !asked) return asked.failure();
  if (wait_for_end(process->get(), patience_ms) == ProcessEnd::ended) return {};
  return error("the machine '{}' has not ended in {} s: doppel kill {} ends it at once", machine.name(),
               patience_ms / 1000, machine.name());
}

}  // namespace

void add_stop(CLI::App& program, Action& action) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto* verb = program.add_subcommand("stop", "Switch machines off and wait until they have ended");
  add_names(*verb, *names);
  verb->footer(
      "It is as if the power went off: what the guest has flushed to its disks is there, and what it has not is lost.\n"
      "To shut the guest down in order, tell it so: doppel attach NAME, and there poweroff.");
  verb->callback([names, &action] {
    action = [names] {
      return for_each_machine(*names, [](const RuntimeFolder&, const MachineEntry& machine) { return stop(machine); });
    };
  });
}

}  // namespace doppel
