// The network card: frames come and go whole, none is lost to a full ring, and a hostile driver reaches nothing else.
#include "device/virtio/net.h"

#include <gtest/gtest.h>

#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

constexpr std::uint64_t F_CSUM = 1, F_GUEST_CSUM = 2, F_MRG_RXBUF = 1 << 15, F_STATUS = 1 << 16;
constexpr std::uint64_t none = VIRTIO_F_VERSION_1;
constexpr unsigned rx = 0, tx = 1;

std::string ethernet(std::size_t length, char fill = 'd') {
  std::string frame(length, fill);
  for (std::size_t i = 0; i < frame.size(); i += 100) frame[i] = static_cast<char>('A' + i / 100 % 26);
  return frame;
}

class VirtioNetTest : public ::testing::Test {
 protected:
  void plug() {
    auto fake = std::make_unique<FakeNetwork>();
    network = fake.get();
    auto owned = std::make_unique<VirtioNet>(rig.host(), std::move(fake), MacAddress{0x52, 0x54, 0, 0x12, 0x34, 0x56});
    card = owned.get();
    rig.plug(std::move(owned));
  }
  void start(std::uint64_t features) {
    plug();
    rig.driver->start(features, 2);
  }
  Driver& driver() { return *rig.driver; }
  std::uint16_t give(std::uint32_t length) {
    const auto at = driver().allocate(length);
    last = at;
    return driver().send(rx, {{at, length, true}});
  }
  void transmit(const std::string& header, const std::string& frame) {
    driver().send(tx, {{driver().place(header), static_cast<std::uint32_t>(header.size()), false},
                       {driver().place(frame), static_cast<std::uint32_t>(frame.size()), false}});
  }
  std::string sent(std::size_t index) {
    const auto& frame = network->sent.at(index);
    return {reinterpret_cast<const char*>(frame.data()), frame.size()};
  }

  Rig rig;
  FakeNetwork* network = nullptr;
  VirtioNet* card = nullptr;
  std::uint64_t last = 0;
  const std::string empty_header = std::string(12, 0);
};

TEST_F(VirtioNetTest, HasItsAddressAndALink) {
  plug();
  EXPECT_EQ(driver().get(reg::DeviceID), 1u);
  std::string mac;
  for (unsigned i = 0; i < 6; i++) {
    std::uint64_t value = 0;
    ASSERT_TRUE(rig.mmio->read(reg::Config + i, 1, value));
    mac.push_back(static_cast<char>(value));
  }
  EXPECT_EQ(mac, std::string("\x52\x54\0\x12\x34\x56", 6));
  std::uint64_t status = 0;
  ASSERT_TRUE(rig.mmio->read(reg::Config + 6, 2, status));
  EXPECT_EQ(status, 1u);
  EXPECT_TRUE(driver().offered() & F_STATUS);
}

TEST_F(VirtioNetTest, SendsFramesWithoutTheirHeader) {
  start(none);
  transmit(empty_header, ethernet(60));
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(sent(0), ethernet(60));
  EXPECT_EQ(driver().used(tx).size(), 1u);
  EXPECT_TRUE(rig.line.level);
  // Header and frame in one buffer, as drivers with VERSION_1 may do.
  driver().send(tx, {{driver().place(empty_header + ethernet(1514)), 1526, false}});
  EXPECT_EQ(sent(1), ethernet(1514));
}

TEST_F(VirtioNetTest, WhatIsNoFrameIsDroppedAndComesBack) {
  start(none);
  driver().send(tx, {{driver().place("x"), 1, false}});
  transmit(empty_header, ethernet(13));
  driver().send(tx, {{ram_base + (32 << 20), 70000, false}});
  driver().send(tx, {{ram_base + (32 << 20), 64, true}});
  transmit(std::string("\1", 1) + std::string(11, 0), ethernet(60));    // CSUM was not negotiated
  transmit(std::string("\0\1", 2) + std::string(10, 0), ethernet(60));  // nor was TSO
  EXPECT_TRUE(network->sent.empty());
  EXPECT_EQ(driver().used(tx).size(), 6u);
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioNetTest, CompletesChecksumsThatTheGuestLeft) {
  start(none | F_CSUM);
  std::string frame(64, 0);
  frame[34] = '\x12';
  frame[35] = '\x34';
  std::string header = empty_header;
  header[0] = 1;   // NEEDS_CSUM
  header[6] = 34;  // csum_start
  header[8] = 6;   // csum_offset
  transmit(header, frame);
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(sent(0).substr(40, 2), "\xed\xcb");  // ~0x1234
  header[6] = 63;
  transmit(header, frame);
  EXPECT_EQ(network->sent.size(), 1u);
}

