#include <gtest/gtest.h>

#include "network/network.h"

namespace doppel {
namespace {

TEST(MacAddress, IsReadAsPeopleWriteIt) {
  const auto mac = parse_mac_address("52:54:00:aB:Cd:ef");
  ASSERT_TRUE(mac) << mac.message();
  EXPECT_EQ(*mac, (MacAddress{0x52, 0x54, 0, 0xab, 0xcd, 0xef}));
}

// A guest with a group's address, or none, would get no packets and not say why.
TEST(MacAddress, OfAGroupOrMalformedIsAnError) {
  for (const auto* text : {"", "52:54:00:12:34", "52:54:00:12:34:56:", "52:54:00:12:34:5", "52-54-00-12-34-56",
                           "5x:54:00:12:34:56", "52:54:00:12:34:-1", "52:54:00:12:34:+1", " 2:54:00:12:34:56",
                           "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"}) {
    const auto mac = parse_mac_address(text);
    ASSERT_FALSE(mac) << text;
    EXPECT_NE(mac.message().find(text), std::string::npos);
  }
}

}  // namespace
}  // namespace doppel
