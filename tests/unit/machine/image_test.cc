// Machines as values: one that was captured goes on in another as it would have gone on by itself, and nobody is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "machine/machine.h"
#include "machine/memory_map.h"
#include "unit/machine/guest_program.h"
#include "unit/machine/hart_rig.h"
#include "unit/machine/network_guest.h"

namespace doppel {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::uint64_t scratch = dram_base + 0x10'0000, counters = dram_base + 0x20'0000;

struct Ended {
  int status = -1;
  std::uint64_t hash = 0, pc = 0;
  std::string printed;
  bool operator==(const Ended&) const = default;
};

class Images : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "image-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    config_.kernel = (folder_ / "kernel").string();
    config_.memory = 16 << 20;
    config_.cpus = 2;
    config_.network = NetworkKind::none;
    config_.sandbox = false;
    config_.clock = ClockKind::instructions;
    config_.engine = GetParam();
  }
  void TearDown() override { fs::remove_all(folder_); }
  void use_kernel(const Program& program) { use_kernel(program.elf()); }
  void use_kernel(ElfFile elf) {
    const auto bytes = elf.build();
    std::ofstream(config_.kernel, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  }
  std::unique_ptr<Machine> make(const std::string& console) {
    config_.console = (folder_ / console).string();
    auto machine = Machine::create(config_);
    EXPECT_TRUE(machine) << machine.message();
    return machine ? std::move(*machine) : nullptr;
  }
  std::string printed(const std::string& console) const {
    std::ifstream file(folder_ / console, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Ended end_of(Machine& machine, const std::string& console) {
    const auto outcome = machine.run();
    EXPECT_TRUE(outcome) << outcome.message();
    const auto statistics = machine.statistics();
    return {outcome ? outcome->status : -1, statistics.memory_hash, statistics.places[0].pc, printed(console)};
  }
  /// Runs a machine to its end, with `at_pause` called on the way when guest time is `ns`.
  Ended pausing_at(std::int64_t ns, const std::function<void(Machine&)>& at_pause) {
    const auto machine = make("original");
    std::mutex lock;
    std::condition_variable changed;
    bool paused = false;
    machine->pause_when(ns, [&] {
      std::lock_guard guard(lock);
      paused = true;
      changed.notify_all();
    });
    std::thread keeper([&] {
      {
        std::unique_lock guard(lock);
        if (!changed.wait_for(guard, std::chrono::seconds(30), [&] { return paused; })) return machine->power_off();
      }
      machine->pause();
      at_pause(*machine);
      machine->resume();
    });
    const auto end = end_of(*machine, "original");
    keeper.join();
    EXPECT_TRUE(paused) << "the guest ended before " << ns << " ns";
    return end;
  }
  MachineImage captured_at(std::int64_t ns) {
    MachineImage image;
    pausing_at(ns, [&](Machine& machine) { image = std::move(machine.capture()).value(); });
    return image;
  }

  fs::path folder_;
  MachineConfig config_;
};

/// On one hart a loop that writes down the time and prints, interrupted by its timer; on the other one that adds to
/// what both write to, with LR and SC.
Program busy() {
  Program p;
  const auto first = p.beq_forward(a0, zero);
  p.li(t0, counters);
  const auto more = p.here();
  p.emit(0x1002b32f);  // lr.d t1, (t0)
  p.addi(t1, t1, 1);
  p.emit(0x1862b3af);  // sc.d t2, t1, (t0)
  p.jump(more);
  p.land(first);
  const auto over = p.beq_forward(zero, zero);
  const auto handler = p.here();
  p.addi(s2, s2, 1);
  p.csrr(a0, csr::time);
  p.addi(a0, a0, 77);
  p.li(a6, 0), p.li(a7, 0x54494d45);
  p.ecall();
  p.emit(0x10200073);  // sret
  p.land(over);
  p.li(a0, 1), p.li(a1, dram_base), p.li(a2, 0), p.li(a6, 0), p.li(a7, 0x48534d);
  p.ecall();
  p.li(t0, handler), p.csrw(csr::stvec, t0);
  p.li(t0, 1 << 5), p.csrs(csr::sie, t0);
  p.li(a0, 0), p.li(a6, 0), p.li(a7, 0x54494d45);
  p.ecall();
  p.li(t0, 2), p.csrs(csr::sstatus, t0);
  p.li(s0, scratch), p.li(s1, 4000), p.li(s3, uart_map.base), p.li(s4, counters);
  const auto again = p.here();
  p.csrr(t2, csr::time);
  p.sd(t2, s0), p.sd(s2, s0, 8);
  p.li(t1, 1);
  p.amoadd_d(t3, s4, t1);
  p.sd(t3, s0, 16);
  p.andi(t2, s1, 63);
  const auto quiet = p.bne_forward(t2, zero);
  p.li(t2, '.'), p.sb(t2, s3);
  p.land(quiet);
  p.addi(s0, s0, 72), p.addi(s1, s1, -1);
  p.bne(s1, zero, again);
  p.li(t0, test_finisher_map.base), p.li(t1, 0x5555), p.sw(t1, t0);
  p.loop_forever();
  return p;
}

constexpr std::int64_t whole = 800'000;  // nanoseconds that it takes at least

TEST_P(Images, GoOnAsTheMachineThatWasNotCaptured) {
  use_kernel(busy());
  const auto alone = end_of(*make("alone"), "alone");
  ASSERT_EQ(alone.status, 0);
  std::mt19937 random(11);
  for (unsigned round = 0; round < 25; round++) {
    const auto at = std::int64_t(random() % whole);
    MachineImage image;
    std::size_t before = 0;
    const auto original = pausing_at(at, [&](Machine& machine) {
      image = std::move(machine.capture()).value();
      before = printed("original").size();
    });
    EXPECT_EQ(original, alone) << "captured at " << at;
    const auto copy = make("copy");
    ASSERT_TRUE(copy->take_over(image));
    auto end = end_of(*copy, "copy");
    EXPECT_EQ(end.printed, alone.printed.substr(before)) << "captured at " << at;
    end.printed = alone.printed;
    ASSERT_EQ(end, alone) << "captured at " << at;
  }
}

// Several go on from one image, one after the other and at once, and each from an image of another.
TEST_P(Images, AreNotChangedByThoseThatGoOnFromThem) {
  use_kernel(busy());
  const auto alone = end_of(*make("alone"), "alone");
  const auto image = captured_at(whole / 3);
  std::vector<std::unique_ptr<Machine>> copies;
  for (unsigned n = 0; n < 4; n++) {
    copies.push_back(make("copy" + std::to_string(n)));
    ASSERT_TRUE(copies.back()->take_over(image));
  }
  const auto again = copies[0]->capture();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->state, image.state);
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < 4; n++)
    threads.emplace_back([&, n] {
      const auto end = end_of(*copies[n], "copy" + std::to_string(n));
      EXPECT_EQ(end.hash, alone.hash);
    });
  for (auto& thread : threads) thread.join();
  const auto last = make("last");
  ASSERT_TRUE(last->take_over(*again));
  EXPECT_EQ(end_of(*last, "last").hash, alone.hash);
}

