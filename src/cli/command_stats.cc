#include <memory>
#include <nlohmann/json.hpp>

#include "api/control_client.h"
#include "api/statistics_record.h"
#include "cli/named_machines.h"
#include "cli/statistics_text.h"

namespace doppel {
namespace {

Result<void> print_of(const MachineEntry& machine, bool as_json) {
  const auto answer = ask(machine, {{"do", "stats"}});
  if (!answer) return answer.failure();
  const auto found = answer->find("statistics");
  if (found == answer->end() || !found->is_object())
    return error("the machine '{}' tells no statistics: is its doppel another version?", machine.name());
  const auto statistics = read_statistics(*found);
  if (as_json)
    print(stdout, "{}\n", statistics_json(statistics).dump(2));
  else
    print_statistics(stdout, statistics);
  return {};
}

}  // namespace

void add_stats(CLI::App& program, Action& action) {
  auto name = std::make_shared<std::string>();
  auto as_json = std::make_shared<bool>();
  auto* verb = program.add_subcommand("stats", "Print a running machine's counters, as run --stats does at the end");
  verb->add_option("NAME", *name, "The machine")->required();
  verb->add_flag("--json", *as_json, "For programs: an object");
  verb->callback([=, &action] {
    action = [=] {
      return for_each_machine({*name}, [as_json](const RuntimeFolder&, const MachineEntry& machine) {
        return print_of(machine, *as_json);
      });
    };
  });
}

}  // namespace doppel