TEST_F(VirtioNetTest, ReceivesAFrameWithItsHeader) {
  start(none);
  const auto head = give(1526);
  network->deliver(to_bytes(ethernet(200)));
  const auto used = driver().used(rx);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].id, head);
  EXPECT_EQ(used[0].length, 212u);
  EXPECT_EQ(driver().text(last, 12), std::string(10, 0) + std::string("\1\0", 2));  // num_buffers 1
  EXPECT_EQ(driver().text(last + 12, 200), ethernet(200));
  EXPECT_TRUE(rig.line.level);
}

TEST_F(VirtioNetTest, AFrameSpreadsOverMergeableBuffers) {
  start(none | F_MRG_RXBUF);
  std::vector<std::uint64_t> at;
  for (int i = 0; i < 4; i++) {
    give(100);
    at.push_back(last);
  }
  network->deliver(to_bytes(ethernet(250)));
  const auto used = driver().used(rx);
  ASSERT_EQ(used.size(), 3u);
  EXPECT_EQ(used[0].length, 100u);
  EXPECT_EQ(used[1].length, 100u);
  EXPECT_EQ(used[2].length, 62u);
  EXPECT_EQ(driver().text(at[0] + 10, 2), std::string("\3\0", 2));
  EXPECT_EQ(driver().text(at[0] + 12, 88) + driver().text(at[1], 100) + driver().text(at[2], 62), ethernet(250));
}

TEST_F(VirtioNetTest, WithoutBuffersFramesWaitInTheNetwork) {
  start(none | F_MRG_RXBUF);
  give(100);
  network->deliver(to_bytes(ethernet(300)));
  EXPECT_EQ(network->waiting.size(), 1u);
  EXPECT_TRUE(driver().used(rx).empty());
  give(100);
  give(200);
  EXPECT_EQ(network->waiting.size(), 0u);
  EXPECT_EQ(driver().used(rx).size(), 3u);
}

TEST_F(VirtioNetTest, WithEventIndicesTheDriverIsAskedToNotifyWhenBuffersRunOut) {
  start(none | VIRTIO_F_EVENT_IDX);
  give(2000);
  network->deliver(to_bytes(ethernet(60)));
  network->deliver(to_bytes(ethernet(60)));
  EXPECT_EQ(network->waiting.size(), 1u);
  EXPECT_EQ(driver().avail_event(rx), 1);
  give(2000);
  EXPECT_TRUE(network->waiting.empty());
}

TEST_F(VirtioNetTest, AFrameThatNoBufferCanHoldIsDroppedNotWaitedFor) {
  start(none);
  give(100);
  network->deliver(to_bytes(ethernet(1000)));
  EXPECT_TRUE(network->waiting.empty());
  EXPECT_TRUE(driver().used(rx).empty());
  network->deliver(to_bytes(ethernet(80)));  // the buffer is still good
  EXPECT_EQ(driver().used(rx).size(), 1u);
}

TEST_F(VirtioNetTest, ARingFullOfTinyBuffersDoesNotStopTheNetwork) {
  start(none | F_MRG_RXBUF);
  for (int i = 0; i < 16; i++) give(12);
  network->deliver(to_bytes(ethernet(1000)));
  EXPECT_TRUE(network->waiting.empty());
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtioNetTest, ABufferSmallerThanTheHeaderNeedsReset) {
  start(none | F_MRG_RXBUF);
  give(11);
  network->deliver(to_bytes(ethernet(60)));
  EXPECT_TRUE(driver().needs_reset());
  EXPECT_TRUE(network->waiting.empty());
}

TEST_F(VirtioNetTest, ABufferThatCannotBeWrittenNeedsReset) {
  start(none);
  driver().send(rx, {{driver().allocate(2000), 2000, false}});
  network->deliver(to_bytes(ethernet(60)));
  EXPECT_TRUE(driver().needs_reset());
}

