#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.h"
#include "cli/cache_folder.h"
#include "cli/command.h"
#include "cli/snapshot_folder.h"
#include "machine/byte_size.h"
#include "snapshot/fleet.h"

namespace doppel {
namespace {

using nlohmann::json;
using End = FleetResult::End;

struct Options {
  std::string from;
  std::vector<std::string> command;
  std::size_t machines = 1;
  unsigned workers = std::max(1u, std::thread::hardware_concurrency()), patience = 60;
  bool park = false, as_json = false, quiet = false, no_sandbox = false;
};

const char* name_of(End end) {
  return end == End::done ? "done" : end == End::ended ? "ended" : end == End::late ? "late" : "failed";
}

/// One line that counts on a terminal.
class Progress {
 public:
  Progress(std::size_t all, bool quiet) : all_(all), shown_(!quiet && ::isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown_) print(stderr, "\r\033[K");
  }
  void step() {
    constexpr std::size_t width = 40;
    constexpr std::int64_t pause_ns = 100'000'000;
    done_++;
    if (!shown_ || (monotonic_ns() - last_ns_ < pause_ns && done_ != all_)) return;
    last_ns_ = monotonic_ns();
    const auto full = width * done_ / all_;
    print(stderr, "\r[{}{}] {} of {} ", std::string(full, '#'), std::string(width - full, '.'), done_, all_);
  }

 private:
  std::size_t all_, done_ = 0;
  bool shown_;
  std::int64_t last_ns_ = 0;
};

double quantile(std::vector<double>& sorted, double part) {
  return sorted.empty() ? 0 : sorted[std::size_t(part * double(sorted.size() - 1))];
}

struct Summary {
  std::size_t good = 0;
  double seconds = 0, p50_ms = 0, p99_ms = 0;
  std::size_t bytes = 0;  // a machine, parked
};

Summary summarize(const std::vector<FleetResult>& results, double seconds) {
  Summary all;
  all.seconds = seconds;
  std::vector<double> times;
  std::size_t bytes = 0, parked = 0;
  for (const auto& result : results) {
    all.good += result.end == End::done && result.status == 0;
    times.push_back(1000 * result.seconds);
    bytes += result.bytes, parked += result.bytes != 0;
  }
  std::ranges::sort(times);
  all.p50_ms = quantile(times, 0.5), all.p99_ms = quantile(times, 0.99);
  all.bytes = parked == 0 ? 0 : bytes / parked;
  return all;
}

void print_json(const std::vector<FleetResult>& results, const Summary& all) {
  json machines = json::array();
  for (std::size_t n = 0; n < results.size(); n++)
    machines.push_back({{"machine", n + 1},
                        {"end", name_of(results[n].end)},
                        {"status", results[n].status},
                        {"seconds", results[n].seconds},
                        {"bytes", results[n].bytes},
                        {"output", results[n].output}});
  const json whole{{"machines", machines}, {"succeeded", all.good}, {"seconds", all.seconds},
                   {"p50_ms", all.p50_ms}, {"p99_ms", all.p99_ms},  {"bytes_a_machine", all.bytes}};
  print(stdout, "{}\n", whole.dump(2, ' ', false, json::error_handler_t::replace));
}

void print_table(const Options& o, const Summary& all) {
  print(stderr,
        "machines       {:>12}\nsucceeded      {:>12}\nseconds        {:>12.2f}\na second       {:>12.1f}\n"
        "p50            {:>9.2f} ms\np99            {:>9.2f} ms\n",
        o.machines, all.good, all.seconds, double(o.machines) / all.seconds, all.p50_ms, all.p99_ms);
  if (o.park) print(stderr, "bytes a machine{:>12}\n", all.bytes);
}

int fleet(const Options& o) {
  auto saved = load_snapshot(o.from);
  if (!saved) return complain(saved.message());
  saved->config.sandbox = !o.no_sandbox;
  use_code_cache(saved->config);
  const auto image = std::make_shared<const MachineImage>(std::move(saved->image));
  auto workers = make_workers(saved->config, *image, unsigned(std::min<std::size_t>(o.workers, o.machines)));
  if (!workers) return complain(workers.message());
  FleetOptions options;
  options.machines = o.machines, options.command = fmt::format("{}", fmt::join(o.command, " "));
  options.patience = std::chrono::seconds(o.patience), options.park = o.park;
  options.keep_output = o.as_json;
  Progress progress(o.machines, o.quiet || o.as_json);
  const auto begin = monotonic_ns();
  const auto results = run_fleet(*workers, image, options, [&](std::size_t number, const FleetResult& result) {
    progress.step();
    if (o.quiet || o.as_json) return;
    const bool good = result.end == End::done && result.status == 0;
    print(stdout, "{}{}: {}{}", ::isatty(STDERR_FILENO) ? "\r\033[K" : "", number,
          good ? "" : fmt::format("{} ({}) ", name_of(result.end), result.status), result.output);
    if (!result.output.ends_with('\n')) print(stdout, "\n");
  });
  const auto all = summarize(results, double(monotonic_ns() - begin) / 1e9);
  o.as_json ? print_json(results, all) : print_table(o, all);
  return all.good == o.machines ? 0 : 1;
}

}  // namespace

void add_fleet(CLI::App& program, Action& action) {
  auto options = std::make_shared<Options>();
  auto& o = *options;
  auto* verb = program.add_subcommand("fleet", "Run a command in many copies of a snapshot, in one process");
  verb->add_option("--from", o.from, "The snapshot: of a machine at whose console a shell waits")
      ->type_name("SNAPSHOT")
      ->required();
  verb->add_option("-n", o.machines, "How many machines")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  verb->add_option("--workers", o.workers, "How many run at once; by default as many as this host has processors")
      ->type_name("N")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--patience", o.patience, "Seconds that each has for its answer")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  verb->add_flag("--park", o.park, "Keep all machines until the last is done, and say how much memory one takes");
  verb->add_flag("--json", o.as_json, "For programs: one object, with the output of each");
  verb->add_flag("--quiet", o.quiet, "Only the table at the end");
  verb->add_flag("--no-sandbox", o.no_sandbox, "Do not confine this process before the guests run");
  verb->add_option("COMMAND", o.command, "What each runs, behind --; {} is the machine's number, from 1 on")
      ->required();
  verb->footer(
      "Prints NUMBER: OUTPUT for each, as they come, and a table. A guest's time stands still while it does not run.\n"
      "The exit status is 0 when all commands ended with status 0, else 1.");
  verb->callback([options, &action] { action = [options] { return fleet(*options); }; });
}

}  // namespace doppel
