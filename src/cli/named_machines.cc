#include "cli/named_machines.h"

#include <algorithm>
#include <random>

#include "api/control_client.h"

namespace doppel {
namespace {

constexpr int kill_patience_ms = 10'000;
constexpr const char* qualities[] = {"amber", "brave",  "brisk", "calm",  "clear",  "clever", "bright", "eager",
                                     "fair",  "gentle", "green", "happy", "keen",   "kind",   "light",  "lively",
                                     "lucky", "mellow", "merry", "mild",  "neat",   "noble",  "proud",  "quick",
                                     "quiet", "ready",  "royal", "sharp", "steady", "sunny",  "warm",   "wise"};
constexpr const char* animals[] = {"badger", "beaver", "bison",  "crane", "deer",   "dove",  "eagle", "falcon",
                                   "finch",  "fox",    "gecko",  "hare",  "hawk",   "heron", "ibex",  "jay",
                                   "koala",  "lark",   "lemur",  "lynx",  "marten", "mole",  "newt",  "otter",
                                   "owl",    "panda",  "puffin", "raven", "salmon", "stork", "swift", "wombat"};

}  // namespace

void add_names(CLI::App& verb, std::vector<std::string>& names) {
  verb.add_option("NAME", names, "The machine, or several")->required()->expected(1, -1);
}

int for_each_machine(const std::vector<std::string>& names,
                     const std::function<Result<void>(const RuntimeFolder&, const MachineEntry&)>& what) {
  const auto folder = RuntimeFolder::open();
  if (!folder) return complain(folder.message());
  int status = 0;
  for (const auto& name : names) {
    const auto machine = folder->find(name);
    const auto done = machine ? what(*folder, *machine) : Result<void>(machine.failure());
    if (!done) status = complain(done.message());
  }
  return status;
}

Result<void> kill_machine(const MachineEntry& machine) {
  const auto process = machine.process();
  if (!process) return process.failure();
  if (auto ended = end_process(process->get()); !ended) return ended;
  if (wait_for_end(process->get(), kill_patience_ms) == ProcessEnd::ended) return {};
  return error("the process of the machine '{}' does not end: it may wait for a disk", machine.name());
}

Result<void> remove_machine(const RuntimeFolder& folder, const MachineEntry& machine) {
  if (machine.alive())
    if (auto killed = kill_machine(machine); !killed && machine.alive()) return killed;
  return folder.remove(machine);
}

std::string made_up_name(const RuntimeFolder& folder) {
  std::vector<std::string> taken;
  if (const auto machines = folder.list())
    for (const auto& machine : *machines) taken.push_back(machine.name());
  std::random_device random;
  for (unsigned tries = 0;; tries++) {
    auto name =
        fmt::format("{}-{}", qualities[random() % std::size(qualities)], animals[random() % std::size(animals)]);
    if (tries >= 16) name += fmt::format("-{}", random() % 100'000);
    if (std::ranges::find(taken, name) == taken.end()) return name;
  }
}

std::string age_text(std::int64_t nanoseconds) {
  const auto seconds = std::max<std::int64_t>(0, nanoseconds / 1'000'000'000);
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 120 * 60) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

}  // namespace doppel
