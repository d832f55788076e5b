#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "cli/named_machines.h"
#include "machine/byte_size.h"

namespace doppel {
namespace {

using nlohmann::json;

json description(const MachineEntry& machine) {
  const auto status = machine.status();
  json out{{"name", machine.name()}, {"alive", machine.alive()}};
  out["status"] = status.state == MachineState::exited ? "exited" : describe(status);
  if (status.state == MachineState::exited) out["exit_status"] = status.exit_status;
  const auto& record = machine.record();
  if (!record) {
    out["problem"] = record.message();
    return out;
  }
  out["created"] = record->created_ns / 1'000'000'000;
  out["pid"] = record->process;
  out["what"] = record->what;
  out["memory"] = record->memory;
  out["cpus"] = record->cpus;
  out["background"] = record->background;
  return out;
}

void print_row(const MachineEntry& machine) {
  const auto& record = machine.record();
  const auto status = describe(machine.status());
  if (!record) return print(stdout, "{:<20} {:<12} {}\n", machine.name(), status, record.message());
  print(stdout, "{:<20} {:<12} {:<8} {:<8} {:<4} {}\n", machine.name(), status,
        age_text(wall_clock_ns() - record->created_ns), byte_size_text(record->memory), record->cpus, record->what);
}

int list(bool as_json, bool quiet) {
  const auto folder = RuntimeFolder::open();
  if (!folder) return complain(folder.message());
  const auto machines = folder->list();
  if (!machines) return complain(machines.message());
  json all = json::array();
  if (!as_json && !quiet && !machines->empty())
    print(stdout, "{:<20} {:<12} {:<8} {:<8} {:<4} {}\n", "NAME", "STATUS", "SINCE", "MEMORY", "CPUS", "WHAT");
  for (const auto& machine : *machines) {
    if (as_json)
      all.push_back(description(machine));
    else if (quiet)
      print(stdout, "{}\n", machine.name());
    else
      print_row(machine);
  }
  if (as_json) print(stdout, "{}\n", all.dump(2));
  return 0;
}

}  // namespace

void add_ls(CLI::App& program, Action& action) {
  auto as_json = std::make_shared<bool>(), quiet = std::make_shared<bool>();
  auto* verb = program.add_subcommand("ls", "List machines that have names: those that run, and those that have ended");
  auto* json_flag = verb->add_flag("--json", *as_json, "For programs: a list of objects");
  verb->add_flag("-q,--quiet", *quiet, "Only their names")->excludes(json_flag);
  verb->footer(
      "STATUS is starting, running, paused, exited with the exit status, or died: the machine's process was killed.\n"
      "SINCE is when it was started. doppel rm removes machines that have ended from the list.");
  verb->callback([=, &action] { action = [=] { return list(*as_json, *quiet); }; });
}

}  // namespace doppel
