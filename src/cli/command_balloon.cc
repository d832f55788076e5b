#include <memory>
#include <nlohmann/json.hpp>

#include "api/control_client.h"
#include "cli/named_machines.h"
#include "machine/byte_size.h"

namespace doppel {

void add_balloon(CLI::App& program, Action& action) {
  auto name = std::make_shared<std::string>();
  auto size = std::make_shared<std::string>();
  auto* verb = program.add_subcommand("balloon", "Ask a running machine's guest to do with less of its memory");
  verb->add_option("NAME", *name, "The machine")->required();
  verb->add_option("SIZE", *size, "How much it is to use, for instance 256M")->required();
  verb->footer(
      "The guest needs the driver virtio_balloon, and gives up what it can spare; doppel stats says how much it has.\n"
      "What it frees goes back to the host by itself, without a balloon.");
  verb->callback([=, &action] {
    action = [=] {
      return for_each_machine({*name}, [size](const RuntimeFolder&, const MachineEntry& machine) -> Result<void> {
        const auto bytes = parse_byte_size(*size);
        if (!bytes) return bytes.failure();
        const auto done = ask(machine, {{"do", "balloon"}, {"bytes", *bytes}});
        return done ? Result<void>() : done.failure();
      });
    };
  });
}

}  // namespace doppel
