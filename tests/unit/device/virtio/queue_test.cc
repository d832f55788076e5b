// The split virtqueue against drivers that mean well and drivers that do not: a guest that writes nonsense must find
// its device asking for a reset, never a crash, an endless loop or an access outside its memory.
#include "device/virtio/queue.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "device/virtio/entropy.h"
#include "unit/device/virtio/driver.h"

namespace doppel::testing {
namespace {

constexpr std::uint64_t all_features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;

/// The entropy device stands in for all: it writes what it can of each chain.
class VirtqueueTest : public ::testing::Test {
 protected:
  void start(std::uint64_t features = all_features, std::uint16_t size = 16) {
    rig.plug(std::make_unique<VirtioEntropy>(
        rig.host(), [](std::span<std::byte> out) { std::fill(out.begin(), out.end(), std::byte{0xa5}); }));
    rig.driver->start(features, 1, size);
    buffer = rig.driver->allocate(4096);
  }
  Driver& driver() { return *rig.driver; }
  Driver::Ring& ring() { return rig.driver->rings[0]; }
  /// Offers descriptor `head` and expects the device to ask for a reset, by Status and a configuration interrupt.
  void expect_broken(std::uint16_t head) {
    driver().make_available(ring(), head);
    driver().notify(0);
    EXPECT_TRUE(driver().needs_reset());
    EXPECT_TRUE(rig.line.level);
    EXPECT_EQ(driver().get(reg::InterruptStatus) & 2, 2u);
    EXPECT_TRUE(driver().used(0).empty());
    // Dead until reset, then as new.
    driver().notify(0);
    EXPECT_TRUE(driver().used(0).empty());
    driver().start(all_features, 1, 16);
    EXPECT_FALSE(driver().needs_reset());
    driver().send(0, {{buffer, 8, true}});
    EXPECT_EQ(driver().used(0).size(), 1u);
  }
  /// A table in memory, offered as one indirect descriptor.
  void indirect(const std::vector<std::array<std::uint64_t, 4>>& rows, std::uint32_t bytes,
                std::uint16_t flags = INDIRECT) {
    const auto table = driver().allocate(16 * rows.size() + 16);
    for (std::size_t i = 0; i < rows.size(); i++)
      driver().write_descriptor(table + 16 * i, rows[i][0], rows[i][1], rows[i][2], rows[i][3]);
    driver().descriptor(ring(), 0, table, bytes, flags, 1);
  }

  Rig rig;
  std::uint64_t buffer = 0;
};

TEST_F(VirtqueueTest, ChainsOfSeveralBuffersAreFilledInOrderAndComeBackByTheirHead) {
  start();
  const auto head = driver().send(0, {{buffer, 3, true}, {buffer + 100, 5, true}});
  const auto used = driver().used(0);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].id, head);
  EXPECT_EQ(used[0].length, 8u);
  EXPECT_EQ(driver().text(buffer, 4), std::string("\xa5\xa5\xa5\0", 4));
  EXPECT_EQ(driver().text(buffer + 100, 6), std::string("\xa5\xa5\xa5\xa5\xa5\0", 6));
}

TEST_F(VirtqueueTest, IndicesWrapAfter65536Buffers) {
  start(all_features, 4);
  for (int i = 0; i < 70000; i++) {
    driver().send(0, {{buffer, 1, true}});
    ASSERT_EQ(driver().used(0).size(), 1u) << i;
  }
}

TEST_F(VirtqueueTest, AnIndirectTableIsOneChain) {
  start();
  indirect({{buffer, 4, WRITE | NEXT, 2}, {0, 0, 0, 0}, {buffer + 8, 4, WRITE, 0}}, 48);
  driver().make_available(ring(), 0);
  driver().notify(0);
  const auto used = driver().used(0);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].length, 8u);
}

