// What a copy needs to end its connections: wrong numbers, and its programs would wait for ever.
#include "network/tcp_connections.h"

#include <gtest/gtest.h>

#include <random>

#include "network/packet.h"

namespace doppel {
namespace {

using Frame = std::vector<std::byte>;
constexpr std::uint8_t fin = TcpSegment::fin, syn = TcpSegment::syn, rst = TcpSegment::rst, ack = TcpSegment::ack;

const std::vector<std::byte> payload(100, std::byte{'x'});

class Connections : public testing::TestWithParam<bool> {
 protected:
  TcpSegment base(std::uint16_t guest_port) const {
    TcpSegment s;
    s.from_mac = {2, 0, 0, 0, 0, 1}, s.to_mac = {2, 0, 0, 0, 0, 2};
    s.from.ipv6 = s.to.ipv6 = GetParam();
    s.from.bytes = {10, 0, 2, 15}, s.to.bytes = {10, 0, 2, 2};
    if (GetParam()) s.from.bytes[15] = 15, s.to.bytes[15] = 2;
    s.from_port = guest_port, s.to_port = 80;
    return s;
  }
  void guest(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledged, std::size_t bytes = 0,
             std::uint16_t port = 4000) {
    auto s = base(port);
    s.flags = flags, s.sequence = sequence, s.acknowledged = acknowledged;
    s.payload = std::span(payload).first(bytes);
    known.sent(tcp_frame(s));
  }
  void peer(std::uint8_t flags, std::uint32_t sequence, std::uint32_t acknowledged, std::size_t bytes = 0) {
    auto s = base(4000);
    std::swap(s.from, s.to), std::swap(s.from_port, s.to_port), std::swap(s.from_mac, s.to_mac);
    s.flags = flags, s.sequence = sequence, s.acknowledged = acknowledged;
    s.payload = std::span(payload).first(bytes);
    known.received(tcp_frame(s));
  }
  void connect(std::uint32_t peer_first = 1000) {
    guest(syn, 500, 0);
    peer(syn | ack, peer_first, 501);
    guest(ack, 501, peer_first + 1);
  }
  std::vector<std::uint32_t> resets() const {
    std::vector<std::uint32_t> numbers;
    for (const auto& frame : known.resets()) {
      TcpSegment s;
      EXPECT_TRUE(parse_tcp_segment(frame, s));
      EXPECT_EQ(s.flags, rst);
      EXPECT_EQ(s.from, base(0).to);
      EXPECT_EQ(s.to, base(0).from);
      EXPECT_EQ(s.from_mac, base(0).to_mac);
      EXPECT_EQ(s.to_mac, base(0).from_mac);
      EXPECT_EQ(s.from_port, 80);
      numbers.push_back(s.sequence);
    }
    return numbers;
  }
  using Numbers = std::vector<std::uint32_t>;
  TcpConnections known;
};

TEST_P(Connections, AreResetWhereTheGuestIs) {
  connect();
  EXPECT_EQ(resets(), Numbers{1001});
  guest(ack, 501, 1001, 50);
  EXPECT_EQ(resets(), Numbers{1001});
  peer(ack, 1001, 551, 30);
  // Linux has taken the data when the reset comes, but has not said so; or it had no room for it.
  EXPECT_EQ(resets(), (Numbers{1001, 1031}));
  guest(ack, 551, 1031);
  EXPECT_EQ(resets(), Numbers{1031});
}

TEST_P(Connections, OfAServerInTheGuestAreKnownToo) {
  peer(syn, 7000, 0);
  EXPECT_EQ(known.size(), 0u);  // the guest sends its answer again, to somebody who knows of nothing
  guest(syn | ack, 90, 7001);
  EXPECT_EQ(resets(), Numbers{7001});
}

TEST_P(Connections, ThatAreBeingMadeAskAgainThemselves) {
  guest(syn, 500, 0);
  EXPECT_EQ(known.size(), 0u);
  peer(syn | ack, 1000, 501);
  EXPECT_EQ(known.size(), 0u);
}

TEST_P(Connections, HaveNumbersThatWrapAround) {
  connect(0xffff'ffe0);
  peer(ack, 0xffff'ffe1, 501, 100);
  EXPECT_EQ(resets(), (Numbers{0xffff'ffe1, 0x45}));
  guest(ack, 501, 0x45);
  EXPECT_EQ(resets(), Numbers{0x45});
}

// What came twice, or before something that was lost, is nothing that the guest would have moved on by.
TEST_P(Connections, MoveOnInOrderOnly) {
  connect();
  peer(ack, 1050, 501, 10);
  EXPECT_EQ(resets(), Numbers{1001});
  peer(ack, 1001, 501, 60);
  EXPECT_EQ(resets(), (Numbers{1001, 1061}));
  peer(ack, 1001, 501, 20);
  EXPECT_EQ(resets(), (Numbers{1001, 1061}));
}

TEST_P(Connections, AreForgottenWhenTheyAreOver) {
  connect();
  guest(rst, 501, 0);
  EXPECT_EQ(known.size(), 0u);
  connect();
  peer(rst | ack, 1001, 501);
  EXPECT_EQ(known.size(), 0u);
  connect();
  guest(fin | ack, 501, 1001);
  EXPECT_EQ(known.size(), 1u);  // half closed: the peer may send for hours
  peer(fin | ack, 1001, 502);
  guest(ack, 502, 1002);
  EXPECT_EQ(known.size(), 0u);
  connect();
  peer(fin | ack, 1001, 501);
  guest(ack, 501, 1002);
  EXPECT_EQ(known.size(), 1u);
  guest(fin | ack, 501, 1002);
  EXPECT_EQ(known.size(), 0u);
}

TEST_P(Connections, OfTheSamePortsBeginAnew) {
  connect(1000);
  guest(syn, 9000, 0);
  EXPECT_EQ(known.size(), 0u);
  peer(syn | ack, 5, 9001);
  guest(ack, 9001, 6);
  EXPECT_EQ(resets(), Numbers{6});
}

// A guest could fill the host's memory with them.
TEST_P(Connections, AreBoundedAndTheQuietestIsForgotten) {
  for (unsigned port = 1; port <= TcpConnections::most; port++) guest(ack, 1, port, 0, std::uint16_t(port));
  guest(ack, 1, 1, 0, 1);  // the first has just been heard of
  guest(ack, 1, 99'999, 0, 50'000);
  EXPECT_EQ(known.size(), TcpConnections::most);
  const auto numbers = resets();
  EXPECT_EQ(numbers[numbers.size() - 2], 1u);
  EXPECT_EQ(numbers.back(), 99'999u);
  EXPECT_EQ(numbers.front(), 3u);
}

TEST_P(Connections, AreTheSameInACopyUntilItIsTold) {
  connect();
  peer(ack, 1001, 501, 30);
  guest(ack, 1, 17, 0, 4001);
  Writer out;
  known.save(out);
  TcpConnections copy;
  Reader in(out.data());
  ASSERT_TRUE(copy.restore(in));
  EXPECT_EQ(in.left(), 0u);
  EXPECT_EQ(copy.resets(), known.resets());
  Writer again;
  copy.save(again);
  EXPECT_EQ(again.data(), out.data());
  for (const auto& reset : known.resets()) copy.received(reset);
  EXPECT_EQ(copy.size(), 0u);
}

TEST_P(Connections, ThatAreDamagedAreAnErrorOrHarmless) {
  for (unsigned port = 1; port < 20; port++) guest(ack, 1, port, 0, std::uint16_t(port));
  Writer out;
  known.save(out);
  for (std::size_t length = 0; length < out.data().size(); length++) {
    Reader in(std::span(out.data()).first(length));
    EXPECT_FALSE(known.restore(in));
    EXPECT_EQ(known.size(), 0u);
  }
  std::mt19937 random(3);
  for (unsigned round = 0; round < 2000; round++) {
    auto bad = out.data();
    for (unsigned n = 1 + random() % 4; n > 0; n--) bad[random() % bad.size()] = std::byte(random());
    Reader in(bad);
    static_cast<void>(known.restore(in));
    EXPECT_LE(known.resets().size(), 2 * TcpConnections::most);
  }
}

TEST_P(Connections, AreNotInFramesThatAreCutShort) {
  auto s = base(4000);
  s.flags = ack, s.payload = payload;
  const auto frame = tcp_frame(s);
  for (std::size_t length = 0; length < frame.size(); length++) {
    known.sent(std::span(frame).first(length));
    EXPECT_EQ(known.size(), 0u) << length;
  }
  known.sent(frame);
  EXPECT_EQ(known.size(), 1u);
}

// Linux drops segments with a wrong checksum without a word.
TEST_P(Connections, HaveResetsWithRightChecksums) {
  connect();
  const auto frame = known.resets().at(0);
  const auto ip = std::span(frame).subspan(ethernet_header_bytes);
  const auto header = GetParam() ? 40u : 20u;
  const auto tcp = ip.subspan(header);
  const auto addresses = GetParam() ? ip.subspan(8, 32) : ip.subspan(12, 8);
  EXPECT_EQ(internet_checksum(tcp, add_words(addresses, protocol_tcp + std::uint32_t(tcp.size()))), 0u);
  if (!GetParam()) {
    EXPECT_EQ(internet_checksum(ip.first(header)), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Connections, testing::Bool(),
                         [](const auto& param) { return param.param ? "ipv6" : "ipv4"; });

}  // namespace
}  // namespace doppel
