#include <fmt/format.h>

#include "cli/command.h"

namespace doppel {

void add_version(CLI::App& program, Action& action) {
  auto* verb = program.add_subcommand("version", "Print which version of Doppel this is");
  verb->callback([&action] {
    action = [] {
      print(stdout, "doppel {}\n", DOPPEL_VERSION);
      return 0;
    };
  });
}

}  // namespace doppel
