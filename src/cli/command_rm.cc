#include <memory>

#include "cli/named_machines.h"

namespace doppel {
namespace {

Result<void> remove(const RuntimeFolder& folder, const MachineEntry& machine, bool force) {
  if (force && machine.alive())
    if (auto killed = kill_machine(machine); !killed && machine.alive()) return killed;
  return folder.remove(machine);
}

}  // namespace

void add_rm(CLI::App& program, Action& action) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto force = std::make_shared<bool>();
  auto* verb = program.add_subcommand("rm", "Remove machines that have ended from the list, with their logs");
  add_names(*verb, *names);
  verb->add_flag("-f,--force", *force, "Kill those that run");
  verb->footer("Disks and images stay as they are.");
  verb->callback([names, force, &action] {
    action = [names, force] {
      return for_each_machine(*names, [force](const RuntimeFolder& folder, const MachineEntry& machine) {
        return remove(folder, machine, *force);
      });
    };
  });
}

}  // namespace doppel
