// The register window, as Linux's virtio_mmio and firmware see it.
#include "device/virtio/mmio.h"

#include <gtest/gtest.h>

#include "device/virtio/entropy.h"
#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

class VirtioMmioTest : public ::testing::Test {
 protected:
  VirtioMmioTest() {
    rig.plug(std::make_unique<VirtioEntropy>(
        rig.host(), [](std::span<std::byte> out) { std::fill(out.begin(), out.end(), std::byte{1}); }));
  }
  Driver& driver() { return *rig.driver; }
  Rig rig;
};

TEST_F(VirtioMmioTest, IdentifiesItselfAsAModernDevice) {
  EXPECT_EQ(driver().get(reg::MagicValue), 0x74726976u);
  EXPECT_EQ(driver().get(reg::Version), 2u);
  EXPECT_EQ(driver().get(reg::DeviceID), 4u);
  EXPECT_NE(driver().get(reg::VendorID), 0u);
  EXPECT_EQ(driver().get(reg::QueueNumMax), 64u);
  EXPECT_EQ(rig.mmio->window(), 0x200u);
}

TEST_F(VirtioMmioTest, AnEmptySlotHasMagicAndDeviceZero) {
  rig.plug(nullptr);
  EXPECT_EQ(driver().get(reg::MagicValue), 0x74726976u);
  EXPECT_EQ(driver().get(reg::Version), 2u);
  EXPECT_EQ(driver().get(reg::DeviceID), 0u);
  for (std::uint64_t offset = 0x10; offset < 0x200; offset += 4) {
    driver().set(offset, ~0u);
    EXPECT_EQ(driver().get(offset), 0u) << offset;
  }
  const auto saved = rig.save();
  Reader in{saved};
  EXPECT_TRUE(rig.mmio->restore(in).ok());
}

TEST_F(VirtioMmioTest, OffersVersion1AndRefusesADriverWithoutIt) {
  EXPECT_EQ(driver().offered(), VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX);
  EXPECT_FALSE(driver().negotiate(VIRTIO_F_EVENT_IDX));
  EXPECT_TRUE(driver().negotiate(VIRTIO_F_VERSION_1));
}

TEST_F(VirtioMmioTest, RefusesFeaturesThatWereNotOffered) {
  EXPECT_FALSE(driver().negotiate(VIRTIO_F_VERSION_1 | 1ull << 35));
  driver().driver_ok();  // FEATURES_OK was refused, so the device must not come to life
  EXPECT_FALSE(driver().get(reg::Status) & VirtioMmio::DRIVER_OK);
}

TEST_F(VirtioMmioTest, FeaturesAreFixedAfterFeaturesOk) {
  driver().start(VIRTIO_F_VERSION_1, 1);
  driver().set(reg::DriverFeaturesSel, 0);
  driver().set(reg::DriverFeatures, static_cast<std::uint32_t>(VIRTIO_F_EVENT_IDX));
  driver().set_used_event(0, 1000);  // means nothing where event indices were not negotiated
  driver().send(0, {{driver().allocate(8), 8, true}});
  EXPECT_TRUE(rig.line.level);
}

TEST_F(VirtioMmioTest, ABufferThatWasThereBeforeDriverOkIsDoneWithDriverOk) {
  ASSERT_TRUE(driver().negotiate(VIRTIO_F_VERSION_1));
  driver().queue(0, 8);
  driver().send(0, {{driver().allocate(8), 8, true}});
  EXPECT_TRUE(driver().used(0).empty());
  driver().driver_ok();
  EXPECT_EQ(driver().used(0).size(), 1u);
}

TEST_F(VirtioMmioTest, TheInterruptStaysUntilAcknowledged) {
  driver().start(VIRTIO_F_VERSION_1, 1);
  driver().send(0, {{driver().allocate(8), 8, true}});
  EXPECT_TRUE(rig.line.level);
  EXPECT_EQ(driver().get(reg::InterruptStatus), 1u);
  driver().set(reg::InterruptACK, 2);
  EXPECT_TRUE(rig.line.level);
  driver().set(reg::InterruptACK, 1);
  EXPECT_FALSE(rig.line.level);
}

