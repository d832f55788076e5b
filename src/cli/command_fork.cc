#include <unistd.h>

#include <memory>

#include "api/hosted_machine.h"
#include "base/clock.h"
#include "cli/cache_folder.h"
#include "cli/detached_process.h"
#include "cli/named_machines.h"
#include "cli/snapshot_folder.h"

namespace doppel {
namespace {

struct ForkOptions {
  std::string machine, names;
  unsigned count = 1;
  bool remove = false, snapshot = false;
};

std::string name_of(const ForkOptions& o, unsigned number) {
  auto name = o.names;
  if (const auto at = name.find("{}"); at != name.npos) name.replace(at, 2, std::to_string(number));
  return name;
}

Result<void> check(ForkOptions& o) {
  if (o.names.empty()) o.names = o.machine + "-{}";
  if (o.count > 1 && o.names.find("{}") == o.names.npos)
    return error("--name {} is one name for {} machines: put {{}} in it, where their numbers go", o.names, o.count);
  if (!sound_machine_name(name_of(o, o.count)))
    return error("'{}' is no name for a machine: use letters, digits, '.', '_' and '-'",
                 printable_text(name_of(o, o.count)));
  return {};
}

/// In a process of the copy's own.
Result<int> run_copy(const RuntimeFolder& folder, const ForkOptions& o, const MachineRecord& original,
                     const ReceivedImage& received, unsigned number, const std::function<void()>& running) {
  auto saved = saved_machine(received);
  if (!saved) return saved.failure();
  auto record = original;
  record.name = name_of(o, number);
  record.created_ns = wall_clock_ns();
  record.background = true, record.remove = o.remove;
  use_code_cache(saved->config);
  for (auto& disk : saved->config.disks) disk.snapshot |= o.snapshot;
  auto hosted = HostedMachine::create(folder, record, saved->config, running, &saved->image);
  if (!hosted) return hosted.failure();
  const auto outcome = (*hosted)->run();
  if (!outcome) return outcome.failure();
  return outcome->status;
}

/// The copies run already, and the original may end when this is back. Where it ended before, none is left.
Result<void> complete(const RuntimeFolder& folder, const std::string& first, const ReceivedImage& received) {
  auto all = await_pages(received);
  if (all) return all;
  if (const auto copy = folder.find(first)) static_cast<void>(remove_machine(folder, *copy));
  return all;
}

int fork(ForkOptions& o) {
  if (auto sound = check(o); !sound) return complain(sound.message());
  const auto folder = RuntimeFolder::open();
  if (!folder) return complain(folder.message());
  const auto machine = folder->find(o.machine);
  if (!machine) return complain(machine.message());
  if (!machine->record()) return complain(machine->record().message());
  std::int64_t paused = 0;
  const auto received = capture_machine(*machine, paused);
  if (!received) return complain(received.message());
  const auto parent = ::getpid();
  for (unsigned number = 1; number <= o.count; number++) {
    const int status = run_detached([&](const std::function<void()>& running) {
      return run_copy(*folder, o, *machine->record(), *received, number, running);
    });
    if (::getpid() != parent || status != 0) return status;
    if (number == 1)
      if (auto all = complete(*folder, name_of(o, 1), *received); !all) return complain(all.message());
    print(stdout, "{}\n", name_of(o, number));
  }
  return 0;
}

}  // namespace

void add_fork(CLI::App& program, Action& action) {
  auto options = std::make_shared<ForkOptions>();
  auto& o = *options;
  auto* verb = program.add_subcommand("fork", "Make copies of a running machine, that run on from this moment");
  verb->add_option("MACHINE", o.machine, "A machine by name (see doppel ls)")->required();
  verb->add_option("-n", o.count, "How many copies")
      ->type_name("N")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  verb->add_option("--name", o.names, "Their names, with {} where the number goes; by default MACHINE-{}")
      ->type_name("NAME");
  verb->add_flag("--snapshot", o.snapshot, "Throw away what the copies write to their disks");
  verb->add_flag("--rm", o.remove, "Leave nothing of a copy when it has ended");
  verb->footer(
      "Prints the names. Each copy has its own memory, disks, network and entropy, and can read its name from the "
      "port\n"
      "doppel.identity; TCP connections of the original end with a reset in it. The original runs on. What each "
      "flushes to\n"
      "a disk FILE that is kept is in FILE.NAME.overlay, over FILE, which is only read from now on.");
  verb->callback([options, &action] { action = [options] { return fork(*options); }; });
}

}  // namespace doppel