TEST_P(Images, FitMachinesOfTheirKindOnly) {
  use_kernel(busy());
  const auto image = captured_at(1000);
  config_.cpus = 1;
  const auto other = make("other");
  const auto taken = other->take_over(image);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.message(), HasSubstr("another kind of machine"));
}

// An image comes from a file that anybody may have written to.
TEST_P(Images, ThatAreDamagedAreErrors) {
  use_kernel(busy());
  const auto image = captured_at(whole / 2);
  auto machine = make("damaged");
  for (std::size_t length = 0; length < image.state.size(); length += 1 + length / 16) {
    auto damaged = image;
    damaged.state.resize(length);
    EXPECT_FALSE(machine->take_over(damaged)) << length;
  }
  std::mt19937 random(5);
  for (unsigned round = 0; round < 3000; round++) {
    auto damaged = image;
    for (unsigned changes = 1 + random() % 3; changes > 0; changes--)
      damaged.state[random() % damaged.state.size()] = std::byte(random());
    static_cast<void>(machine->take_over(damaged));
  }
  ASSERT_TRUE(machine->take_over(image));
}

// And what they make of a machine runs, or does not, without harm to anybody else.
TEST_P(Images, ThatAreDamagedAndTakenRun) {
  use_kernel(busy());
  const auto image = captured_at(whole / 2);
  std::mt19937 random(6);
  unsigned ran = 0;
  for (unsigned round = 0; round < 60; round++) {
    auto damaged = image;
    for (unsigned changes = 1 + random() % 6; changes > 0; changes--)
      damaged.state[random() % damaged.state.size()] = std::byte(random());
    const auto machine = make("damaged");
    if (!machine->take_over(damaged)) continue;
    ran++;
    machine->pause_when(whole, [&] { machine->power_off(); });
    static_cast<void>(machine->run());
  }
  EXPECT_GT(ran, 10u);
}

