#include <memory>

#include "cli/attachment.h"
#include "cli/named_machines.h"

namespace doppel {

void add_attach(CLI::App& program, Action& action) {
  auto name = std::make_shared<std::string>();
  auto* verb = program.add_subcommand("attach", "Use the console of a machine in the background");
  verb->add_option("NAME", *name, "The machine")->required();
  verb->footer(
      "It begins with the last 64 KiB of what the machine printed; several may be attached at a time.\n"
      "On a terminal: Ctrl-A D detaches and leaves the machine running, Ctrl-A H shows help, Ctrl-A Ctrl-A types "
      "Ctrl-A.\n"
      "From elsewhere standard input is typed until its end. The exit status is 0 when you detach, and the machine's "
      "when it ends.");
  verb->callback([name, &action] {
    action = [name] {
      int status = 0;
      const int failed = for_each_machine({*name}, [&](const RuntimeFolder&, const MachineEntry& machine) {
        auto ended = attach(machine);
        if (!ended) return Result<void>(ended.failure());
        status = *ended;
        return Result<void>();
      });
      return failed ? failed : status;
    };
  });
}

}  // namespace doppel
