// million KERNEL INITRD COUNT AGAIN [WORKERS]: boots a machine, forks COUNT from it, has each compute what only it can,
// parks them all, and has AGAIN of them, chosen at random, answer once more.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/sha256.h"
#include "snapshot/parked_machine.h"
#include "snapshot/worker.h"

namespace {

using namespace doppel;
using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds patience(10);

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

[[noreturn]] void fail(const std::string& sentence) {
  std::fprintf(stderr, "million: %s\n", sentence.c_str());
  std::exit(2);
}

template <typename T>
T expect(Result<T> result) {
  if (!result) fail(result.message());
  return *std::move(result);
}
void expect(const Result<void>& done) {
  if (!done) fail(done.message());
}

/// Bytes of this process that are in memory, its own and those of files.
double resident() {
  std::ifstream file("/proc/self/statm");
  double all = 0, here = 0;
  file >> all >> here;
  return here * double(::sysconf(_SC_PAGESIZE));
}

std::string hash_of(const std::string& text) {
  std::string digits;
  for (const auto byte : sha256({std::as_bytes(std::span(text))})) digits += fmt::format("{:02x}", byte);
  return digits;
}

MachineImage boot(const MachineConfig& config) {
  auto own = config;
  std::string printed;
  std::atomic<bool> ready = false;
  own.console_output = [&](std::span<const std::byte> text) {
    printed.append(reinterpret_cast<const char*>(text.data()), text.size());
    if (printed.find("READY") != printed.npos) ready = true;
  };
  const auto machine = expect(Machine::create(own));
  std::thread runner([&] { expect(machine->run()); });
  for (const auto begin = Clock::now(); !ready; std::this_thread::sleep_for(std::chrono::milliseconds(10)))
    if (seconds_since(begin) > 60) fail("the guest is not up after a minute");
  std::this_thread::sleep_for(std::chrono::seconds(2));  // what it still does after its boot
  machine->pause();
  auto image = expect(machine->capture());
  machine->power_off();
  runner.join();
  return image;
}

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
  all.config.kernel = arguments[1], all.config.initrd = arguments[2], all.config.append = "console=ttyS0 quiet";
  all.config.memory = 256 << 20;
  all.config.network = NetworkKind::none;
  all.config.sandbox = false;
  all.base = std::make_shared<const MachineImage>(boot(all.config));
  all.parked.resize(machines);
  const auto empty = resident();
  auto begin = Clock::now();
  all.on_all(workers, machines, [&](Worker& worker, std::size_t n) {
    expect(worker.take_over(*all.base));
    const auto number = std::to_string(n);
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
