#include "machine/bus.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

/// Remembers what was asked of it.
struct Probe final : Device {
  explicit Probe(std::uint64_t size) : size_(size) {}
  std::string_view name() const override { return "probe"; }
  std::uint64_t window() const override { return size_; }
  void reset() override {}
  bool read(std::uint64_t offset, unsigned size, std::uint64_t& value) override {
    last = offset, width = size, accesses++;
    value = 0x1000 + offset;
    return answer;
  }
  bool write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
    last = offset, width = size, written = value, accesses++;
    return answer;
  }
  void save(Writer&) const override {}
  Result<void> restore(Reader&) override { return {}; }

  std::uint64_t size_, last = ~0ULL, written = 0;
  unsigned width = 0, accesses = 0;
  bool answer = true;
};

class TheBus : public testing::Test {
 protected:
  void SetUp() override {
    bus_.attach(0x1000'0000, 0x100, uart_);
    bus_.attach(0x1000'1000, 0x1000, card_);  // 0x200 bytes of registers in a window of 4 KiB
  }
  std::recursive_mutex lock_;
  DeviceLock device_lock_{lock_};
  Bus bus_{device_lock_};
  Probe uart_{0x100}, card_{0x200};
  std::uint64_t value_ = 77;
};

TEST_F(TheBus, LeadsToTheDeviceAtItsOffset) {
  EXPECT_TRUE(bus_.mmio_read(0x1000'0005, 1, value_));
  EXPECT_EQ(value_, 0x1005u);
  EXPECT_EQ(uart_.width, 1u);
  EXPECT_TRUE(bus_.mmio_write(0x1000'11fc, 4, 0xabcd));
  EXPECT_EQ(card_.last, 0x1fcu);
  EXPECT_EQ(card_.written, 0xabcdu);
  EXPECT_EQ(uart_.accesses, 1u);
}

TEST_F(TheBus, FaultsWhereNothingIs) {
  for (const std::uint64_t nowhere : {0ULL, 0xfff'ffffULL, 0x1000'0100ULL, 0x1000'2000ULL, ~0ULL, ~0ULL - 7}) {
    EXPECT_FALSE(bus_.mmio_read(nowhere, 1, value_)) << std::hex << nowhere;
    EXPECT_FALSE(bus_.mmio_write(nowhere, 8, 0)) << std::hex << nowhere;
  }
  EXPECT_FALSE(bus_.mmio_read(0x1000'00fd, 4, value_));  // half in, half out
  EXPECT_FALSE(bus_.mmio_write(0x0fff'fffe, 4, 0));
  EXPECT_EQ(uart_.accesses + card_.accesses, 0u);
}

// Kernels probe the rest of a virtio slot; it is empty, not absent.
TEST_F(TheBus, ReadsZeroBehindADevicesRegisters) {
  EXPECT_TRUE(bus_.mmio_read(0x1000'1200, 4, value_));
  EXPECT_EQ(value_, 0u);
  EXPECT_TRUE(bus_.mmio_read(0x1000'11fe, 4, value_));  // its last registers do not take that width
  EXPECT_TRUE(bus_.mmio_write(0x1000'1ffc, 4, 1));
  EXPECT_EQ(card_.accesses, 0u);
}

TEST_F(TheBus, PassesADevicesRefusalOn) {
  uart_.answer = false;
  EXPECT_FALSE(bus_.mmio_read(0x1000'0000, 8, value_));
  EXPECT_FALSE(bus_.mmio_write(0x1000'0000, 8, 1));
}

}  // namespace
}  // namespace doppel