constexpr std::int64_t network_whole = 16'000'000;

// Frames on their way in both directions, buffers given back and not told of, an interrupt under way: all of it is
// where it was.
TEST_P(Images, GoOnWithTheFramesThatWereOnTheirWay) {
  use_kernel(network_guest());
  config_.network = NetworkKind::peer;
  config_.cpus = 1;
  const auto alone = end_of(*make("alone"), "alone");
  ASSERT_EQ(alone.status, 0);
  ASSERT_EQ(alone.printed, "ok");
  std::mt19937 random(17);
  for (unsigned round = 0; round < 25; round++) {
    const auto at = std::int64_t(random() % network_whole);
    MachineImage image;
    const auto original = pausing_at(at, [&](Machine& machine) { image = std::move(machine.capture()).value(); });
    EXPECT_EQ(original, alone) << "captured at " << at;
    // One that is new, and one that was in the middle of something else.
    const auto copy = make("copy"), other = make("other");
    ASSERT_TRUE(copy->take_over(image));
    ASSERT_EQ(end_of(*copy, "copy"), alone) << "captured at " << at;
    ASSERT_TRUE(other->take_over(captured_at(network_whole / 2)));
    ASSERT_TRUE(other->take_over(image));
    ASSERT_EQ(end_of(*other, "other"), alone) << "captured at " << at;
  }
}

TEST_P(Images, OfANetworkThatIsDamagedAreErrors) {
  use_kernel(network_guest());
  config_.network = NetworkKind::peer;
  config_.cpus = 1;
  const auto image = captured_at(network_whole / 2);
  const auto machine = make("damaged");
  std::mt19937 random(7);
  for (unsigned round = 0; round < 3000; round++) {
    auto damaged = image;
    for (unsigned changes = 1 + random() % 3; changes > 0; changes--)
      damaged.state[random() % damaged.state.size()] = std::byte(random());
    static_cast<void>(machine->take_over(damaged));
  }
  ASSERT_TRUE(machine->take_over(image));
}

TEST_P(Images, FitMachinesWithTheSameNetwork) {
  use_kernel(busy());
  config_.network = NetworkKind::peer;
  const auto image = captured_at(1000);
  config_.network = NetworkKind::user;
  const auto taken = make("other")->take_over(image);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.message(), HasSubstr("user-mode network"));
}

TEST_P(Images, OfTheHostsNetworkAreTakenByTheHostsClockToo) {
  use_kernel(busy());
  config_.network = NetworkKind::user;
  config_.ports = {{.host = 0, .guest = 80}};
  for (const auto clock : {ClockKind::host, ClockKind::instructions}) {
    config_.clock = clock;
    const auto machine = make("original");
    machine->set_mac({2, 0, 0, 0, 0, 9});
    const auto image = machine->capture();
    ASSERT_TRUE(image);
    const auto copy = make("copy");
    EXPECT_NE(copy->capture()->state, image->state);
    ASSERT_TRUE(copy->take_over(*image));
    EXPECT_EQ(end_of(*copy, "copy").status, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, Images,
                         testing::Values(EngineKind::interpreter, EngineKind::fast, EngineKind::optimizing),
                         [](const auto& param) {
                           return param.param == EngineKind::interpreter ? "interpreter"
                                  : param.param == EngineKind::fast      ? "fast"
                                                                         : "optimizing";
                         });

}  // namespace
}  // namespace doppel
