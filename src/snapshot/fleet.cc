#include "snapshot/fleet.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "machine/sandbox.h"

namespace doppel {
namespace {

// What the shell prints in front of the command's output and behind it. In what is typed there is a quote in them, so
// that the echo of that is neither.
constexpr std::string_view begins = "doppel-begins\r\n", ends = "doppel-ends ";
constexpr const char* typed = "printf 'doppel-%s\\n' begins; {}; printf 'doppel-%s %d\\n' ends $?\n";

std::string line_for(const std::string& command, std::size_t number) {
  auto own = command;
  const auto digits = std::to_string(number);
  for (auto at = own.find("{}"); at != own.npos; at = own.find("{}", at + digits.size())) own.replace(at, 2, digits);
  return fmt::format(fmt::runtime(typed), own);
}

/// Where the command's output and its status are in what was printed.
struct Answer {
  std::string_view output;
  int status = 0;
};

std::optional<Answer> find_answer(std::string_view printed) {
  constexpr std::size_t longest_end = 64;  // it comes last, but for the shell's prompt
  const auto tail = printed.size() - std::min(printed.size(), longest_end);
  const auto found = printed.substr(tail).rfind(ends);
  if (found == printed.npos || printed.find('\n', tail + found) == printed.npos) return {};
  const auto end = tail + found;
  const auto begin = printed.find(begins);
  const auto first = begin == printed.npos ? 0 : begin + begins.size();  // of more than is kept the beginning is lost
  Answer answer{printed.substr(first, end - std::min(first, end))};
  const auto digits = printed.substr(end + ends.size());
  if (std::from_chars(digits.data(), digits.data() + digits.size(), answer.status).ec != std::errc()) return {};
  return answer;
}

FleetResult run_one(Worker& worker, const std::shared_ptr<const MachineImage>& image, const FleetOptions& options,
                    std::size_t number, ParkedMachine& parked) {
  using End = FleetResult::End;
  FleetResult result;
  const auto begin = monotonic_ns();
  if (auto taken = worker.take_over(*image, std::to_string(number)); !taken) {
    result.output = taken.message();
    return result;
  }
  const auto stop = worker.converse(
      line_for(options.command, number), [](std::string_view printed) { return find_answer(printed).has_value(); },
      options.patience);
  result.seconds = double(monotonic_ns() - begin) / 1e9;
  result.end = stop == Worker::Stop::enough ? End::done : stop == Worker::Stop::ended ? End::ended : End::late;
  if (const auto answer = find_answer(worker.printed())) {
    result.output = answer->output, result.status = answer->status;
  } else {
    result.output = worker.printed();
  }
  if (result.end == End::ended) result.status = worker.status() ? *worker.status() : 2;
  if (result.end == End::ended || !options.park) return result;
  if (const auto captured = worker.capture()) {
    parked = ParkedMachine(*captured, image);
    result.bytes = parked.bytes();
  }
  return result;
}

}  // namespace

Result<std::vector<std::unique_ptr<Worker>>> make_workers(const MachineConfig& config, const MachineImage& image,
                                                          unsigned count) {
  std::vector<std::unique_ptr<Worker>> workers;
  for (unsigned n = 0; n < count; n++) {
    auto worker = Worker::create(config, image);
    if (!worker) return worker.failure();
    workers.push_back(*std::move(worker));
  }
  const SandboxOptions confinement{.network = config.network == NetworkKind::user,
                                   .io_uring = !config.disks.empty(),
                                   .threads = true,
                                   .readable = {config.kernel, config.initrd, config.firmware, config.dtb}};
  if (config.sandbox)
    if (auto files = restrict_files(confinement); !files) return files.failure();
  for (auto& worker : workers) worker->start();
  if (config.sandbox)
    if (auto inside = enter_sandbox(confinement); !inside) return inside.failure();
  return workers;
}

std::vector<FleetResult> run_fleet(std::vector<std::unique_ptr<Worker>>& workers,
                                   const std::shared_ptr<const MachineImage>& image, const FleetOptions& options,
                                   const std::function<void(std::size_t number, const FleetResult&)>& done) {
  std::vector<FleetResult> results(options.machines);
  std::vector<ParkedMachine> parked(options.machines);
  std::atomic<std::size_t> next = 0;
  std::mutex telling;
  std::vector<std::thread> threads;
  for (auto& worker : workers)
    threads.emplace_back([&, w = worker.get()] {
      for (std::size_t n; (n = next++) < options.machines;) {
        results[n] = run_one(*w, image, options, n + 1, parked[n]);
        std::lock_guard guard(telling);
        done(n + 1, results[n]);
        if (!options.keep_output) results[n].output = std::string();
      }
    });
  for (auto& thread : threads) thread.join();
  return results;
}

}  // namespace doppel
