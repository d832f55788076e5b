// fork KERNEL INITRD MIB: what it costs to copy a booted, idle machine of that many MiB inside its process.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "machine/machine.h"
#include "memory/difference.h"

namespace {

using namespace doppel;
using Clock = std::chrono::steady_clock;

/// Microseconds of many calls.
struct Times {
  std::vector<double> all;
  template <typename F>
  void measure(F&& call) {
    const auto begin = Clock::now();
    call();
    all.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  double quantile(double part) {
    std::ranges::sort(all);
    return all[std::size_t(part * double(all.size() - 1))];
  }
  void print(const char* what) {
    std::printf("  %-52s p50 %8.1f us   p99 %8.1f us\n", what, quantile(0.5), quantile(0.99));
  }
};

void expect(const Result<void>& done) {
  if (done) return;
  std::fprintf(stderr, "fork: %s\n", done.message().c_str());
  std::exit(2);
}

bool idles(const std::string& console) {
  std::ifstream file(console);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.find("IDLE") != text.npos;
}

void measure(Machine& machine) {
  constexpr int rounds = 1000;
  Times still, copies, running, taking, packing, applying;
  std::vector<MachineImage> images;
  for (int n = 0; n < 200; n++) {
    machine.pause();
    running.measure([&] { images.push_back(std::move(machine.capture()).value()); });
    machine.resume();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  machine.pause();
  for (int n = 0; n < rounds; n++) still.measure([&] { images.push_back(std::move(machine.capture()).value()); });
  const auto base = images.back();
  for (int n = 0; n < rounds; n++) copies.measure([&] { images.push_back(base); });
  std::vector<std::size_t> bytes;
  for (int n = 0; n < 50; n++) {
    taking.measure([&] { expect(machine.take_over(base)); });
    machine.resume();
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + 20 * n));
    machine.pause();
    const auto image = std::move(machine.capture()).value();
    std::vector<std::byte> packed;
    packing.measure([&] { packed = pack_difference(image.memory, base.memory); });
    const auto memory = GuestMemory::create(base.memory);
    applying.measure([&] { expect(apply_difference(packed, *memory)); });
    bytes.push_back(packed.size() + image.state.size());
  }
  std::ranges::sort(bytes);
  still.print("fork, standing still");
  running.print("fork, ten milliseconds of guest between two");
  copies.print("copy of one that was forked");
  taking.print("take over in another's place");
  packing.print("pack what it did in 0.1 to 1.1 s");
  applying.print("unpack");
  std::printf("  %-52s p50 %8zu      max %8zu\n", "bytes of it, records included", bytes[bytes.size() / 2],
              bytes.back());
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "usage: fork KERNEL INITRD MIB\n");
    return 2;
  }
  const auto console = (std::filesystem::temp_directory_path() / ("fork-" + std::to_string(::getpid()))).string();
  MachineConfig config;
  config.kernel = arguments[1], config.initrd = arguments[2], config.append = "console=ttyS0 quiet idle";
  config.memory = std::strtoull(arguments[3], nullptr, 10) << 20;
  config.network = NetworkKind::none;
  config.sandbox = false;
  config.console = console;
  auto made = Machine::create(config);
  if (!made) {
    std::fprintf(stderr, "fork: %s\n", made.message().c_str());
    return 2;
  }
  auto& machine = **made;
  std::thread runner([&] { static_cast<void>(machine.run()); });
  while (!idles(console)) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::this_thread::sleep_for(std::chrono::seconds(2));  // what it still does after its boot
  measure(machine);
  machine.resume();
  machine.power_off();
  runner.join();
  std::filesystem::remove(console);
  return 0;
}
