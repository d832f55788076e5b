#include <memory>

#include "api/control_client.h"
#include "cli/named_machines.h"

namespace doppel {
namespace {

void add_verb(CLI::App& program, Action& action, const char* word, const char* help, const char* footer) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto* verb = program.add_subcommand(word, help);
  add_names(*verb, *names);
  verb->footer(footer);
  verb->callback([names, word, &action] {
    action = [names, word] {
      return for_each_machine(*names, [word](const RuntimeFolder&, const MachineEntry& machine) -> Result<void> {
        if (auto done = ask(machine, {{"do", word}}); !done) return done.failure();
        return {};
      });
    };
  });
}

}  // namespace

void add_pause(CLI::App& program, Action& action) {
  add_verb(program, action, "pause", "Have machines stand still until they are resumed",
           "Its processors execute nothing; its clock goes on, unless it was started with --clock instructions.");
}

void add_resume(CLI::App& program, Action& action) {
  add_verb(program, action, "resume", "Have paused machines go on", "");
}

}  // namespace doppel