TEST_F(VirtqueueTest, DirectDescriptorsMayEndInAnIndirectTable) {  // 2.7.5.3.2
  start();
  const auto table = driver().allocate(16);
  driver().write_descriptor(table, buffer + 8, 4, WRITE, 0);
  driver().descriptor(ring(), 0, buffer, 4, WRITE | NEXT, 1);
  driver().descriptor(ring(), 1, table, 16, INDIRECT, 0);
  driver().make_available(ring(), 0);
  driver().notify(0);
  const auto used = driver().used(0);
  ASSERT_EQ(used.size(), 1u);
  EXPECT_EQ(used[0].length, 8u);
}

TEST_F(VirtqueueTest, ALoopIsBroken) {
  start();
  driver().descriptor(ring(), 0, buffer, 4, WRITE | NEXT, 1);
  driver().descriptor(ring(), 1, buffer, 4, WRITE | NEXT, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ADescriptorThatPointsToItselfIsBroken) {
  start();
  driver().descriptor(ring(), 3, buffer, 4, WRITE | NEXT, 3);
  expect_broken(3);
}

TEST_F(VirtqueueTest, AHeadOutsideTheTableIsBroken) {
  start();
  expect_broken(16);
}

TEST_F(VirtqueueTest, ANextOutsideTheTableIsBroken) {
  start();
  driver().descriptor(ring(), 0, buffer, 4, WRITE | NEXT, 0xffff);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ABufferOfNoLengthIsBroken) {
  start();
  driver().descriptor(ring(), 0, buffer, 0, WRITE, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ABufferPastTheEndOfMemoryIsBroken) {
  start();
  driver().descriptor(ring(), 0, ram_base + ram_size - 4, 8, WRITE, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ABufferBelowMemoryIsBroken) {
  start();
  driver().descriptor(ring(), 0, ram_base - 4, 8, WRITE, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnAddressThatOverflowsIsBroken) {
  start();
  driver().descriptor(ring(), 0, ~0ull - 2, 0xffff'ffff, WRITE, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ReadableAfterWritableIsBroken) {
  start();
  driver().descriptor(ring(), 0, buffer, 4, WRITE | NEXT, 1);
  driver().descriptor(ring(), 1, buffer, 4, 0, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnIndirectTableInAnIndirectTableIsBroken) {
  start();
  indirect({{buffer, 16, INDIRECT, 0}}, 16);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnIndirectTableOfOddLengthIsBroken) {
  start();
  indirect({{buffer, 4, WRITE, 0}}, 17);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnEmptyIndirectTableIsBroken) {
  start();
  indirect({{buffer, 4, WRITE, 0}}, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnIndirectTableOfMoreThanTheLimitIsBroken) {
  start();
  indirect({{buffer, 4, WRITE, 0}}, 16 * (Queue::max_chain + 1));
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnIndirectTableOf4GiBIsBroken) {
  start();
  indirect({{buffer, 4, WRITE, 0}}, 0xffff'fff0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnIndirectTableOutsideMemoryIsBroken) {
  start();
  driver().descriptor(ring(), 0, ram_base + ram_size - 8, 16, INDIRECT, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ALoopInAnIndirectTableIsBroken) {
  start();
  indirect({{buffer, 4, WRITE | NEXT, 1}, {buffer, 4, WRITE | NEXT, 0}}, 32);
  expect_broken(0);
}

TEST_F(VirtqueueTest, ANextOutsideAnIndirectTableIsBroken) {
  start();
  indirect({{buffer, 4, WRITE | NEXT, 1}}, 16);
  expect_broken(0);
}

TEST_F(VirtqueueTest, IndirectWithNextIsBroken) {  // 2.7.5.3.1
  start();
  indirect({{buffer, 4, WRITE, 0}}, 16, INDIRECT | NEXT);
  driver().descriptor(ring(), 1, buffer, 4, WRITE, 0);
  expect_broken(0);
}

TEST_F(VirtqueueTest, IndirectThatWasNotNegotiatedIsBroken) {
  start(VIRTIO_F_VERSION_1);
  indirect({{buffer, 4, WRITE, 0}}, 16);
  expect_broken(0);
}

TEST_F(VirtqueueTest, AnIndexThatIsAheadByMoreThanTheQueueIsBroken) {
  start();
  driver().descriptor(ring(), 0, buffer, 4, WRITE, 0);
  ring().avail_idx = 16;
  expect_broken(0);
}

TEST_F(VirtqueueTest, QueuesThatCannotBeAreRefused) {
  struct Row {
    const char* what;
    std::uint16_t size;
    std::uint64_t desc, avail, used;
  };
  const std::uint64_t end = ram_base + ram_size;
  const Row rows[] = {
      {"size 0", 0, ram_base, ram_base, ram_base},
      {"no power of two", 12, ram_base, ram_base, ram_base},
      {"more than QueueNumMax", 128, ram_base, ram_base, ram_base},
      {"descriptors not aligned to 16", 16, ram_base + 8, ram_base, ram_base},
      {"available ring not aligned to 2", 16, ram_base, ram_base + 1, ram_base},
      {"used ring not aligned to 4", 16, ram_base, ram_base, ram_base + 2},
      {"descriptors below memory", 16, 0, ram_base, ram_base},
      {"descriptors past the end", 16, end - 16, ram_base, ram_base},
      {"available ring past the end", 16, ram_base, end - 4, ram_base},
      {"used ring past the end", 16, ram_base, ram_base, end - 4},
      {"used ring that overflows", 16, ram_base, ram_base, ~0ull - 3},
  };
  for (const auto& row : rows) {
    start();
    auto& d = driver();
    ASSERT_TRUE(d.negotiate(all_features));
    d.set(reg::QueueSel, 0);
    d.set(reg::QueueNum, row.size);
    d.set64(reg::QueueDescLow, row.desc);
    d.set64(reg::QueueDriverLow, row.avail);
    d.set64(reg::QueueDeviceLow, row.used);
    d.set(reg::QueueReady, 1);
    EXPECT_TRUE(d.needs_reset()) << row.what;
    EXPECT_EQ(d.get(reg::QueueReady), 0u) << row.what;
    d.driver_ok();
    d.notify(0);
  }
}

TEST_F(VirtqueueTest, WithoutEventIndicesTheFlagSuppressesInterrupts) {
  start(VIRTIO_F_VERSION_1);
  driver().poke<std::uint16_t>(ring().avail, 1);  // VIRTQ_AVAIL_F_NO_INTERRUPT
  driver().send(0, {{buffer, 4, true}});
  EXPECT_EQ(driver().used(0).size(), 1u);
  EXPECT_FALSE(rig.line.level);
  driver().poke<std::uint16_t>(ring().avail, 0);
  driver().send(0, {{buffer, 4, true}});
  EXPECT_TRUE(rig.take_interrupt());
}

TEST_F(VirtqueueTest, UsedEventSuppressesInterruptsUntilItIsReached) {
  start();
  driver().set_used_event(0, 2);  // interrupt when used index 2 is written, that is with the third buffer
  for (int i = 0; i < 2; i++) driver().send(0, {{buffer, 4, true}});
  EXPECT_FALSE(rig.line.level);
  driver().send(0, {{buffer, 4, true}});
  EXPECT_TRUE(rig.take_interrupt());
  driver().send(0, {{buffer, 4, true}});
  EXPECT_FALSE(rig.line.level);  // not asked for again
}

TEST_F(VirtqueueTest, AvailEventAsksForTheNextBuffer) {
  start();
  EXPECT_EQ(driver().avail_event(0), 0);
  for (std::uint16_t i = 1; i < 20; i++) {
    driver().send(0, {{buffer, 4, true}});
    ASSERT_EQ(driver().avail_event(0), i);
  }
}

TEST_F(VirtqueueTest, OneNotificationIsBoundedAndTheRestIsDoneLater) {
  // A second hart that refills the queue while the first is in the device: here the source of bytes plays it.
  Driver* other = nullptr;
  std::uint64_t at = 0;
  unsigned calls = 0;
  rig.plug(std::make_unique<VirtioEntropy>(rig.host(), [&](std::span<std::byte>) {
    calls++;
    if (other && calls < 1000) other->add(0, {{at, 1, true}});
  }));
  driver().start(all_features, 1, 16);
  at = driver().allocate(64);
  other = &driver();
  driver().send(0, {{at, 1, true}});
  EXPECT_LE(calls, 16u);
  EXPECT_TRUE(rig.line.level);
  for (int i = 0; i < 100; i++) rig.later.run();
  EXPECT_EQ(calls, 1000u);  // and nothing was forgotten
}

TEST_F(VirtqueueTest, ABufferThatComesJustBeforeAvailEventIsUpdatedIsSeen) {
  start();
  driver().send(0, {{buffer, 1, true}});
  driver().add(0, {{buffer, 1, true}});  // for the notification below
  bool added = false;
  rig.memory->set_write_observer([&](std::uint64_t address, std::uint64_t) {
    if (address == ring().used + 4 + 8 * ring().size && !std::exchange(added, true))
      driver().add(0, {{buffer, 1, true}});  // avail_event is still old, so this driver does not notify
    return std::unique_lock<std::mutex>();
  });
  driver().notify(0);
  rig.memory->set_write_observer(nullptr);
  EXPECT_TRUE(added);
  EXPECT_EQ(driver().used(0).size(), 3u);
}

TEST_F(VirtqueueTest, ADriverOnAnotherThreadNeverWaitsForANotificationThatItWasToldNotToSend) {
  start(all_features, 4);
  constexpr unsigned buffers = 50'000;
  std::atomic<std::uint32_t> kicks = 0;
  std::atomic<bool> done = false;
  std::thread device([&] {
    for (std::uint32_t seen = 0; !done;) {
      kicks.wait(seen);
      seen = kicks;  // before the device looks: a later kick is for what it may not have seen
      driver().notify(0);
      while (!rig.later.empty()) rig.later.run();
    }
  });
  for (std::uint16_t i = 0; i < 4; i++) driver().descriptor(ring(), i, buffer, 1, WRITE, 0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto used_idx = [&] { return driver().peek<std::uint16_t>(ring().used + 2); };
  bool stuck = false;
  for (unsigned i = 0; i < buffers && !stuck; i++) {
    while (static_cast<std::uint16_t>(i - used_idx()) >= 4 && !stuck) {
      std::this_thread::yield();
      stuck = std::chrono::steady_clock::now() > deadline;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const auto old = ring().avail_idx;
    driver().make_available(ring(), i % 4);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (driver().avail_event(0) != old) continue;  // 2.7.10: one buffer at a time makes it an equality
    kicks++;
    kicks.notify_one();
  }
  EXPECT_FALSE(stuck) << "the device sleeps with buffers available";
  done = true;
  kicks++;
  kicks.notify_one();
  device.join();
  driver().notify(0);
  EXPECT_EQ(used_idx(), static_cast<std::uint16_t>(buffers));
  EXPECT_FALSE(driver().needs_reset());
}

TEST_F(VirtqueueTest, AHostileSnapshotOfAQueueIsRefused) {
  start();
  const auto good = rig.save();
  unsigned refused = 0;
  for (std::size_t i = 0; i < good.size(); i++) {
    Reader cut{std::span(good).first(i)};
    EXPECT_FALSE(rig.mmio->restore(cut).ok()) << i;
    for (int bit = 0; bit < 8; bit++) {
      auto bad = good;
      bad[i] ^= std::byte(1 << bit);
      Reader in{bad};
      refused += !rig.mmio->restore(in).ok();
      driver().notify(0);
      rig.later.run();
    }
  }
  EXPECT_GT(refused, 0u);
  Reader in{good};
  EXPECT_TRUE(rig.mmio->restore(in).ok());
}

}  // namespace
}  // namespace doppel::testing
