// Arguments, environment, clocks, entropy and the end of a program.
#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

TEST(Program, ArgumentsAndEnvironmentLieWhereTheCLibraryLooksForThem) {
  WasiConfiguration configuration;
  configuration.stdio = {-1, -1, -1};
  configuration.arguments = {"program", "", "drei"};
  configuration.environment = {"A=1", "LONG=xyz"};
  Rig rig(configuration);
  ASSERT_EQ(rig.call("args_sizes_get", 0, 4), Errno::success);
  EXPECT_EQ(rig.get<std::uint32_t>(0), 3u);
  EXPECT_EQ(rig.get<std::uint32_t>(4), 8u + 1 + 5);
  ASSERT_EQ(rig.call("args_get", 256, 512), Errno::success);
  EXPECT_EQ(rig.text(512, 14), std::string("program\0\0drei\0", 14));
  EXPECT_EQ(rig.get<std::uint32_t>(256), 512u);
  EXPECT_EQ(rig.get<std::uint32_t>(260), 520u);
  EXPECT_EQ(rig.get<std::uint32_t>(264), 521u);
  ASSERT_EQ(rig.call("environ_sizes_get", 0, 4), Errno::success);
  EXPECT_EQ(rig.get<std::uint32_t>(0), 2u);
  EXPECT_EQ(rig.get<std::uint32_t>(4), 13u);
  ASSERT_EQ(rig.call("environ_get", 256, 512), Errno::success);
  EXPECT_EQ(rig.text(512, 13), std::string("A=1\0LONG=xyz\0", 13));
}

TEST(Program, WhatCannotBeGivenIsOneSentence) {
  const Folders folders;
  const auto refused = [](const WasiConfiguration& configuration) {
    const auto made = Wasi::create(configuration, host_environment());
    return made ? std::string() : made.message();
  };
  auto configuration = Rig::configuration(folders);
  configuration.arguments = {std::string("a\0b", 3)};
  EXPECT_NE(refused(configuration).find("NUL"), std::string::npos);
  configuration = Rig::configuration(folders);
  configuration.grants[0].host_path = folders.granted("missing");
  EXPECT_NE(refused(configuration).find("missing cannot be given to the program: No such file"), std::string::npos);
  configuration = Rig::configuration(folders);
  configuration.grants[0].host_path = folders.outside() + "/secret";
  EXPECT_NE(refused(configuration).find("Not a directory"), std::string::npos);
  configuration = Rig::configuration(folders);
  configuration.stdio[0] = 1'000'000;
  EXPECT_NE(refused(configuration).find("Bad file descriptor"), std::string::npos);
  configuration = Rig::configuration(folders);
  configuration.grants.resize(5000, configuration.grants[0]);
  EXPECT_NE(refused(configuration).find("4096"), std::string::npos);
}

/// Time and entropy that a test decides.
class FixedEnvironment final : public Environment {
 public:
  std::optional<std::uint64_t> clock_now(ClockId id) override {
    if (id == ClockId::realtime) return 1'000'000'000'000;
    return id == ClockId::monotonic ? std::optional<std::uint64_t>(now) : std::nullopt;
  }
  std::optional<std::uint64_t> clock_resolution(ClockId id) override {
    return id <= ClockId::monotonic ? std::optional<std::uint64_t>(10) : std::nullopt;
  }
  void random(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = ++state;
    calls++;
  }
  int wait(std::span<pollfd>, std::optional<std::uint64_t> deadline) override {
    if (deadline) now = std::max(now, *deadline);
    return 0;
  }
  void yield() override { yields++; }

  std::uint64_t now = 5;
  std::uint8_t state = 0;
  int calls = 0, yields = 0;
};

