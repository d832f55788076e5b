#pragma once
// The verbs of `doppel`: one file each.
#include <CLI/CLI.hpp>
#include <functional>

namespace doppel {

/// Exit statuses that are Doppel's own; a guest may end with any other.
inline constexpr int exit_usage = 2;  // what the user gave cannot be done; one sentence says why

/// Each adds its verb to the program. When the verb is parsed, `action` is what does it and gives the exit status.
using Action = std::function<int()>;
void add_run(CLI::App& program, Action& action);
void add_image(CLI::App& program, Action& action);
void add_version(CLI::App& program, Action& action);

/// Prints "doppel: SENTENCE" to standard error, or nothing when the sentence is empty; gives exit_usage.
int complain(const std::string& sentence);

}  // namespace doppel
