#include "device/test_finisher.h"

#include <gtest/gtest.h>

#include <string>

#include "unit/device/interrupt_probe.h"

namespace doppel {
namespace {

struct Machine {
  std::string seen;
  TestFinisher finisher{[this](Finish kind, unsigned code) {
    seen += std::string(kind == Finish::pass    ? "pass"
                        : kind == Finish::reset ? "reset"
                                                : "fail") +
            " " + std::to_string(code) + ";";
  }};
  std::string write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    seen.clear();
    EXPECT_TRUE(finisher.write(offset, size, value));
    return seen;
  }
};

// poweroff, reboot and test programs would not end the machine, or with the wrong exit status.
TEST(TestFinisher, EndsTheMachineAsTheGuestSays) {
  Machine m;
  EXPECT_EQ(m.write(0, 4, 0x5555), "pass 0;");
  EXPECT_EQ(m.write(0, 2, 0x5555), "pass 0;");
  EXPECT_EQ(m.write(0, 4, 0x7777), "reset 0;");
  EXPECT_EQ(m.write(0, 4, 0x00013333), "fail 1;");
  EXPECT_EQ(m.write(0, 8, 0x1234567'ffff3333), "fail 65535;");
  EXPECT_EQ(m.write(0, 2, 0x00013333), "fail 0;");
}

TEST(TestFinisher, IgnoresEverythingElse) {
  Machine m;
  for (const std::uint64_t value : {0ull, 0x5556ull, 0x55ull, 0xffffffffull, 0x55550000ull})
    EXPECT_EQ(m.write(0, 4, value), "");
  EXPECT_EQ(m.write(4, 4, 0x5555), "");
  EXPECT_EQ(m.write(0, 1, 0x5555), "");
  EXPECT_EQ(peek(m.finisher, 0), 0u);
  TestFinisher unconnected({});
  EXPECT_TRUE(unconnected.write(0, 4, 0x5555));
}

TEST(TestFinisher, HasNoState) {
  Machine m;
  EXPECT_TRUE(saved(m.finisher).empty());
  EXPECT_TRUE(restored(m.finisher, {}));
}

}  // namespace
}  // namespace doppel
