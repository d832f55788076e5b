#include <memory>

#include "cli/named_machines.h"

namespace doppel {

void add_kill(CLI::App& program, Action& action) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto* verb = program.add_subcommand("kill", "End the processes of machines at once, whatever they are doing");
  add_names(*verb, *names);
  verb->footer("For machines that doppel stop does not reach. They are listed as died.");
  verb->callback([names, &action] {
    action = [names] {
      return for_each_machine(*names,
                              [](const RuntimeFolder&, const MachineEntry& machine) { return kill_machine(machine); });
    };
  });
}

}  // namespace doppel
