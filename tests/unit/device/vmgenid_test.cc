#include "device/vmgenid.h"

#include <gtest/gtest.h>

#include "unit/device/interrupt_probe.h"

namespace doppel {
namespace {

Vmgenid::Identifier identifier(unsigned first) {
  Vmgenid::Identifier all;
  for (unsigned n = 0; n < all.size(); n++) all[n] = std::byte(first + n);
  return all;
}

// Linux copies the 16 bytes as the architecture's memcpy likes to, and asks nothing else of the device.
TEST(Vmgenid, IsReadInAnySize) {
  Vmgenid device({});
  device.begin(identifier(1));
  EXPECT_EQ(peek(device, 0, 8), 0x0807060504030201u);
  EXPECT_EQ(peek(device, 8, 8), 0x100f0e0d0c0b0a09u);
  EXPECT_EQ(peek(device, 4, 4), 0x08070605u);
  EXPECT_EQ(peek(device, 15, 1), 0x10u);
  EXPECT_EQ(peek(device, 15, 2), 0u);
  EXPECT_EQ(peek(device, 16, 8), 0u);
  EXPECT_TRUE(device.write(0, 8, 0));
  EXPECT_EQ(peek(device, 0, 8), 0x0807060504030201u);
}

/// Counts the edges of a line.
struct Edges final : InterruptSink {
  unsigned rising = 0;
  bool level = false;
  void set_level(unsigned, bool now) override {
    rising += now && !level;
    level = now;
  }
};

// Without it every copy of a machine goes on with the random numbers of all the others.
TEST(Vmgenid, TellsTheGuestOnceThatItIsAnother) {
  Edges line;
  Vmgenid device({&line, 1});
  device.begin(identifier(1));
  EXPECT_EQ(line.rising, 0u);
  device.change(identifier(2));
  EXPECT_EQ(line.rising, 1u);
  EXPECT_FALSE(line.level);
  EXPECT_EQ(peek(device, 0, 1), 2u);
  device.reset();
  EXPECT_EQ(peek(device, 0, 1), 2u);
}

TEST(Vmgenid, IsWhatWasSaved) {
  Vmgenid device({}), copy({});
  device.begin(identifier(7));
  Writer out;
  device.save(out);
  Reader in(out.data());
  ASSERT_TRUE(copy.restore(in));
  EXPECT_EQ(peek(copy, 8, 8), peek(device, 8, 8));
  Reader cut(std::span(out.data()).first(15));
  EXPECT_FALSE(copy.restore(cut));
}

}  // namespace
}  // namespace doppel
