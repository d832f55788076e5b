// Machines with disks as values: a copy goes on with the disk that the machine had, and with what it was asked to do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "machine/machine.h"
#include "machine/memory_map.h"
#include "storage/overlay.h"
#include "unit/machine/guest_program.h"
#include "unit/machine/hart_rig.h"

namespace doppel {
namespace {

using namespace test;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::uint64_t disk_bytes = 8 << 20;
constexpr std::uint64_t rings = dram_base + 0x30'0000, available = rings + 0x400, used = rings + 0x800;
constexpr std::uint64_t headers = rings + 0x1000, counters = rings + 0x2000, buffers = dram_base + 0x40'0000;
constexpr unsigned queue_size = 32;

/// A request of the program's: it repeats them all, further on in the disk each time.
struct Request {
  bool writes;
  std::uint64_t sector, bytes, buffer;
};
constexpr Request requests[] = {
    {true, 0, 4096, buffers},
    {false, 3, 512, buffers + 0x1'0000},
    {false, 0, 0x28'0000, buffers + 0x10'0000},  // in three pieces
    {true, 700, 0x18'0000, buffers + 0x40'0000},
    {false, 8, 8192, buffers + 0x2'0000},
    {true, 100, 512, buffers + 0x3'0000},
    {true, 9000, 1 << 20, buffers + 0x60'0000},
    {false, 101, 1536, buffers + 0x4'0000},
};

class GuestDriver : public Program {
 public:
  void set(std::uint32_t offset, std::uint32_t value) {
    li(t5, value), li(t6, virtio_map(0).base + offset);
    sw(t5, t6);
  }
  /// Starts the device with no features: then a write is complete when it is durable.
  void start() {
    for (const auto status : {0, 1, 3}) set(0x70, std::uint32_t(status));
    set(0x24, 0), set(0x20, 0), set(0x24, 1), set(0x20, 1);
    set(0x70, 11);
    set(0x30, 0), set(0x38, queue_size);
    set(0x80, std::uint32_t(rings)), set(0x84, 0);
    set(0x90, std::uint32_t(available)), set(0x94, 0);
    set(0xa0, std::uint32_t(used)), set(0xa4, 0);
    set(0x44, 1);
    set(0x70, 15);
  }
  /// Three descriptors for each request, and a ring that offers them over and over.
  void prepare(std::span<const Request> all) {
    std::uint64_t n = 0;
    for (const auto& r : all) {
      const auto header = headers + 32 * n, first = rings + 48 * n;
      store(header, std::uint64_t(r.writes)), store(header + 8, r.sector);
      describe(first, header, 16, 1, 3 * n + 1);
      describe(first + 16, r.buffer, std::uint32_t(r.bytes), r.writes ? 1 : 3, 3 * n + 2);
      describe(first + 32, header + 16, 1, 2, 0);
      n++;
    }
    for (unsigned slot = 0; slot < queue_size; slot += 4) {
      std::uint64_t heads = 0;
      for (unsigned k = 0; k < 4; k++) heads |= 3 * ((slot + k) % n) << (16 * k);
      halfwords_.push_back(heads);
    }
    // After flags and index, so not aligned to 8 bytes: two stores each.
    for (unsigned k = 0; k < halfwords_.size(); k++)
      for (unsigned half = 0; half < 2; half++) {
        li(t5, halfwords_[k] >> (32 * half) & 0xffff'ffff), li(t6, available + 4 + 8 * k + 4 * half);
        sw(t5, t6);
      }
  }
  /// Offers the next request and notifies. s2: how many were.
  void offer() {
    addi(s2, s2, 1), slli(t0, s2, 16), li(t6, available), sw(t0, t6);
    set(0x50, 0);
  }
  /// Until all are used. Counts meanwhile, and in what is being written too, which the device may see or not, but in
  /// each run the same.
  void wait() {
    li(s4, used), li(s6, counters), li(s7, buffers);
    const auto again = here();
    ld(t1, s6), addi(t1, t1, 1), sd(t1, s6), sd(t1, s7);
    lw(t1, s4);
    emit(0x01035313);  // srli t1, t1, 16
    bne(t1, s2, again);
  }
  void work(std::uint64_t rounds) {
    li(t2, rounds), li(s6, counters);
    const auto again = here();
    ld(t3, s6, 8), addi(t3, t3, 3), sd(t3, s6, 8);
    addi(t2, t2, -1);
    bne(t2, zero, again);
  }
  void move_on(std::size_t count, std::int32_t sectors) {
    for (std::size_t n = 0; n < count; n++) {
      li(t6, headers + 32 * n + 8);
      ld(t0, t6), addi(t0, t0, sectors), sd(t0, t6);
    }
  }
  /// Again and again: a copy may begin after the first time.
  void power_off() {
    li(t0, test_finisher_map.base), li(t1, 0x5555);
    const auto again = here();
    sw(t1, t0);
    jump(again);
  }

 private:
  void describe(std::uint64_t at, std::uint64_t address, std::uint32_t length, std::uint64_t flags,
                std::uint64_t next) {
    store(at, address);
    store(at + 8, length | flags << 32 | next << 48);
  }
  std::vector<std::uint64_t> halfwords_;
};

/// Reads and writes, several at once, and computes meanwhile.
GuestDriver busy() {
  GuestDriver p;
  p.start();
  p.prepare(requests);
  p.li(s2, 0), p.li(s1, 6);
  const auto again = p.here();
  p.li(t0, '.'), p.li(t6, uart_map.base), p.sb(t0, t6);
  for (std::uint64_t n = 0; n < std::size(requests); n++) p.offer(), p.work(1 + 400 * n);
  p.wait();
  p.move_on(std::size(requests), 16);
  p.addi(s1, s1, -1);
  const auto over = p.beq_forward(s1, zero);
  p.jump(again);
  p.land(over);
  p.power_off();
  return p;
}

struct Ended {
  int status = -1;
  std::uint64_t hash = 0, pc = 0;
  bool operator==(const Ended&) const = default;
};

class DiskImages : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "disk-image-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    config_.kernel = (folder_ / "kernel").string();
    config_.memory = 16 << 20;
    config_.cpus = 2;
    config_.network = NetworkKind::none;
    config_.sandbox = false;
    config_.console = "none";
    config_.clock = ClockKind::instructions;
    config_.engine = GetParam();
    std::mt19937 random(1);
    content_.resize(disk_bytes);
    for (auto& byte : content_) byte = char(random());
    write("disk", content_);
    config_.disks = {{.path = (folder_ / "disk").string(), .snapshot = true, .format = "raw"}};
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const char* name, std::string_view content) {
    std::ofstream(folder_ / name, std::ios::binary).write(content.data(), std::streamsize(content.size()));
  }
  std::string read(const char* name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void use_kernel(const Program& program) {
    const auto bytes = program.elf().build();
    write("kernel", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  std::unique_ptr<Machine> make() {
    auto machine = Machine::create(config_);
    EXPECT_TRUE(machine) << machine.message();
    return machine ? std::move(*machine) : nullptr;
  }
  std::unique_ptr<Machine> make(const MachineImage& image) {
    auto machine = Machine::create(config_, image);
    EXPECT_TRUE(machine) << machine.message();
    return machine ? std::move(*machine) : nullptr;
  }
  static Ended end_of(Machine& machine) {
    const auto outcome = machine.run();
    EXPECT_TRUE(outcome) << outcome.message();
    const auto statistics = machine.statistics();
    return {outcome ? outcome->status : -1, statistics.memory_hash, statistics.places[0].pc};
  }
  /// Runs a machine to its end, with `at_pause` called on the way when guest time is `ns`.
  static Ended pausing_at(Machine& machine, std::int64_t ns, const std::function<void(Machine&)>& at_pause) {
    std::mutex lock;
    std::condition_variable changed;
    bool paused = false;
    machine.pause_when(ns, [&] {
      std::lock_guard guard(lock);
      paused = true;
      changed.notify_all();
    });
    std::thread keeper([&] {
      {
        std::unique_lock guard(lock);
        if (!changed.wait_for(guard, std::chrono::seconds(60), [&] { return paused; })) return machine.power_off();
      }
      machine.pause();
      at_pause(machine);
      machine.resume();
    });
    const auto end = end_of(machine);
    keeper.join();
    EXPECT_TRUE(paused) << "the guest ended before " << ns << " ns";
    return end;
  }

  fs::path folder_;
  MachineConfig config_;
  std::string content_;
};

constexpr std::int64_t whole = 2'000'000;  // nanoseconds that busy() takes at least

// Captured with requests in flight, in pieces, waiting to be flushed: the copy and the original go on as if nobody had.
TEST_P(DiskImages, GoOnAsTheMachineThatWasNotCaptured) {
  use_kernel(busy());
  const auto alone = end_of(*make());
  ASSERT_EQ(alone.status, 0);
  ASSERT_EQ(end_of(*make()), alone);
  std::mt19937 random(12);
  for (unsigned round = 0; round < 25; round++) {
    const auto at = std::int64_t(random() % whole);
    MachineImage image;
    const auto machine = make();
    const auto original = pausing_at(*machine, at, [&](Machine& m) {
      if (round % 3 == 0) m.resume(), m.pause();  // and not where events have just run
      image = std::move(m.capture()).value();
    });
    EXPECT_EQ(original, alone) << "captured at " << at;
    const auto copy = round % 2 ? make() : make(image);
    ASSERT_TRUE(copy->take_over(image));
    ASSERT_EQ(end_of(*copy), alone) << "captured at " << at;
  }
  EXPECT_EQ(read("disk"), content_);
}

// A copy of a copy of a copy, each captured while it is at its disk.
TEST_P(DiskImages, OfImagesGoOnTheSame) {
  use_kernel(busy());
  const auto alone = end_of(*make());
  MachineImage image;
  std::vector<std::unique_ptr<Machine>> ancestors;
  for (std::int64_t at = 50'000; at < whole; at += 170'000) {
    ancestors.push_back(ancestors.empty() ? make() : make(image));
    EXPECT_EQ(pausing_at(*ancestors.back(), at, [&](Machine& m) { image = std::move(m.capture()).value(); }), alone);
  }
  EXPECT_EQ(end_of(*make(image)), alone);
}

/// All that lies over the file, as one text.
std::string over_the_file(const MachineImage& image) {
  std::string all;
  const auto shown = image.disks.at(0).for_each_block([&](std::uint64_t block, std::span<const std::byte> bytes) {
    all += std::to_string(block) + ":";
    all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return Result<void>();
  });
  EXPECT_TRUE(shown) << shown.message();
  return all;
}

// Siblings write to the same sectors at the same time: none sees what another wrote, nor do the image and the file.
TEST_P(DiskImages, AreNotChangedByThoseThatGoOnFromThem) {
  use_kernel(busy());
  const auto alone = end_of(*make());
  MachineImage early, late;
  const auto machine = make();
  pausing_at(*machine, whole / 4, [&](Machine& m) { early = std::move(m.capture()).value(); });
  pausing_at(*make(early), whole / 2, [&](Machine& m) { late = std::move(m.capture()).value(); });
  const auto before = over_the_file(late);
  EXPECT_FALSE(before.empty()) << "the guest wrote between the two";
  EXPECT_FALSE(over_the_file(early).empty()) << "what is in the file itself is what is made again from it";
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < 4; n++)
    threads.emplace_back([&, n] { EXPECT_EQ(end_of(*make(n % 2 ? early : late)), alone); });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(over_the_file(late), before);
  EXPECT_EQ(read("disk"), content_);
}

// By the host's clock requests are under way on other threads when the machine is captured.
TEST_P(DiskImages, WaitForRequestsThatAreUnderWay) {
  config_.clock = ClockKind::host;
  use_kernel(busy());
  for (unsigned round = 0; round < 12; round++) {
    std::mutex lock;
    std::condition_variable changed;
    unsigned dots = 0;
    config_.console_output = [&](std::span<const std::byte>) {
      std::lock_guard guard(lock);
      dots++;
      changed.notify_all();
    };
    const auto machine = make();
    std::thread runs([&] { EXPECT_EQ(end_of(*machine).status, 0); });
    {
      std::unique_lock guard(lock);
      changed.wait(guard, [&] { return dots > round % 6; });
    }
    machine->pause();
    const auto image = machine->capture();
    EXPECT_TRUE(image) << image.message();
    machine->resume();
    if (image) EXPECT_EQ(end_of(*make(*image)).status, 0);
    runs.join();
  }
  EXPECT_EQ(read("disk"), content_);
}

// A fork must not take from the guest that what it flushed is there after a power cut.
TEST_P(DiskImages, OfDisksThatKeepWhatIsWrittenNeedAnOverlay) {
  config_.disks[0].snapshot = false;
  use_kernel(busy());
  const auto machine = make();
  const auto image = machine->capture();
  ASSERT_FALSE(image);
  EXPECT_THAT(image.message(), HasSubstr("nowhere to be kept"));
  EXPECT_EQ(machine->disks_without_overlay(), std::vector<std::size_t>{0});
  EXPECT_EQ(end_of(*machine).status, 0) << "and the machine goes on";
  EXPECT_NE(read("disk"), content_);
}

// The original and its copies keep what they wrote in overlays over what the disk was, as if each had run alone.
TEST_P(DiskImages, AreKeptInOverlays) {
  config_.disks[0].snapshot = false;
  use_kernel(busy());
  const auto path = config_.disks[0].path;
  const auto alone = end_of(*make());
  const auto written = read("disk");
  ASSERT_NE(written, content_);
  write("disk", content_);
  MachineImage image;
  {
    const auto machine = make();
    const auto original = pausing_at(*machine, whole / 2, [&](Machine& m) {
      auto file = make_overlay_file(overlay_path(path, "original"), path);
      ASSERT_TRUE(file) << file.message();
      ASSERT_TRUE(m.keep_disk(0, *std::move(file), overlay_path(path, "original")));
      EXPECT_TRUE(m.disks_without_overlay().empty());
      image = std::move(m.capture()).value();
    });
    EXPECT_EQ(original, alone);
  }
  const auto frozen = read("disk");
  for (const auto* name : {"first", "second"}) {
    config_.disks[0].overlay = overlay_path(path, name);
    EXPECT_EQ(end_of(*make(image)), alone);
  }
  EXPECT_FALSE(Machine::create(config_, image)) << "what the second kept is not written over";
  config_.disks[0].overlay = overlay_path(path, "third");
  ASSERT_TRUE(Machine::create(config_, image));
  EXPECT_FALSE(fs::exists(config_.disks[0].overlay)) << "it never ran";
  image = {};
  EXPECT_EQ(read("disk"), frozen);
  for (const auto* name : {"original", "first", "second"}) {
    auto disk = open_disk({.path = overlay_path(path, name), .read_only = true, .format = ""});
    ASSERT_TRUE(disk) << disk.message();
    std::string bytes(disk_bytes, 0);
    ASSERT_TRUE((*disk)->read(0, std::as_writable_bytes(std::span(bytes))));
    EXPECT_TRUE(bytes == written) << name;
  }
  EXPECT_THAT(open_disk({.path = path, .format = ""}).message(), HasSubstr("would no longer fit"));
}

// Many copies share one open file.
TEST_P(DiskImages, ShareDisksThatAreReadOnly) {
  config_.disks[0].read_only = true, config_.disks[0].snapshot = false;
  use_kernel(busy());
  const auto machine = make();
  const auto alone = end_of(*make());
  const auto image = machine->capture();
  ASSERT_TRUE(image) << image.message();
  EXPECT_EQ(image->disks[0].top, nullptr);
  EXPECT_EQ(end_of(*make(*image)), alone);
}

TEST_P(DiskImages, FitMachinesWithTheSameDisksOnly) {
  use_kernel(busy());
  MachineImage image;
  const auto machine = make();
  pausing_at(*machine, 1000, [&](Machine& m) { image = std::move(m.capture()).value(); });
  auto without = image;
  without.disks.clear();
  EXPECT_THAT(make()->take_over(without).message(), HasSubstr("has 0 disks"));
  EXPECT_THAT(Machine::create(config_, without).message(), HasSubstr("has 0 disks"));
  write("small", std::string(4096, 'x'));
  config_.disks[0].path = (folder_ / "small").string();
  EXPECT_THAT(make()->take_over(image).message(), HasSubstr("a disk of 8388608 bytes"));
}

INSTANTIATE_TEST_SUITE_P(Engines, DiskImages,
                         testing::Values(EngineKind::interpreter, EngineKind::fast, EngineKind::optimizing),
                         [](const auto& param) {
                           return param.param == EngineKind::interpreter ? "interpreter"
                                  : param.param == EngineKind::fast      ? "fast"
                                                                         : "optimizing";
                         });

}  // namespace
}  // namespace doppel
