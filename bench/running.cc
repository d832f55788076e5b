// running KERNEL INITRD COUNT SECONDS [WORKERS]: forks COUNT from a booted machine that all run on at once, and has
// each answer now and then.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "booted.h"
#include "snapshot/time_sharing.h"

namespace {

using namespace doppel;
using namespace doppel::bench;

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) {
    std::fprintf(stderr, "usage: running KERNEL INITRD COUNT SECONDS [WORKERS]\n");
    return 2;
  }
  const std::size_t machines = std::strtoull(arguments[3], nullptr, 10);
  const auto seconds = std::atof(arguments[4]);
  const auto workers =
      count > 5 ? unsigned(std::atoi(arguments[5])) : std::max(1u, std::thread::hardware_concurrency());
  const auto config = bench_config(arguments[1], arguments[2]);
  const auto base = boot(config);
  std::vector<std::atomic<unsigned>> answers(machines);
  std::vector<std::string> printed(machines);
  auto sharing = expect(TimeSharing::create(config, base, workers, [&](std::size_t n, std::string_view text) {
    printed[n] += text;
    if (printed[n].find(hash_of(std::to_string(n))) != std::string::npos) answers[n]++, printed[n].clear();
  }));
  for (std::size_t n = 0; n < machines; n++) sharing->add(base, std::to_string(n));
  unsigned asked = 0;
  for (const auto begin = Clock::now(); seconds_since(begin) < seconds; asked++) {
    for (std::size_t n = 0; n < machines; n++) sharing->type(n, "number " + std::to_string(n) + "\n");
    std::this_thread::sleep_for(std::chrono::seconds(5));
    const auto now = sharing->counters();
    std::size_t behind = 0;
    for (const auto& answer : answers) behind += answer != asked + 1;
    std::printf(
        "%6.1f s: %zu machines run, %zu ended, %zu have not answered, %.1f turns a second, latest %.1f ms, %.0f MiB "
        "resident, %zu pages shared and %llu saved\n",
        seconds_since(begin), now.machines, now.ended, behind, double(now.turns) / seconds_since(begin),
        double(now.latest_ns) / 1e6, resident() / (1 << 20), now.shared_pages, (unsigned long long)now.saved_pages);
    std::fflush(stdout);
  }
  return 0;
}
