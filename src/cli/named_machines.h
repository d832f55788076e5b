#pragma once
// What the verbs that take names of machines have in common.
#include <functional>
#include <string>
#include <vector>

#include "api/runtime_folder.h"
#include "cli/command.h"

namespace doppel {

/// Adds `NAME…`, one or more.
void add_names(CLI::App& verb, std::vector<std::string>& names);
/// Does it to each machine; complains of each with which it cannot be done, and goes on. The exit status.
int for_each_machine(const std::vector<std::string>& names,
                     const std::function<Result<void>(const RuntimeFolder&, const MachineEntry&)>& what);
/// Ends the machine's process at once and waits until it is gone.
Result<void> kill_machine(const MachineEntry& machine);
/// Kills it where it runs, and removes it from the list with its log.
Result<void> remove_machine(const RuntimeFolder& folder, const MachineEntry& machine);
/// A name that reads well and that no machine has.
std::string made_up_name(const RuntimeFolder& folder);
/// "12 s", "5 min", "3 h", "20 d".
std::string age_text(std::int64_t nanoseconds);

}  // namespace doppel
