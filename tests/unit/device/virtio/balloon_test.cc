// What the guest does not need is the host's again, and nothing else is.
#include "device/virtio/balloon.h"

#include <gtest/gtest.h>

#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

constexpr std::uint64_t data_at = ram_base + (16 << 20);

class VirtioBalloonTest : public ::testing::Test {
 protected:
  VirtioBalloonTest() {
    auto made = std::make_unique<VirtioBalloon>(rig.host());
    balloon = made.get();
    rig.plug(std::move(made));
    rig.driver->start(VIRTIO_F_VERSION_1 | 1 << 2 | 1 << 5, 3);
    if (!rig.driver->memory.fill(data_at, 'a', 32 * page_size)) std::abort();
  }
  std::string pages(unsigned count) {
    std::string out;
    for (unsigned n = 0; n < count; n++) {
      const auto byte = rig.driver->text(data_at + n * page_size, 1)[0];
      out += byte ? byte : '.';
    }
    return out;
  }
  void inflate(const std::vector<std::uint32_t>& numbers) {
    const std::string_view bytes(reinterpret_cast<const char*>(numbers.data()), 4 * numbers.size());
    rig.driver->send(0, {{rig.driver->place(bytes), std::uint32_t(bytes.size()), false}});
  }
  static std::uint32_t number(unsigned page) { return std::uint32_t(data_at / page_size + page); }
  Rig rig;
  VirtioBalloon* balloon;
};

TEST_F(VirtioBalloonTest, WhatIsInTheBalloonIsZeros) {
  inflate({number(3), number(1), number(2), number(7)});
  EXPECT_EQ(pages(10), "a...aaa.aa");
  EXPECT_EQ(balloon->counters().discarded, 4u);
  EXPECT_EQ(rig.driver->used(0).size(), 1u);
  rig.driver->send(1, {{rig.driver->place("1234"), 4, false}});
  EXPECT_EQ(rig.driver->used(1).size(), 1u) << "taking out needs nothing done";
}

TEST_F(VirtioBalloonTest, NumbersThatAreNoRamAreLeftAlone) {
  inflate({0, ~0u, number(1), std::uint32_t((ram_base + ram_size) / page_size)});
  EXPECT_EQ(pages(3), "a.a");
  EXPECT_FALSE(rig.driver->needs_reset());
}

// Linux numbers the queues that are there, the standard those that there could be.
TEST_F(VirtioBalloonTest, FreePagesAreReportedInAnyOfTheOtherQueues) {
  rig.driver->send(2, {{data_at, 2 * page_size, true}, {data_at + 4 * page_size, page_size, true}});
  EXPECT_EQ(pages(6), "..aa.a");
  const auto used = rig.driver->used(2);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].length, 0u);
  EXPECT_FALSE(rig.driver->needs_reset());
}

TEST_F(VirtioBalloonTest, MoreThanThereIsMemoryIsTheDriversFault) {
  rig.driver->send(2, {{ram_base, ram_size, true}, {ram_base, ram_size, true}});
  EXPECT_TRUE(rig.driver->needs_reset());
}

TEST_F(VirtioBalloonTest, TheDriverIsToldHowMuchIsWanted) {
  const auto generation = rig.driver->get(reg::ConfigGeneration);
  balloon->set_target(1000);
  EXPECT_EQ(rig.driver->get(reg::Config), 1000u);
  EXPECT_NE(rig.driver->get(reg::ConfigGeneration), generation);
  rig.driver->set(reg::Config, 7);  // not the driver's to write
  rig.driver->set(reg::Config + 4, 900);
  EXPECT_EQ(rig.driver->get(reg::Config), 1000u);
  EXPECT_EQ(rig.driver->get(reg::Config + 4), 900u);
  EXPECT_EQ(balloon->counters().inflated, 900u);
  rig.driver->set(reg::Status, 0);
  EXPECT_EQ(balloon->counters().inflated, 0u) << "nothing is in a balloon without a driver";
  EXPECT_EQ(balloon->counters().target, 1000u);
}

}  // namespace
}  // namespace doppel::testing
