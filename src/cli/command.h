#pragma once
// The verbs of `doppel`: one file each.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <utility>

namespace doppel {

/// Exit statuses that are Doppel's own; a guest may end with any other.
inline constexpr int exit_usage = 2;  // what the user gave cannot be done; one sentence says why

/// Each adds its verb to the program. When the verb is parsed, `action` is what does it and gives the exit status.
using Action = std::function<int()>;
void add_run(CLI::App& program, Action& action);
void add_run_program(CLI::App& program, Action& action);
void add_wasm(CLI::App& program, Action& action);
void add_image(CLI::App& program, Action& action);
void add_disk(CLI::App& program, Action& action);
void add_snapshot(CLI::App& program, Action& action);
void add_fork(CLI::App& program, Action& action);
void add_fleet(CLI::App& program, Action& action);
void add_ls(CLI::App& program, Action& action);
void add_attach(CLI::App& program, Action& action);
void add_logs(CLI::App& program, Action& action);
void add_stats(CLI::App& program, Action& action);
void add_stop(CLI::App& program, Action& action);
void add_kill(CLI::App& program, Action& action);
void add_balloon(CLI::App& program, Action& action);
void add_pause(CLI::App& program, Action& action);
void add_resume(CLI::App& program, Action& action);
void add_rm(CLI::App& program, Action& action);
void add_version(CLI::App& program, Action& action);

/// What `run` becomes where what it names is a WebAssembly module.
inline constexpr std::string_view run_program_verb = "run-program";

/// Prints "doppel: SENTENCE" to standard error, or nothing when the sentence is empty; gives exit_usage.
int complain(const std::string& sentence);

/// Prints where somebody may have stopped reading: what cannot be written is lost, and no error.
template <typename... Args>
void print(std::FILE* to, fmt::format_string<Args...> format, Args&&... args) {
  std::fputs(fmt::format(format, std::forward<Args>(args)...).c_str(), to);
}

}  // namespace doppel