TEST_F(VirtioMmioTest, WritingZeroToStatusResets) {
  driver().start(VIRTIO_F_VERSION_1, 1);
  driver().send(0, {{driver().allocate(8), 8, true}});
  driver().set(reg::Status, 0);
  EXPECT_FALSE(rig.line.level);
  EXPECT_EQ(driver().get(reg::Status), 0u);
  EXPECT_EQ(driver().get(reg::InterruptStatus), 0u);
  EXPECT_EQ(driver().get(reg::QueueReady), 0u);
  driver().notify(0);
  EXPECT_EQ(driver().used(0).size(), 1u);  // the one from before
}

TEST_F(VirtioMmioTest, AQueueThatIsReadyCannotBeMovedAndOneThatIsNotIsIgnored) {
  driver().start(VIRTIO_F_VERSION_1, 1);
  driver().set64(reg::QueueDescLow, 0);
  driver().set(reg::QueueNum, 3);
  driver().send(0, {{driver().allocate(8), 8, true}});
  EXPECT_EQ(driver().used(0).size(), 1u);
  driver().set(reg::QueueReady, 0);
  EXPECT_EQ(driver().get(reg::QueueReady), 0u);  // Linux warns when it reads anything else
  driver().send(0, {{driver().allocate(8), 8, true}});
  EXPECT_TRUE(driver().used(0).empty());
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioMmioTest, QueuesThatDoNotExistReadZeroAndTakeNothing) {
  for (std::uint32_t queue : {1u, 64u, 0xffff'ffffu}) {
    driver().set(reg::QueueSel, queue);
    EXPECT_EQ(driver().get(reg::QueueNumMax), 0u);
    driver().set(reg::QueueReady, 1);
    EXPECT_EQ(driver().get(reg::QueueReady), 0u);
    driver().notify(queue);
  }
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioMmioTest, SharedMemoryRegionsReadAllOnes) {  // 4.2.2: "no region"
  for (unsigned i = 0; i < 4; i++) EXPECT_EQ(driver().get(reg::SHMLenLow + 4 * i), ~0u);
}

TEST_F(VirtioMmioTest, AccessesOfOtherSizesAndPlacesDoNothing) {
  for (std::uint64_t offset = 0; offset < 0x200; offset++) {
    for (unsigned size : {1u, 2u, 4u, 8u}) {
      if (size == 4 && offset % 4 == 0) continue;
      std::uint64_t value = 0x5a5a;
      EXPECT_TRUE(rig.mmio->read(offset, size, value));
      EXPECT_EQ(value, 0u) << offset;
      EXPECT_TRUE(rig.mmio->write(offset, size, ~0ull));
    }
  }
  EXPECT_EQ(driver().get(reg::Status), 0u);
}

TEST_F(VirtioMmioTest, ASavedDeviceGoesOnWhereItWas) {
  driver().start(driver().offered(), 1);
  const auto buffer = driver().allocate(8);
  driver().send(0, {{buffer, 8, true}});
  const auto saved = rig.save();
  driver().set(reg::Status, 0);
  EXPECT_FALSE(rig.line.level);
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  EXPECT_TRUE(rig.line.level);  // driven to match
  EXPECT_EQ(rig.save(), saved);
  rig.later.run();
  EXPECT_EQ(driver().used(0).size(), 1u);
  driver().send(0, {{buffer, 8, true}});
  EXPECT_EQ(driver().used(0).size(), 1u);
}

TEST_F(VirtioMmioTest, ASnapshotOfAnotherDeviceIsRefused) {
  const auto saved = rig.save();
  rig.plug(nullptr);
  Reader in{saved};
  const auto result = rig.mmio->restore(in);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.message().find("virtio device type 4"), std::string::npos);
}

}  // namespace
}  // namespace doppel::testing
