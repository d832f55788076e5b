#include "network/frame.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace doppel {
namespace {

std::vector<std::byte> frame(std::vector<unsigned> ethertype_and_more, std::size_t size) {
  std::vector<std::byte> out(size);
  for (std::size_t i = 0; i < ethertype_and_more.size() && 12 + i < size; i++)
    out[12 + i] = std::byte(ethertype_and_more[i]);
  return out;
}

// With too many connections open, existing ones would stall, or a guest could still open more.
TEST(Frame, KnowsWhatMayOpenASocket) {
  auto tcp = frame({0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6}, 54);
  EXPECT_FALSE(may_open_socket(tcp));
  tcp[14 + 20 + 13] = std::byte{0x02};
  EXPECT_TRUE(may_open_socket(tcp)) << "SYN";
  tcp[14 + 20 + 13] = std::byte{0x10};
  EXPECT_FALSE(may_open_socket(tcp)) << "ACK";
  tcp.resize(40);
  EXPECT_TRUE(may_open_socket(tcp)) << "cut short";
  EXPECT_TRUE(may_open_socket(frame({0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17}, 54))) << "UDP";
  EXPECT_TRUE(may_open_socket(frame({0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17}, 62))) << "UDP over IPv6";
  EXPECT_FALSE(may_open_socket(frame({0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6}, 74))) << "TCP over IPv6";
  EXPECT_FALSE(may_open_socket(frame({0x08, 0x06}, 42))) << "ARP";
  EXPECT_FALSE(may_open_socket({}));
}

}  // namespace
}  // namespace doppel
