// Whole machines from a configuration to their end, with programs that the tests write: how they end, what they leave
// behind, and what happens when they cannot be made.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "machine/machine.h"
#include "machine/memory_map.h"
#include "unit/machine/hart_rig.h"

namespace doppel {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t tohost = dram_base + 0x8000, fromhost = tohost + 8, scratch = dram_base + 0x10'0000;

void write_file(const fs::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

DiskSpec disk_spec(const fs::path& path) {
  DiskSpec spec;
  spec.path = path;
  spec.format = "raw";
  return spec;
}

class Computers : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "computer-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    config_.kernel = (folder_ / "kernel").string();
    config_.memory = 16 * mib;
    config_.network = NetworkKind::none;
    config_.sandbox = false;
    config_.console = (folder_ / "console").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// A program in M-mode that talks HTIF, and one in S-mode with the machine's SBI.
  void use_htif(const Program& program) {
    auto elf = program.elf();
    elf.symbols = {{"tohost", tohost}, {"fromhost", fromhost}};
    write_file(config_.kernel, elf.build());
  }
  void use_kernel(const Program& program) { write_file(config_.kernel, program.elf().build()); }

  int run() {
    auto machine = Machine::create(config_);
    EXPECT_TRUE(machine) << machine.message();
    if (!machine) return -1;
    const auto outcome = (*machine)->run();
    statistics_ = (*machine)->statistics();
    EXPECT_TRUE(outcome) << outcome.message();
    return outcome ? outcome->status : -1;
  }
  std::string failure() {
    const auto machine = Machine::create(config_);
    EXPECT_FALSE(machine);
    return machine ? "" : machine.message();
  }
  std::string printed() const { return read_file(config_.console); }

  fs::path folder_;
  MachineConfig config_;
  MachineStatistics statistics_;
};

void exit_by_tohost(Program& p, std::uint64_t code) {
  p.store(tohost, code << 1 | 1);
  p.loop_forever();
}

void finish(Program& p, std::uint32_t command) {
  p.li(t0, test_finisher_map.base);
  p.li(t1, command);
  p.sw(t1, t0);
}

void print(Program& p, std::string_view text) {
  p.li(t0, uart_map.base);
  for (const char c : text) p.li(t1, std::uint8_t(c)), p.sb(t1, t0);
}

void call(Program& p, std::uint64_t extension, std::uint64_t function, std::uint64_t first = 0,
          std::uint64_t second = 0) {
  p.li(a0, first);
  p.li(a1, second);
  p.li(a6, function);
  p.li(a7, extension);
  p.ecall();
}

TEST_F(Computers, EndWithTheCodeThatATestProgramWrites) {
  for (const int code : {0, 1, 42, 255}) {
    Program p;
    exit_by_tohost(p, std::uint64_t(code));
    use_htif(p);
    EXPECT_EQ(run(), code);
  }
}

// A shell sees eight bits: 256 must not look like success.
TEST_F(Computers, ACodeThatIsTooLargeIsNoSuccess) {
  Program p;
  exit_by_tohost(p, 256);
  use_htif(p);
  EXPECT_EQ(run(), 255);
}

TEST_F(Computers, WriteTheSignatureWhenTheProgramEnds) {
  Program p;
  p.store(scratch, 0x0123456789abcdef);
  p.store(scratch + 8, 0xfedcba98'00000001);
  exit_by_tohost(p, 0);
  auto elf = p.elf();
  elf.symbols = {{"tohost", tohost}, {"begin_signature", scratch}, {"end_signature", scratch + 16}};
  write_file(config_.kernel, elf.build());
  config_.signature = (folder_ / "signature").string();
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(read_file(config_.signature), "89abcdef\n01234567\n00000001\nfedcba98\n");
}

TEST_F(Computers, ASignatureNeedsItsSymbols) {
  Program p;
  exit_by_tohost(p, 0);
  use_htif(p);
  config_.signature = (folder_ / "signature").string();
  auto machine = Machine::create(config_);
  ASSERT_TRUE(machine);
  const auto outcome = (*machine)->run();
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.message(), HasSubstr("signature"));
}

TEST_F(Computers, PrintWhatTheGuestSendsToItsSerialPort) {
  Program p;
  print(p, "Hello,\r\n\x01\xff world");
  finish(p, 0x5555);
  p.loop_forever();
  use_kernel(p);
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed(), "Hello,\r\n\x01\xff world");
}