TEST_F(VirtioNetTest, FramesForAMachineWithoutADriverAreDropped) {
  plug();
  network->deliver(to_bytes(ethernet(60)));
  EXPECT_TRUE(network->waiting.empty());
}

TEST_F(VirtioNetTest, AResetLetsGoOfWhatWaited) {
  start(none);
  network->deliver(to_bytes(ethernet(60)));
  ASSERT_EQ(network->waiting.size(), 1u);
  driver().set(reg::Status, 0);
  rig.later.run();
  EXPECT_TRUE(network->waiting.empty());
}

TEST_F(VirtioNetTest, ARightChecksumIsMarkedSoThatTheGuestNeedNotLook) {
  start(none | F_GUEST_CSUM);
  std::string frame("\x52\x54\0\x12\x34\x56\x52\x54\0\x12\x34\x57\x08\0", 14);
  frame += std::string("\x45\0\0\x1c\0\0\0\0\x40\x11\0\0\x0a\0\2\x0f\x0a\0\2\3", 20);
  frame += std::string("\0\1\0\2\0\x08", 6);
  // 0a00 + 020f + 0a00 + 0203 + 0011 + 0008 + 0001 + 0002 + 0008 = 1836
  frame += "\xe7\xc9";
  give(2000);
  network->deliver(to_bytes(frame));
  EXPECT_EQ(driver().peek<std::uint8_t>(last), 2);  // DATA_VALID
  frame[41] ^= 1;
  give(2000);
  network->deliver(to_bytes(frame));
  EXPECT_EQ(driver().peek<std::uint8_t>(last), 0);
}

TEST_F(VirtioNetTest,
       AnAnswerFromInsideSendIsReceived) {  // libslirp answers ARP from the call that brought the question
  start(none);
  network->on_send = [this](std::span<const std::byte> frame) { network->deliver({frame.begin(), frame.end()}); };
  give(2000);
  transmit(empty_header, ethernet(60));
  EXPECT_EQ(driver().used(rx).size(), 1u);
  EXPECT_EQ(driver().text(last + 12, 60), ethernet(60));
}

TEST_F(VirtioNetTest, ASavedCardThatWaitedForBuffersAsksItsNewNetworkWhenThereAreSome) {
  start(none);
  network->deliver(to_bytes(ethernet(60)));
  const auto saved = rig.save();
  auto old_driver = std::move(rig.driver);
  plug();
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  EXPECT_EQ(rig.save(), saved);
  Driver copy = *old_driver;  // its rings, with the new device
  const auto at = copy.allocate(2000);
  copy.add(rx, {{at, 2000, true}});
  rig.later.run();
  EXPECT_EQ(network->resumes, 0u);  // not before the driver says so: the original did not know of the buffer either
  rig.driver->notify(rx);
  EXPECT_EQ(network->resumes, 1u);
  network->deliver(to_bytes(ethernet(60)));
  EXPECT_EQ(copy.used(rx).size(), 1u);
}

// A network that holds frames for a driver that is gone would hold those for the next one too.
TEST_F(VirtioNetTest, ASavedCardThatWasJustResetTellsItsNetworkToGoOn) {
  start(none);
  network->deliver(to_bytes(ethernet(60)));
  driver().set(reg::Status, 0);
  const auto saved = rig.save();
  plug();
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  EXPECT_EQ(rig.save(), saved);
  rig.later.run();
  EXPECT_EQ(network->resumes, 1u);
}

TEST_F(VirtioNetTest, ACopyHasTheAddressOfItsOriginalUntilItGetsItsOwn) {
  plug();
  card->set_mac({2, 0, 0, 0, 0, 9});
  const auto saved = rig.save();
  plug();
  Reader in{saved};
  ASSERT_TRUE(rig.mmio->restore(in).ok());
  EXPECT_EQ(card->config()[5], std::byte{9});
  card->set_mac({2, 0, 0, 0, 0, 7});
  EXPECT_EQ(card->config()[5], std::byte{7});
}

TEST_F(VirtioNetTest, ATruncatedSnapshotIsRefused) {
  start(none);
  const auto saved = rig.save();
  for (std::size_t i = 0; i < saved.size(); i++) {
    Reader in{std::span(saved).first(i)};
    EXPECT_FALSE(rig.mmio->restore(in).ok()) << i;
  }
}

}  // namespace
}  // namespace doppel::testing
