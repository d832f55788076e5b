#include <gtest/gtest.h>

#include "network/network.h"

namespace doppel {
namespace {

std::string shown(const PublishedPort& port) {
  return fmt::format("{} {} {} {}", port.address, port.host, port.guest, port.udp ? "udp" : "tcp");
}

// --publish would open another port than the user wrote.
TEST(PublishedPort, ReadsEveryForm) {
  for (const auto& [text, expected] : {std::pair{"8080:80", "127.0.0.1 8080 80 tcp"},
                                       {"8080:80/tcp", "127.0.0.1 8080 80 tcp"},
                                       {"5353:53/udp", "127.0.0.1 5353 53 udp"},
                                       {"0:22", "127.0.0.1 0 22 tcp"},
                                       {"65535:65535", "127.0.0.1 65535 65535 tcp"},
                                       {"0.0.0.0:2222:22", "0.0.0.0 2222 22 tcp"},
                                       {"10.1.2.3:53:53/udp", "10.1.2.3 53 53 udp"}}) {
    const auto port = parse_published_port(text);
    ASSERT_TRUE(port) << text << ": " << port.message();
    EXPECT_EQ(shown(*port), expected);
  }
}

TEST(PublishedPort, RefusesTheRestAndNamesIt) {
  for (const std::string text : {"",
                                 ":",
                                 "80",
                                 "80:",
                                 ":80",
                                 "8080:0",
                                 "65536:80",
                                 "80:65536",
                                 "-1:80",
                                 "+1:80",
                                 " 80:80",
                                 "80:80 ",
                                 "80:80/",
                                 "80:80/sctp",
                                 "80:80/udp/tcp",
                                 "a:b",
                                 "80:8o",
                                 "0x50:80",
                                 "1.2.3:80:80",
                                 "::1:80:80",
                                 "[::1]:80:80",
                                 "localhost:80:80",
                                 ":80:80",
                                 "1.2.3.4:5:6:7",
                                 "99999999999999999999:1"}) {
    const auto port = parse_published_port(text);
    ASSERT_FALSE(port) << text;
    EXPECT_NE(port.message().find("'" + text + "'"), std::string::npos) << port.message();
  }
}

}  // namespace
}  // namespace doppel