TEST_F(Computers, PrintWhatTheGuestSendsThroughTheSbi) {
  Program p;
  for (const char c : std::string_view("panic")) call(p, 0x4442434e, 2, std::uint8_t(c));
  call(p, 0x53525354, 0, 0, 0);
  p.loop_forever();
  use_kernel(p);
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed(), "panic");
}

TEST_F(Computers, EndAsTheTestFinisherSays) {
  struct Case {
    std::uint32_t command;
    int status;
  };
  // Failure without a code is still no success; codes are a shell's eight bits.
  for (const auto [command, status] : {Case{0x5555, 0}, {7u << 16 | 0x3333, 7}, {0x3333, 1}, {0x0100'3333, 255}}) {
    Program p;
    finish(p, command);
    p.loop_forever();
    use_kernel(p);
    EXPECT_EQ(run(), status) << std::hex << command;
  }
}

TEST_F(Computers, EndAsTheSbiSays) {
  struct Case {
    std::uint64_t type, reason;
    int status;
  };
  for (const auto [type, reason, status] : {Case{0, 0, 0}, {0, 1, 1}}) {
    Program p;
    call(p, 0x53525354, 0, type, reason);
    p.loop_forever();
    use_kernel(p);
    EXPECT_EQ(run(), status);
  }
}

/// Counts how often the machine began, in memory that a reboot leaves alone; the last time it powers off.
Program reboots(int times, const std::function<void(Program&)>& reboot) {
  Program p;
  print(p, "*");
  p.load(t0, scratch);
  p.addi(t0, t0, 1);
  p.store(scratch, t0);
  p.li(t1, std::uint64_t(times));
  const auto last = p.beq_forward(t0, t1);
  reboot(p);
  p.loop_forever();
  p.land(last);
  finish(p, 0x5555);
  p.loop_forever();
  return p;
}

TEST_F(Computers, RebootAsOftenAsTheGuestAsks) {
  use_kernel(reboots(5, [](Program& p) { finish(p, 0x7777); }));
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed(), "*****");
  use_kernel(reboots(5, [](Program& p) { call(p, 0x53525354, 0, 1, 0); }));
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed(), "*****");
  use_kernel(reboots(3, [](Program& p) { call(p, 0x53525354, 0, 2, 0); }));
  EXPECT_EQ(run(), 0);
  EXPECT_EQ(printed(), "***");
}

// A reboot loads the kernel again: the last one may have written over its own code and data.
TEST_F(Computers, ARebootBeginsWithTheKernelAsItIsInTheFile) {
  Program p;
  const auto code = p.base();
  const auto jump_over = p.beq_forward(zero, zero);
  const auto word = p.here();
  p.emit(0x1111), p.emit(0);
  p.land(jump_over);
  p.li(t0, word);
  p.lw(t1, t0);
  p.li(t2, 0x1111);
  const auto same = p.beq_forward(t1, t2);
  finish(p, 9 << 16 | 0x3333);
  p.loop_forever();
  p.land(same);
  p.sw(zero, t0);
  p.load(t0, scratch);
  p.store(scratch, 1);
  const auto again = p.bne_forward(t0, zero);
  finish(p, 0x7777);
  p.loop_forever();
  p.land(again);
  finish(p, 0x5555);
  p.loop_forever();
  ASSERT_EQ(code, dram_base);
  use_kernel(p);
  EXPECT_EQ(run(), 0);
}

