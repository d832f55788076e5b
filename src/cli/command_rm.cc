#include <memory>

#include "cli/named_machines.h"

namespace doppel {
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
        return *force ? remove_machine(folder, machine) : folder.remove(machine);
      });
    };
  });
}

}  // namespace doppel