TEST(Program, TimeAndEntropyComeThroughOneDoor) {
  const Folders folders;
  const auto environment = std::make_shared<FixedEnvironment>();
  Rig rig(Rig::configuration(folders), environment);
  EXPECT_EQ(rig.call("clock_time_get", 0, 0, 8), Errno::success);
  EXPECT_EQ(rig.get<std::uint64_t>(8), 1'000'000'000'000u);
  EXPECT_EQ(rig.call("clock_time_get", 1, 0, 8), Errno::success);
  EXPECT_EQ(rig.get<std::uint64_t>(8), 5u);
  EXPECT_EQ(rig.call("clock_res_get", 1, 8), Errno::success);
  EXPECT_EQ(rig.get<std::uint64_t>(8), 10u);
  EXPECT_EQ(rig.call("clock_time_get", 2, 0, 8), Errno::inval);
  EXPECT_EQ(rig.call("random_get", 100, 4), Errno::success);
  EXPECT_EQ(rig.text(100, 5), std::string("\1\2\3\4\0", 5));
  EXPECT_EQ(rig.call("random_get", 0, Rig::bytes), Errno::success);
  EXPECT_EQ(environment->calls, 2);
  EXPECT_EQ(rig.call("sched_yield"), Errno::success);
  EXPECT_EQ(environment->yields, 1);
  // A sleep of an hour, which a deterministic run skips.
  rig.set<std::uint8_t>(1024 + 8, 0);
  rig.set<std::uint32_t>(1024 + 16, 1);
  rig.set<std::uint64_t>(1024 + 24, 3'600'000'000'000);
  rig.set<std::uint16_t>(1024 + 40, 0);
  EXPECT_EQ(rig.call("poll_oneoff", 1024, 2048, 1, 8), Errno::success);
  EXPECT_EQ(rig.get<std::uint32_t>(8), 1u);
  EXPECT_EQ(environment->now, 3'600'000'000'005u);
}

TEST(Program, TheHostsClocksRunAndItsEntropyDiffers) {
  const Folders folders;
  Rig rig(Rig::configuration(folders));
  for (const int id : {0, 1, 2, 3}) {
    ASSERT_EQ(rig.call("clock_time_get", id, 0, 8), Errno::success) << id;
    const auto first = rig.get<std::uint64_t>(8);
    ASSERT_EQ(rig.call("clock_time_get", id, 0, 8), Errno::success);
    EXPECT_GE(rig.get<std::uint64_t>(8), first);
    EXPECT_GT(first, 0u);
    ASSERT_EQ(rig.call("clock_res_get", id, 8), Errno::success);
    EXPECT_GT(rig.get<std::uint64_t>(8), 0u);
  }
  EXPECT_EQ(rig.call("clock_time_get", 4, 0, 8), Errno::inval);
  EXPECT_EQ(rig.call("clock_res_get", 0xffffffff, 8), Errno::inval);
  ASSERT_EQ(rig.call("random_get", 0, Rig::bytes), Errno::success);
  EXPECT_NE(rig.text(0, 32), rig.text(Rig::bytes - 32, 32));
  EXPECT_EQ(rig.call("random_get", Rig::bytes, 0), Errno::success);
}

TEST(Program, EndsWithItsStatusOrBySignal) {
  const Folders folders;
  Rig rig(Rig::configuration(folders));
  const auto end = [&](const char* name, std::uint64_t argument) {
    const auto outcome = rig.run("wasi_snapshot_preview1", name, {argument});
    return outcome.kind == wasm::HostOutcome::Kind::ended ? outcome.status : -1;
  };
  EXPECT_EQ(end("proc_exit", 0), 0);
  EXPECT_EQ(end("proc_exit", 42), 42);
  EXPECT_EQ(end("proc_raise", 6), 128 + 6) << "abort";
  EXPECT_EQ(end("proc_raise", 15), 128 + 15);
  EXPECT_EQ(rig.call("proc_raise", 0), Errno::success);
  EXPECT_EQ(rig.call("proc_raise", 16), Errno::success) << "a child's end is ignored";
  EXPECT_EQ(rig.call("proc_raise", 18), Errno::notsup) << "nobody could let it go on";
  EXPECT_EQ(rig.call("proc_raise", 31), Errno::inval);
}

}  // namespace
}  // namespace doppel::wasi