// Without firmware of its own to gather them, a program in M-mode has all harts at its entry, after a reboot too: also
// those that were asleep when another rebooted.
TEST_F(Computers, ARebootStartsEveryHartAgain) {
  Program p;
  p.li(t0, scratch + 8);
  p.li(t1, 1);
  p.amoadd_d(zero, t0, t1);  // arrivals
  p.csrr(t2, csr::mhartid);
  const auto first = p.beq_forward(t2, zero);
  const auto sleep = p.here();
  p.wfi();
  p.jump(sleep);
  p.land(first);
  p.load(t3, scratch);
  p.addi(t3, t3, 1);
  p.store(scratch, t3);
  p.li(t0, scratch + 8);
  p.add(s0, t3, t3);  // two harts each time
  const auto missing = p.here();
  p.ld(t4, t0);
  p.bne(t4, s0, missing);
  p.li(t5, 3);
  const auto last = p.beq_forward(t3, t5);
  finish(p, 0x7777);
  p.loop_forever();
  p.land(last);
  exit_by_tohost(p, 0);
  use_htif(p);
  config_.cpus = 2;
  std::unique_ptr<Machine> machine = std::move(Machine::create(config_)).value();
  int status = -1;
  std::thread runner([&] {
    if (const auto outcome = machine->run()) status = outcome->status;
  });
  // A machine that hangs is a failure, not a test that never ends.
  std::atomic<bool> done = false;
  bool ended = true;
  std::thread guard([&] {
    ended = eventually([&] { return done.load(); });
    if (!ended) machine->power_off();
  });
  runner.join();
  done = true;
  guard.join();
  EXPECT_TRUE(ended) << "a hart did not come back";
  EXPECT_EQ(status, 0);
}

TEST_F(Computers, StartSecondaryHartsThroughTheSbi) {
  Program p;
  const auto main = p.bne_forward(a0, zero);  // a hart's number is in a0
  p.li(s1, 32);
  p.li(s0, 1);
  const auto next = p.here();
  p.addi(a0, s0, 0);
  p.li(a1, dram_base);
  p.li(a2, 0);
  p.li(a6, 0);
  p.li(a7, 0x48534d);
  p.ecall();
  p.addi(s0, s0, 1);
  p.bne(s0, s1, next);
  p.wait_for(scratch, 31);
  finish(p, 0x5555);
  p.loop_forever();
  p.land(main);
  p.li(t0, scratch);
  p.li(t1, 1);
  p.amoadd_d(zero, t0, t1);
  const auto sleep = p.here();
  p.wfi();
  p.jump(sleep);
  use_kernel(p);
  config_.cpus = 32;
  EXPECT_EQ(run(), 0);
}

// Ctrl-A X, a signal: the user wants it to end, whatever the guest does.
TEST_F(Computers, PowerOffEndsAGuestThatComputesOrSleeps) {
  for (const bool sleeps : {false, true}) {
    Program p;
    print(p, "up");
    if (sleeps) p.wfi();
    p.loop_forever();
    use_kernel(p);
    auto machine = std::move(Machine::create(config_)).value();
    std::thread user([&] {
      EXPECT_TRUE(eventually([&] { return printed() == "up"; }));
      machine->power_off();
    });
    const auto outcome = machine->run();
    user.join();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->status, 0);
  }
}

TEST_F(Computers, PowerOffBeforeTheFirstInstructionEndsTheRun) {
  Program p;
  p.loop_forever();
  use_kernel(p);
  auto machine = std::move(Machine::create(config_)).value();
  machine->power_off();
  const auto outcome = machine->run();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->status, 0);
}

/// Writes what depends on time and chance all over memory: the clock, the random seed of the device tree.
Program busy() {
  Program p;
  p.li(t0, scratch);
  p.li(t1, 2000);
  const auto again = p.here();
  p.csrr(t2, csr::time);
  p.sd(t2, t0);
  p.addi(t0, t0, 8);
  for (int i = 0; i < 40; i++) p.addi(s1, s1, 1);
  p.addi(t1, t1, -1);
  p.bne(t1, zero, again);
  print(p, "done");
  finish(p, 0x5555);
  p.loop_forever();
  return p;
}

TEST_F(Computers, TwoRunsByTheInstructionClockAreTheSame) {
  use_kernel(busy());
  config_.clock = ClockKind::instructions;
  ASSERT_EQ(run(), 0);
  const auto first = statistics_;
  const auto text = printed();
  ASSERT_EQ(run(), 0);
  EXPECT_NE(first.memory_hash, 0u);
  EXPECT_EQ(statistics_.memory_hash, first.memory_hash);
  EXPECT_EQ(statistics_.harts.instructions, first.harts.instructions);
  EXPECT_EQ(statistics_.places[0].pc, first.places[0].pc);
  EXPECT_EQ(printed(), text);
}

