// Random numbers for the guest: without them Linux boots slowly and key generation waits.
#include "device/virtio/entropy.h"

#include <gtest/gtest.h>

#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

class VirtioEntropyTest : public ::testing::Test {
 protected:
  VirtioEntropyTest() {
    rig.plug(std::make_unique<VirtioEntropy>(rig.host(), [this](std::span<std::byte> out) {
      asked.push_back(out.size());
      for (auto& byte : out) byte = std::byte(++counter);
    }));
    rig.driver->start(VIRTIO_F_VERSION_1, 1);
  }
  Rig rig;
  std::vector<std::size_t> asked;
  std::uint8_t counter = 0;
};

TEST_F(VirtioEntropyTest, FillsBuffersFromTheSourceItWasGiven) {
  const auto at = rig.driver->allocate(64);
  rig.driver->send(0, {{at, 5, true}});
  EXPECT_EQ(rig.driver->text(at, 6), std::string("\1\2\3\4\5\0", 6));
  const auto used = rig.driver->used(0);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].length, 5u);
  EXPECT_TRUE(rig.line.level);
}

TEST_F(VirtioEntropyTest, AHugeBufferGetsABoundedAmount) {
  rig.driver->send(0, {{ram_base + (16 << 20), 32 << 20, true}});
  EXPECT_EQ(asked, std::vector<std::size_t>{VirtioEntropy::max_bytes});
  const auto used = rig.driver->used(0);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].length, VirtioEntropy::max_bytes);
}

TEST_F(VirtioEntropyTest, ABufferThatCannotBeWrittenIsTheDriversFault) {
  rig.driver->send(0, {{rig.driver->allocate(64), 64, false}});
  EXPECT_TRUE(rig.driver->needs_reset());
  EXPECT_TRUE(asked.empty());
}

}  // namespace
}  // namespace doppel::testing
