#pragma once
// What the benchmarks of many machines share: a booted guest whose first process is bench/million_guest.c, and small
// things.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "base/sha256.h"
#include "machine/machine.h"

namespace doppel::bench {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] inline void fail(const std::string& sentence) {
  std::fprintf(stderr, "bench: %s\n", sentence.c_str());
  std::exit(2);
}

template <typename T>
T expect(Result<T> result) {
  if (!result) fail(result.message());
  return *std::move(result);
}
inline void expect(const Result<void>& done) {
  if (!done) fail(done.message());
}

/// Bytes of this process that are in memory, its own and those of files.
inline double resident() {
  std::ifstream file("/proc/self/statm");
  double all = 0, here = 0;
  file >> all >> here;
  return here * double(::sysconf(_SC_PAGESIZE));
}

/// What the guest's program answers.
inline std::string hash_of(const std::string& text) {
  std::string digits;
  for (const auto byte : sha256({std::as_bytes(std::span(text))})) digits += fmt::format("{:02x}", byte);
  return digits;
}

inline MachineConfig bench_config(const std::string& kernel, const std::string& initrd) {
  MachineConfig config;
  config.kernel = kernel, config.initrd = initrd, config.append = "console=ttyS0 quiet";
  config.memory = 256 << 20;
  config.network = NetworkKind::none;
  config.sandbox = false;
  return config;
}

/// The machine when its program waits for a line.
inline MachineImage boot(MachineConfig config) {
  std::string printed;
  std::atomic<bool> ready = false;
  config.console_output = [&](std::span<const std::byte> text) {
    printed.append(reinterpret_cast<const char*>(text.data()), text.size());
    if (printed.find("READY") != printed.npos) ready = true;
  };
  const auto machine = expect(Machine::create(config));
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

}  // namespace doppel::bench
