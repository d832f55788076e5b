// instants KERNEL INITRD DISK COUNT SEED: a machine by the instruction clock is captured at COUNT random instants of
// its life; it, and a copy from each instant, must end with the same memory, and have printed the same.
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "booted.h"

namespace {

using namespace doppel;
using namespace doppel::bench;

struct Life {
  std::unique_ptr<Machine> machine;
  std::string printed;
  int status = -1;
  std::uint64_t hash = 0;
  bool same_end(const Life& other) const { return status == other.status && hash == other.hash; }
};

std::unique_ptr<Life> make(MachineConfig config, const MachineImage* image = nullptr) {
  auto life = std::make_unique<Life>();
  config.console_output = [l = life.get()](std::span<const std::byte> text) {
    l->printed.append(reinterpret_cast<const char*>(text.data()), text.size());
  };
  life->machine = expect(image ? Machine::create(config, *image) : Machine::create(config));
  return life;
}

void live(Life& life) {
  life.status = expect(life.machine->run()).status;
  life.hash = life.machine->statistics().memory_hash;
}

struct Instant {
  std::int64_t ns = 0;
  MachineImage image;
  std::size_t printed = 0;  // until then
};

/// Lives through a life with a pause at each instant, where it is captured.
std::unique_ptr<Life> live_captured(const MachineConfig& config, std::vector<Instant>& instants) {
  auto life = make(config);
  std::mutex lock;
  std::condition_variable changed;
  std::size_t reached = 0;
  bool ended = false;
  for (const auto& instant : instants)
    life->machine->pause_when(instant.ns, [&] {
      std::lock_guard guard(lock);
      reached++;
      changed.notify_all();
    });
  std::thread keeper([&] {
    for (std::size_t n = 0; n < instants.size(); n++) {
      {
        std::unique_lock guard(lock);
        changed.wait(guard, [&] { return reached > n || ended; });
        if (reached <= n) return;
      }
      life->machine->pause();
      instants[n].image = expect(life->machine->capture());
      instants[n].printed = life->printed.size();
      life->machine->resume();
    }
  });
  live(*life);
  {
    std::lock_guard guard(lock);
    ended = true;
  }
  changed.notify_all();
  keeper.join();
  return life;
}

/// How many copies did not end as the life that was never captured.
std::size_t live_copies(const MachineConfig& config, std::vector<Instant>& instants, const Life& alone) {
  std::atomic<std::size_t> next = 0, wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < std::max(1u, std::thread::hardware_concurrency()); n++)
    threads.emplace_back([&] {
      for (std::size_t i; (i = next++) < instants.size();) {
        const auto copy = make(config, &instants[i].image);
        instants[i].image = {};
        live(*copy);
        const bool right = copy->same_end(alone) && copy->printed == alone.printed.substr(instants[i].printed);
        if (!right) std::printf("wrong: the copy from %.9f s\n", double(instants[i].ns) / 1e9);
        wrong += !right;
        std::fprintf(stderr, "\r  %zu of %zu ", i + 1, instants.size());
      }
    });
  for (auto& thread : threads) thread.join();
  std::fprintf(stderr, "\r");
  return wrong;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 6) {
    std::fprintf(stderr, "usage: instants KERNEL INITRD DISK COUNT SEED\n");
    return 2;
  }
  auto config = bench_config(arguments[1], arguments[2]);
  config.clock = ClockKind::instructions;
  config.network = NetworkKind::peer;
  config.disks.push_back({.path = arguments[3], .snapshot = true, .format = "raw"});
  const auto alone = make(config);
  live(*alone);
  std::fputs(alone->printed.c_str(), stdout);
  const bool well = alone->printed.find("INSTANTS: 0 complaints") != std::string::npos &&
                    alone->printed.find("INSTANTS: ends") != std::string::npos;
  if (!well) fail("the guest complains without being captured");
  const auto length = alone->machine->guest_ns();
  std::vector<Instant> instants(std::strtoull(arguments[4], nullptr, 10));
  std::mt19937_64 random(std::strtoull(arguments[5], nullptr, 10));
  for (auto& instant : instants) instant.ns = std::int64_t(random() % std::uint64_t(length));
  std::ranges::sort(instants, {}, &Instant::ns);
  const auto captured = live_captured(config, instants);
  if (!captured->same_end(*alone) || captured->printed != alone->printed)
    fail("the machine that was captured ended otherwise");
  const auto wrong = live_copies(config, instants, *alone);
  std::printf("%zu instants of %.3f s of guest time, memory hash %016llx: %zu copies ended otherwise\n",
              instants.size(), double(length) / 1e9, static_cast<unsigned long long>(alone->hash), wrong);
  return wrong == 0 ? 0 : 1;
}
