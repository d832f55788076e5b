// million KERNEL INITRD COUNT AGAIN [WORKERS]: boots a machine, forks COUNT from it, has each compute what only it can,
// parks them all, and has AGAIN of them, chosen at random, answer once more.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "booted.h"
#include "snapshot/parked_machine.h"
#include "snapshot/worker.h"

namespace {

using namespace doppel;
using namespace doppel::bench;
constexpr std::chrono::seconds patience(10);

/// One line to the guest, and whether the last that it prints is right.
bool ask(Worker& worker, const std::string& line, const std::string& answer) {
  const auto whole = answer + "\r\n";
  const auto stop = worker.converse(
      line + "\n", [&](std::string_view printed) { return printed.find(whole) != printed.npos; }, patience);
  return stop == Worker::Stop::enough;
}

struct Million {
  MachineConfig config;
  std::shared_ptr<const MachineImage> base;
  std::vector<ParkedMachine> parked;
  std::atomic<std::size_t> next = 0, wrong = 0;

  template <typename F>
  void on_all(unsigned workers, std::size_t count, F&& one) {
    next = 0;
    std::vector<std::thread> threads;
    for (unsigned n = 0; n < workers; n++)
      threads.emplace_back([&] {
        const auto worker = expect(Worker::create(config, *base));
        worker->start();
        for (std::size_t i; (i = next++) < count;)
          if (!one(*worker, i)) wrong++;
      });
    std::thread reporter([&] {
      while (next < count) {
        std::fprintf(stderr, "\r  %zu of %zu, %.2f GiB ", std::min(next.load(), count), count, resident() / (1 << 30));
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
      }
      std::fprintf(stderr, "\r");
    });
    for (auto& thread : threads) thread.join();
    reporter.join();
  }
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) {
    std::fprintf(stderr, "usage: million KERNEL INITRD COUNT AGAIN [WORKERS]\n");
    return 2;
  }
  const std::size_t machines = std::strtoull(arguments[3], nullptr, 10),
                    again = std::strtoull(arguments[4], nullptr, 10);
  const auto workers =
      count > 5 ? unsigned(std::atoi(arguments[5])) : std::max(1u, std::thread::hardware_concurrency());
  Million all;
  all.config = bench_config(arguments[1], arguments[2]);
  all.base = std::make_shared<const MachineImage>(boot(all.config));
  all.parked.resize(machines);
  const auto empty = resident();
  auto begin = Clock::now();
  all.on_all(workers, machines, [&](Worker& worker, std::size_t n) {
    const auto number = std::to_string(n);
    expect(worker.take_over(*all.base, number));
    const bool right = ask(worker, "number " + number, hash_of(number));
    all.parked[n] = ParkedMachine(expect(worker.capture()), all.base);
    return right;
  });
  const auto took = seconds_since(begin);
  std::size_t bytes = 0;
  for (const auto& machine : all.parked) bytes += machine.bytes();
  std::printf("%zu machines held, %zu wrong answers, %.0f a second, %.1f s\n", machines, all.wrong.load(),
              double(machines) / took, took);
  std::printf("%.2f GiB resident, %.0f bytes a machine with everything, %zu of them its own\n", resident() / (1 << 30),
              (resident()) / double(machines), bytes / machines);
  std::printf("%.0f bytes a machine beyond the first\n", (resident() - empty) / double(machines));
  std::vector<std::size_t> chosen(machines);
  std::iota(chosen.begin(), chosen.end(), 0);
  std::mt19937_64 random(std::random_device{}());
  std::ranges::shuffle(chosen, random);
  chosen.resize(std::min(again, machines));
  begin = Clock::now();
  all.on_all(workers, chosen.size(), [&](Worker& worker, std::size_t i) {
    expect(worker.take_over(expect(all.parked[chosen[i]].image())));
    const auto number = std::to_string(chosen[i]);
    const auto text = std::to_string(random());
    return ask(worker, "question " + text, hash_of(number + ":" + text));
  });
  std::printf("%zu of them answered once more, %zu wrong answers in all, %.0f a second\n", chosen.size(),
              all.wrong.load(), double(chosen.size()) / seconds_since(begin));
  return all.wrong == 0 ? 0 : 1;
}
