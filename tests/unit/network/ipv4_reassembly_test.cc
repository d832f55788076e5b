#include "network/ipv4_reassembly.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace doppel {
namespace {

using Bytes = std::vector<std::byte>;

void put16(Bytes& out, std::size_t at, unsigned value) {
  out.at(at) = std::byte(value >> 8);
  out.at(at + 1) = std::byte(value);
}

void set_checksum(Bytes& frame) {
  put16(frame, 24, 0);
  unsigned sum = 0;
  for (std::size_t i = 14; i < 34; i += 2)
    sum += std::to_integer<unsigned>(frame[i]) << 8 | std::to_integer<unsigned>(frame[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  put16(frame, 24, ~sum & 0xffff);
}

/// Part of a UDP datagram; `offset` in bytes.
Bytes fragment(unsigned id, std::size_t offset, const std::string& data, bool more) {
  Bytes out(34 + data.size());
  put16(out, 12, 0x0800);
  out[14] = std::byte{0x45};
  put16(out, 16, static_cast<unsigned>(20 + data.size()));
  put16(out, 18, id);
  put16(out, 20, static_cast<unsigned>(offset / 8) | (more ? 0x2000 : 0));
  out[22] = std::byte{64};
  out[23] = std::byte{17};
  put16(out, 26, 0x0a00);
  put16(out, 28, 0x020f);
  std::transform(data.begin(), data.end(), out.begin() + 34, [](char c) { return std::byte(c); });
  set_checksum(out);
  return out;
}

std::string payload(const Bytes& frame) {
  std::string out;
  for (std::size_t i = 34; i < frame.size(); i++) out += static_cast<char>(frame[i]);
  return out;
}

const std::string a(8, 'a'), b(16, 'b'), c(3, 'c');

// Big datagrams (ping -s 2000, DNS, NFS) would not arrive.
TEST(Ipv4Reassembly, PutsFragmentsTogetherInAnyOrder) {
  const std::vector<Bytes> parts = {fragment(1, 0, a, true), fragment(1, 8, b, true), fragment(1, 24, c, false)};
  std::vector<int> order = {0, 1, 2};
  do {
    Ipv4Reassembly reassembly;
    EXPECT_TRUE(reassembly.add(parts[order[0]], 0).empty());
    EXPECT_TRUE(reassembly.add(parts[order[1]], 0).empty());
    const auto whole = reassembly.add(parts[order[2]], 0);
    auto expected = fragment(1, 0, a + b + c, false);
    EXPECT_EQ(whole, expected);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Ipv4Reassembly, KeepsDatagramsApart) {
  Ipv4Reassembly reassembly;
  EXPECT_TRUE(reassembly.add(fragment(1, 0, a, true), 0).empty());
  EXPECT_TRUE(reassembly.add(fragment(2, 0, b, true), 0).empty());
  EXPECT_TRUE(reassembly.add(fragment(1, 0, a, true), 0).empty()) << "a copy changes nothing";
  EXPECT_EQ(payload(reassembly.add(fragment(2, 16, c, false), 0)), b + c);
  EXPECT_EQ(payload(reassembly.add(fragment(1, 8, c, false), 0)), a + c);
}

TEST(Ipv4Reassembly, ForgetsWhatIsTooOldOrTooMuch) {
  Ipv4Reassembly reassembly;
  reassembly.add(fragment(1, 0, a, true), 0);
  EXPECT_TRUE(reassembly.add(fragment(1, 8, c, false), Ipv4Reassembly::lifetime_ns).empty());
  Ipv4Reassembly full;
  for (unsigned id = 0; id <= Ipv4Reassembly::max_datagrams; id++) full.add(fragment(id, 0, a, true), 0);
  EXPECT_TRUE(full.add(fragment(0, 8, c, false), 0).empty()) << "the oldest made room";
  EXPECT_FALSE(full.add(fragment(Ipv4Reassembly::max_datagrams, 8, c, false), 0).empty());
}

// libslirp or our own buffers would be overrun by a hostile guest.
TEST(Ipv4Reassembly, DropsWhatIsMalformed) {
  const auto drops = [](const Bytes& bad) {
    Ipv4Reassembly reassembly;
    reassembly.add(fragment(1, 0, a, true), 0);
    return reassembly.add(bad, 0).empty();
  };
  ASSERT_FALSE(drops(fragment(1, 8, c, false)));
  auto wrong_sum = fragment(1, 8, c, false);
  wrong_sum[24] ^= std::byte{1};
  EXPECT_TRUE(drops(wrong_sum));
  auto cut = fragment(1, 8, c, false);
  cut.resize(34);
  EXPECT_TRUE(drops(cut));
  auto long_header = fragment(1, 8, c, false);
  long_header[14] = std::byte{0x4f};
  EXPECT_TRUE(drops(long_header));
  EXPECT_TRUE(drops(fragment(1, 8, "", false))) << "empty";
  EXPECT_TRUE(drops(fragment(1, 8, c, true))) << "a part that is no multiple of 8";
  EXPECT_TRUE(drops(fragment(1, 65528, b, false))) << "longer than a datagram can be";
}

TEST(Ipv4Reassembly, ContradictoryLengthsDropTheDatagram) {
  Ipv4Reassembly reassembly;
  reassembly.add(fragment(1, 8, c, false), 0);
  EXPECT_TRUE(reassembly.add(fragment(1, 16, c, false), 0).empty());
  EXPECT_TRUE(reassembly.add(fragment(1, 0, a, true), 0).empty());
  reassembly.add(fragment(2, 16, b, true), 0);
  EXPECT_TRUE(reassembly.add(fragment(2, 8, c, false), 0).empty());
  EXPECT_TRUE(reassembly.add(fragment(2, 0, a, true), 0).empty());
}

TEST(Ipv4Reassembly, OnlyFragmentsAreFragments) {
  EXPECT_TRUE(Ipv4Reassembly::is_fragment(fragment(1, 0, a, true)));
  EXPECT_TRUE(Ipv4Reassembly::is_fragment(fragment(1, 8, a, false)));
  EXPECT_FALSE(Ipv4Reassembly::is_fragment(fragment(1, 0, a, false)));
  auto do_not_fragment = fragment(1, 0, a, false);
  do_not_fragment[20] = std::byte{0x40};
  EXPECT_FALSE(Ipv4Reassembly::is_fragment(do_not_fragment));
  EXPECT_FALSE(Ipv4Reassembly::is_fragment(Bytes(33)));
  EXPECT_FALSE(Ipv4Reassembly::is_fragment({}));
}

}  // namespace
}  // namespace doppel