// And by the host's clock they are not, or the test above proves nothing.
TEST_F(Computers, RunsByTheHostsClockHaveNoHash) {
  use_kernel(busy());
  ASSERT_EQ(run(), 0);
  EXPECT_EQ(statistics_.memory_hash, 0u);
  EXPECT_GT(statistics_.harts.instructions, 80'000u);
  EXPECT_GT(statistics_.seconds, 0);
}

/// Runs a guest that never ends, while `keeper` does what it likes with the machine, and then powers it off.
void run_with(const MachineConfig& config, const std::function<void(Machine&)>& keeper) {
  auto machine = std::move(Machine::create(config)).value();
  std::thread thread([&] {
    keeper(*machine);
    machine->power_off();
  });
  const auto outcome = machine->run();
  thread.join();
  EXPECT_TRUE(outcome);
}

std::uint64_t executed(Machine& machine) { return machine.statistics().harts.instructions; }

// doppel stats: the counters of a machine that runs, without a race and without stopping it.
TEST_F(Computers, TellWhatTheyDidWhileTheyRun) {
  Program p;
  p.loop_forever();
  use_kernel(p);
  for (const auto clock : {ClockKind::host, ClockKind::instructions}) {
    config_.clock = clock;
    run_with(config_, [](Machine& machine) {
      auto last = executed(machine);
      for (int times = 0; times < 20; times++) {
        EXPECT_TRUE(eventually([&] { return executed(machine) > last; }));
        const auto now = machine.statistics();
        EXPECT_GE(now.harts.instructions, last);
        EXPECT_GT(now.seconds, 0);
        EXPECT_EQ(now.memory_hash, 0u) << "it would take long";
        last = now.harts.instructions;
      }
    });
  }
}

// doppel pause: also where the guest is just about to begin again.
TEST_F(Computers, StandStillWhilePausedEvenWhenTheyReboot) {
  Program p;
  finish(p, 0x7777);
  p.loop_forever();
  use_kernel(p);
  run_with(config_, [](Machine& machine) {
    for (int times = 0; times < 200; times++) {
      machine.pause();
      const auto before = executed(machine);
      for (int looks = 0; looks < 5; looks++) EXPECT_EQ(executed(machine), before);
      machine.resume();
      EXPECT_TRUE(eventually([&] { return executed(machine) > before; }));
    }
  });
}

TEST_F(Computers, ThatArePausedBeforeTheyRunWait) {
  Program p;
  p.loop_forever();
  use_kernel(p);
  auto machine = std::move(Machine::create(config_)).value();
  machine->pause();
  std::thread user([&] {
    EXPECT_TRUE(eventually([&] { return machine->statistics().seconds > 0; }));
    EXPECT_EQ(executed(*machine), 0u);
    machine->resume();
    EXPECT_TRUE(eventually([&] { return executed(*machine) > 0; }));
    machine->power_off();
  });
  EXPECT_TRUE(machine->run());
  user.join();
}

TEST_F(Computers, HaveADeviceTreeBeforeTheyRun) {
  Program p;
  p.loop_forever();
  use_kernel(p);
  const auto machine = std::move(Machine::create(config_)).value();
  const auto& tree = machine->device_tree();
  ASSERT_GT(tree.size(), 40u);
  EXPECT_EQ(tree[0], std::byte{0xd0});  // magic d00dfeed
  EXPECT_EQ(tree[3], std::byte{0xed});
}

class ImpossibleComputers : public Computers {
 protected:
  void SetUp() override {
    Computers::SetUp();
    Program p;
    p.loop_forever();
    use_kernel(p);
  }
};

TEST_F(ImpossibleComputers, HaveNoOrTooManyCpus) {
  for (const unsigned cpus : {0u, 33u, ~0u}) {
    config_.cpus = cpus;
    EXPECT_THAT(failure(), HasSubstr(std::to_string(cpus) + " CPUs"));
  }
}

TEST_F(ImpossibleComputers, HaveNoMemoryOrMoreThanTheHost) {
  config_.memory = 0;
  EXPECT_THAT(failure(), HasSubstr("memory"));
  for (const std::uint64_t memory : {1ULL << 50, ~0ULL - 4095}) {
    config_.memory = memory;
    EXPECT_THAT(failure(), HasSubstr("this host has"));
  }
  for (const std::uint64_t memory : {std::uint64_t{1}, std::uint64_t{4095}, 16 * mib + 1, ~std::uint64_t{0}}) {
    config_.memory = memory;
    EXPECT_NE(failure(), "") << memory;
  }
}

TEST_F(ImpossibleComputers, HaveTooLittleMemoryForWhatTheyBoot) {
  for (const std::uint64_t memory : {4096ULL, 65536ULL}) {
    config_.memory = memory;
    EXPECT_NE(failure(), "") << memory;
  }
  config_.memory = 16 * mib;
  config_.initrd = (folder_ / "initrd").string();
  write_file(config_.initrd, Bytes(15 * mib + mib / 2));
  EXPECT_THAT(failure(), HasSubstr(config_.initrd));
  write_file(config_.initrd, Bytes(17 * mib));
  EXPECT_THAT(failure(), HasSubstr(config_.initrd));
}

TEST_F(ImpossibleComputers, HaveAnUnknownAddressSpace) {
  config_.mmu = 40;
  EXPECT_THAT(failure(), HasSubstr("40"));
}

TEST_F(ImpossibleComputers, HaveNothingToBoot) {
  config_.kernel.clear();
  EXPECT_THAT(failure(), HasSubstr("nothing to boot"));
}

TEST_F(ImpossibleComputers, NameFilesThatAreNotThere) {
  const auto missing = (folder_ / "missing").string();
  for (auto* path : {&config_.kernel, &config_.initrd, &config_.firmware, &config_.dtb}) {
    const auto before = std::exchange(*path, missing);
    EXPECT_THAT(failure(), HasSubstr(missing));
    *path = before;
  }
  config_.disks = {disk_spec(missing)};
  EXPECT_THAT(failure(), HasSubstr(missing));
}

TEST_F(ImpossibleComputers, CannotWriteTheirResults) {
  config_.signature = (folder_ / "no/such/folder").string();
  EXPECT_THAT(failure(), HasSubstr(config_.signature));
  config_.signature.clear();
  config_.console = (folder_ / "no/such/folder").string();
  EXPECT_THAT(failure(), HasSubstr(config_.console));
}

TEST_F(ImpossibleComputers, HaveMoreDisksThanSlots) {
  for (int i = 0; i < 7; i++) {
    const auto path = (folder_ / ("disk" + std::to_string(i))).string();
    write_file(path, Bytes(mib));
    config_.disks.push_back(disk_spec(path));
  }
  EXPECT_THAT(failure(), HasSubstr("slots"));
  config_.disks.pop_back();
  EXPECT_TRUE(Machine::create(config_));
}

std::ptrdiff_t entries(const char* folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

// A program that makes many machines, most of which fail.
TEST_F(ImpossibleComputers, LeaveNothingBehind) {
  const auto disk = (folder_ / "disk").string();
  write_file(disk, Bytes(mib));
  const auto attempt = [&](int which) {
    auto config = config_;
    config.disks = {disk_spec(disk)};
    config.network = NetworkKind::user;
    if (which == 1) config.cpus = 33;
    if (which == 2) config.initrd = folder_ / "missing";
    if (which == 3) config.console = folder_ / "no/such";
    if (which == 4) config.disks.push_back(disk_spec(folder_ / "missing"));
    if (which == 5) config.dtb = config.kernel;  // fails in the last step, with everything made
    if (which == 6) config.clock = ClockKind::instructions;
    const auto machine = Machine::create(config);
    EXPECT_EQ(machine.ok(), which == 0 || which == 6) << which;
  };
  for (int which = 0; which <= 6; which++) attempt(which);  // what libraries keep once
  const auto descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  for (int which = 0; which <= 6; which++) {
    attempt(which);
    EXPECT_EQ(entries("/proc/self/fd"), descriptors) << which;
    EXPECT_TRUE(eventually([&] { return entries("/proc/self/task") == threads; })) << which;
  }
}

// The disk of a machine that is gone can be used by the next.
TEST_F(ImpossibleComputers, GiveTheirDisksBack) {
  const auto disk = (folder_ / "disk").string();
  write_file(disk, Bytes(mib));
  config_.disks = {disk_spec(disk)};
  {
    const auto first = Machine::create(config_);
    ASSERT_TRUE(first);
    EXPECT_THAT(failure(), HasSubstr(disk));  // two writers would destroy it
  }
  EXPECT_TRUE(Machine::create(config_));
}

}  // namespace
}  // namespace doppel
