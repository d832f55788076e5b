// A program that calls what it likes with what it likes: every call ends in an answer, none touches memory that is not
// the program's, and nothing outside of the granted folder changes or is read.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "process/wasi/wasi.h"

using namespace doppel;
using namespace doppel::wasi;

namespace {

constexpr std::uint32_t memory_bytes = 65536;

void check(bool holds) {
  if (!holds) std::abort();
}

/// Never waits: whatever a program waits for, time passes until there.
class PassingTime final : public Environment {
 public:
  std::optional<std::uint64_t> clock_now(ClockId id) override {
    return id <= ClockId::monotonic ? std::optional(++now_) : std::nullopt;
  }
  std::optional<std::uint64_t> clock_resolution(ClockId) override { return 1; }
  void random(std::span<std::uint8_t> out) override { std::memset(out.data(), 7, out.size()); }
  int wait(std::span<pollfd> descriptors, std::optional<std::uint64_t> deadline) override {
    if (deadline) now_ = std::max(now_, *deadline);
    return poll(descriptors.data(), descriptors.size(), 0);
  }
  void yield() override {}

 private:
  std::uint64_t now_ = 0;
};

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  std::uint8_t byte() {
    if (size_ == 0) return 0;
    size_--;
    return *data_++;
  }
  std::uint32_t word() {
    return byte() | std::uint32_t{byte()} << 8 | std::uint32_t{byte()} << 16 | std::uint32_t{byte()} << 24;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

/// A small tree with all that is tempting in it, made anew for each input.
struct World {
  std::string top = "/dev/shm/doppel-wasi-fuzz-XXXXXX";
  World() {
    if (!mkdtemp(top.data())) top = "/tmp/doppel-wasi-fuzz-XXXXXX", check(mkdtemp(top.data()));
    std::filesystem::create_directories(top + "/granted/d/e");
    std::filesystem::create_directories(top + "/outside/d");
    std::ofstream(top + "/outside/s") << "secret";
    std::ofstream(top + "/granted/f") << "content";
    check(symlink("../outside", (top + "/granted/o").c_str()) == 0);
    check(symlink("f", (top + "/granted/l").c_str()) == 0);
    check(symlink("d/e/../..", (top + "/granted/u").c_str()) == 0);
    check(mkfifo((top + "/granted/p").c_str(), 0600) == 0);
    check(stat((top + "/outside").c_str(), &before) == 0);
  }
  ~World() {
    struct stat after{};
    check(stat((top + "/outside").c_str(), &after) == 0 && after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
          after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    std::ifstream secret(top + "/outside/s");
    check(std::string(std::istreambuf_iterator<char>(secret.rdbuf()), {}) == "secret");
    std::filesystem::remove_all(top);
  }
  struct stat before{};
};

/// Paths that a program can name by their place in memory, one every 32 bytes.
constexpr const char* paths[] = {
    "f",           "d", "d/e", "o",  "o/s", "l",  "u",  "u/f",   "..",          "../outside/s",   "d/../..",
    "/etc/passwd", ".", "p",   "d/", "new", "f/", "o/", "d/new", "d/e/../../f", "u/../outside/d", ""};

void fill(std::uint8_t* memory) {
  for (std::size_t n = 0; n < std::size(paths); n++) std::strcpy(reinterpret_cast<char*>(memory) + n * 32, paths[n]);
  for (std::uint32_t n = 0; n < 32; n++) {  // vectors, and read otherwise subscriptions
    const std::uint32_t record[] = {4096 + n * 64, 64};
    std::memcpy(memory + 2048 + std::size_t{n} * 8, record, sizeof record);
  }
}

std::uint64_t argument(Input& input) {
  const std::uint8_t kind = input.byte();
  if (kind < 64) return kind % 16;                                     // descriptors, flags and counts
  if (kind < 144) return std::uint64_t(kind % std::size(paths)) * 32;  // paths
  if (kind < 192) return 2048 + kind % 32 * 8;                         // records
  if (kind < 224) return input.word() % (memory_bytes + 16);
  if (kind < 240) return input.word();
  return std::uint64_t{input.word()} << 32 | input.word();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  World world;
  WasiConfiguration configuration;
  const std::uint8_t options = input.byte();
  configuration.arguments = {"program"};
  configuration.environment = {"A=B"};
  configuration.grants = {{world.top + "/granted", "/", (options & 1) != 0}, {world.top + "/granted/d", "/d", false}};
  configuration.stdio = {-1, -1, -1};
  configuration.yielding = true;
  configuration.resolver = options & 2 ? Resolver::components : Resolver::kernel;
  auto wasi = Wasi::create(configuration, std::make_shared<PassingTime>());
  check(wasi.ok());
  wasm::Store store;
  const auto memory =
      store.add_memory({.limits = {.minimum = 1, .maximum = 1, .is64 = false, .shared = false}, .page_shift = 16});
  check(memory.ok());
  auto& instance = store.instances.emplace_back();
  instance.memories.push_back(*memory);
  std::uint8_t* bytes = store.memories[*memory].data();
  fill(bytes);
  const auto functions = wasi->functions();
  for (int calls = 0; calls < 200 && !input.empty(); calls++) {
    const std::size_t choice = input.byte();
    if (choice >= functions.size()) {
      bytes[2048 + input.byte()] = input.byte();
      continue;
    }
    const auto& function = functions[choice];
    if (function.name == "fd_allocate") continue;  // it can fill the disk of whoever runs this
    std::vector<wasm::Cell> arguments, results(function.results.size());
    for (std::size_t n = 0; n < function.parameters.size(); n++) arguments.push_back({argument(input), 0});
    const auto outcome = function.call({store, &instance, arguments, results});
    if (outcome.kind == wasm::HostOutcome::Kind::returned && !results.empty()) check(results[0].low <= 76);
  }
  const auto state = wasi->save();
  if (state) {
    const auto restored = wasi->restore(*state);
    if (!restored) check(!restored.message().empty());
  }
  return 0;
}
