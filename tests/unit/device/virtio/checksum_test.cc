#include "device/virtio/checksum.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string_view>
#include <vector>

namespace doppel {
namespace {

std::vector<std::byte> hex(std::string_view digits) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    out.push_back(std::byte(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16)));
  return out;
}

// Ethernet, IPv4 10.0.2.15 to 10.0.2.3, UDP 4660 to 53, "abc": the checksum was worked out by hand from RFC 768.
// words: 0a00 020f 0a00 0203 0011 000b | 1234 0035 000b ____ 6162 6300
constexpr std::string_view udp4 =
    "525400123456"
    "525400123457"
    "0800"
    "4500001f0000000040110000"
    "0a00020f"
    "0a000203"
    "12340035000b"
    "0000"
    "616263";

std::vector<std::byte> udp4_with(std::uint16_t checksum) {
  auto frame = hex(udp4);
  frame[40] = std::byte(checksum >> 8);
  frame[41] = std::byte(checksum & 0xff);
  return frame;
}

constexpr std::uint16_t sum_of_words() {
  std::uint32_t sum = 0;
  for (std::uint32_t word : {0x0a00, 0x020f, 0x0a00, 0x0203, 0x0011, 0x000b, 0x1234, 0x0035, 0x000b, 0x6162, 0x6300})
    sum += word;
  return static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16)));
}

TEST(Checksum, TellsRightFromWrong) {
  EXPECT_TRUE(checksum_is_valid(udp4_with(sum_of_words())));
  EXPECT_FALSE(checksum_is_valid(udp4_with(sum_of_words() ^ 1)));
}

TEST(Checksum, AUdpPacketWithoutOneIsNotCalledValid) { EXPECT_FALSE(checksum_is_valid(udp4_with(0))); }

TEST(Checksum, CompletesWhatTheGuestLeft) {
  // The guest leaves the sum of the pseudo header in the field: 0a00 + 020f + 0a00 + 0203 + 0011 + 000b = 182e.
  auto frame = udp4_with(0x182e);
  ASSERT_TRUE(complete_checksum(frame, 34, 6));
  EXPECT_EQ(frame, udp4_with(sum_of_words()));
}

TEST(Checksum, PaddingAfterThePacketDoesNotCount) {
  auto frame = udp4_with(sum_of_words());
  frame.resize(60, std::byte{0x77});
  EXPECT_TRUE(checksum_is_valid(frame));
}

TEST(Checksum, FragmentsAreLeftToTheGuest) {
  auto frame = udp4_with(sum_of_words());
  frame[20] = std::byte{0x20};
  EXPECT_FALSE(checksum_is_valid(frame));
}

TEST(Checksum, ASumOfZeroIsSentAsAllOnes) {
  auto frame = hex("ffff0000");
  ASSERT_TRUE(complete_checksum(frame, 0, 2));
  EXPECT_EQ(frame, hex("ffffffff"));
}

TEST(Checksum, PlacesOutsideTheFrameAreRefused) {
  auto frame = hex("00000000");
  EXPECT_FALSE(complete_checksum(frame, 5, 0));
  EXPECT_FALSE(complete_checksum(frame, 0, 3));
  EXPECT_FALSE(complete_checksum(frame, 4, 0));
  EXPECT_FALSE(complete_checksum(frame, 65535, 65535));
}

TEST(Checksum, EveryTruncationOfAFrameIsSafe) {
  const auto frame = udp4_with(sum_of_words());
  for (std::size_t i = 0; i < frame.size(); i++) EXPECT_FALSE(checksum_is_valid(std::span(frame).first(i)));
}

TEST(Checksum, KnowsIpv6) {
  // fd00::1 to fd00::2, UDP 1 to 2, length 9, one byte "A".
  auto frame =
      hex("525400123456"
          "525400123457"
          "86dd"
          "6000000000091140"
          "fd000000000000000000000000000001"
          "fd000000000000000000000000000002"
          "000100020009"
          "0000"
          "41");
  std::uint32_t sum = 2 * 0xfd00 + 1 + 2 + 9 + 17 + 1 + 2 + 9 + 0x4100;
  const auto checksum = static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16)));
  frame[60] = std::byte(checksum >> 8);
  frame[61] = std::byte(checksum & 0xff);
  EXPECT_TRUE(checksum_is_valid(frame));
  frame[62] ^= std::byte{1};
  EXPECT_FALSE(checksum_is_valid(frame));
}

}  // namespace
}  // namespace doppel
