// A machine's description is the same machine again, or a sentence: never another machine.
#include "snapshot/machine_description.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "unit/snapshot/sample_machine.h"

namespace doppel {
namespace {

using nlohmann::json;

class Descriptions : public testing::Test {
 protected:
  void SetUp() override {
    config_.kernel = "/boot/Image", config_.initrd = "/boot/initrd", config_.firmware = "/boot/fw";
    config_.dtb = "/boot/dtb", config_.append = "quiet \"a\\b\" \x7f\xc3\xa4", config_.identity = "anna";
    config_.memory = 3ULL << 32, config_.cpus = 7, config_.mmu = 48;
    config_.network = NetworkKind::peer, config_.clock = ClockKind::instructions;
    for (const bool read_only : {false, true}) {
      const auto path = folder_.path("disk" + std::to_string(config_.disks.size()));
      std::ofstream(path) << "disk";
      config_.disks.push_back({.path = path, .read_only = read_only, .format = "raw"});
    }
  }
  static std::string describe(const MachineConfig& config) {
    std::vector<DiskImage> images;
    for (const auto& disk : config.disks) images.push_back({must_open(disk.path), nullptr});
    return describe_machine(config, images);
  }
  static std::shared_ptr<Disk> must_open(const std::string& path) {
    auto disk = open_frozen_disk(path, "raw");
    EXPECT_TRUE(disk) << disk.message();
    return *std::move(disk);
  }
  json described() const { return json::parse(describe(config_)); }
  static void expect_refused(const std::string& text) {
    const auto config = machine_described(text);
    ASSERT_FALSE(config) << text.substr(0, 500);
    expect_sentence(config.message());
    EXPECT_LT(config.message().size(), 500u);
    for (const auto letter : config.message()) EXPECT_GE(static_cast<unsigned char>(letter), ' ');
  }

  SnapshotFolder folder_;
  MachineConfig config_;
};

TEST_F(Descriptions, AreTheMachineAgain) {
  const auto again = machine_described(describe(config_));
  ASSERT_TRUE(again) << again.message();
  EXPECT_EQ(describe(*again), describe(config_));
  EXPECT_EQ(again->kernel, config_.kernel);
  EXPECT_EQ(again->append, config_.append);
  EXPECT_EQ(again->memory, config_.memory);
  EXPECT_EQ(again->cpus, 7u);
  EXPECT_EQ(again->mmu, 48u);
  EXPECT_EQ(again->identity, "anna");
  EXPECT_EQ(again->network, NetworkKind::peer);
  EXPECT_EQ(again->clock, ClockKind::instructions);
  ASSERT_EQ(again->disks.size(), 2u);
  EXPECT_FALSE(again->disks[0].read_only);
  EXPECT_TRUE(again->disks[1].read_only);
  EXPECT_FALSE(again->disks[0].snapshot);
  EXPECT_EQ(again->disks[0].overlay, "") << "who runs it says where what it writes is kept";
  config_.disks[0].snapshot = true;
  EXPECT_TRUE(machine_described(describe(config_))->disks[0].snapshot);
}

TEST_F(Descriptions, OfVersion1AreOfDisksThatKeepNothing) {
  auto all = described();
  all["version"] = 1;
  all["disks"][0].erase("keeps"), all["disks"][0]["format"] = "";
  const auto config = machine_described(all.dump());
  ASSERT_TRUE(config) << config.message();
  EXPECT_TRUE(config->disks[0].snapshot);
}

TEST_F(Descriptions, NameFilesByAbsolutePaths) {
  config_.kernel = "Image", config_.initrd = "";
  const auto all = described();
  EXPECT_EQ(all["kernel"], (std::filesystem::current_path() / "Image").string());
  EXPECT_EQ(all["initrd"], "");
}

TEST_F(Descriptions, OfDisksThatChangedAreRefused) {
  const auto text = describe(config_);
  const auto time = std::filesystem::last_write_time(config_.disks[0].path);
  std::filesystem::last_write_time(config_.disks[0].path, time + std::chrono::seconds(1));
  expect_refused(text);
  std::filesystem::last_write_time(config_.disks[0].path, time);
  EXPECT_TRUE(machine_described(text));
  std::ofstream(config_.disks[0].path, std::ios::app) << "more";
  std::filesystem::last_write_time(config_.disks[0].path, time);
  expect_refused(text);
  std::filesystem::remove(config_.disks[0].path);
  expect_refused(text);
}

TEST_F(Descriptions, WithoutOneOfTheirFieldsOrWithAnotherKindOfValueAreRefused) {
  const auto all = described();
  const json values[] = {nullptr, true, -1, 1.5, 1e300, "", "word", json::array(), json::object(), {{"a", 1}}, {1, 2}};
  const auto try_all = [&](const auto& change) {
    for (const auto& value : values) {
      auto changed = all;
      auto& field = change(changed);
      if (value.type() == field.type()) continue;
      if (value.is_number() && field.is_number() && value != -1 && value != 1.5 && value != 1e300) continue;
      field = value;
      expect_refused(changed.dump());
    }
  };
  for (const auto& [name, unused] : all.items()) {
    try_all([&](json& changed) -> json& { return changed[name]; });
    auto without = all;
    without.erase(name);
    expect_refused(without.dump());
  }
  for (const auto& [name, unused] : all["disks"][0].items()) {
    if (name == "modified" || name == "size") continue;  // -1 is another disk, and is tried there
    try_all([&](json& changed) -> json& { return changed["disks"][0][name]; });
  }
}

TEST_F(Descriptions, WithNumbersAndWordsThatAreNoneAreRefused) {
  const std::pair<const char*, json> changes[] = {{"version", 3},
                                                  {"version", 0},
                                                  {"version", UINT64_MAX},
                                                  {"memory", (1ULL << 40) + 1},
                                                  {"memory", UINT64_MAX},
                                                  {"cpus", (1ULL << 32) + 1},
                                                  {"mmu", (1ULL << 32) + 39},
                                                  {"network", "moon"},
                                                  {"clock", "sun"}};
  for (const auto& [name, value] : changes) {
    auto all = described();
    all[name] = value;
    expect_refused(all.dump());
  }
  auto many = described();
  for (unsigned n = 0; n < 10; n++) many["disks"].push_back(many["disks"][0]);
  expect_refused(many.dump());
}

// What is read for an error's sake is hostile too: no depth of it ends us, no letter of it reaches the terminal.
TEST_F(Descriptions, ThatAreHostileAreRefusedInOneSentence) {
  for (const std::string text : {"", "{", "[]", "null", "7", "\"text\"", "{\"version\":1}", "\xff"})
    expect_refused(text);
  const std::size_t depth = 500'000;
  const auto nested = std::string(depth, '[') + std::string(depth, ']');
  expect_refused(nested);
  expect_refused(R"({"version":)" + nested + "}");
  auto all = described();
  all["disks"][0]["path"] = "/nowhere/\x1b[2J\n" + std::string(5000, 'x');
  expect_refused(all.dump());
}

TEST_F(Descriptions, OfPathsThatAreNoTextAreStillText) {
  config_.kernel = "/boot/\xff\xfe";
  EXPECT_TRUE(json::accept(describe(config_)));
}

}  // namespace
}  // namespace doppel
