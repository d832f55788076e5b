// The computer at the other end of --net peer: what it answers must be what a guest's own stack accepts.
#include "network/echo_peer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "network/packet.h"
#include "network/tcp_segment.h"

namespace doppel {
namespace {

using Frame = std::vector<std::byte>;
constexpr std::size_t ip_at = 14, payload_at = 34;
constexpr MacAddress guest_mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
constexpr std::uint32_t guest = EchoPeer::guest_address, peer = EchoPeer::address;

Frame ethernet(unsigned type, std::size_t size) {
  Frame out(ip_at + size);
  std::ranges::transform(EchoPeer::mac, out.begin(), [](auto b) { return std::byte{b}; });
  std::ranges::transform(guest_mac, out.begin() + 6, [](auto b) { return std::byte{b}; });
  put16(out, 12, type);
  return out;
}

Frame ipv4(unsigned protocol, const std::string& payload, std::uint32_t from = guest, std::uint32_t to = peer) {
  auto out = ethernet(ethertype_ipv4, 20 + payload.size());
  const auto ip = std::span(out).subspan(ip_at);
  ip[0] = std::byte{0x45};
  put16(ip, 2, unsigned(ip.size()));
  ip[8] = std::byte{64}, ip[9] = std::byte(protocol);
  put32(ip, 12, from), put32(ip, 16, to);
  put16(ip, 10, internet_checksum(ip.first(20)));
  std::ranges::copy(std::as_bytes(std::span(payload)), ip.begin() + 20);
  return out;
}

std::string udp(unsigned from, unsigned to, const std::string& data) {
  std::string out(8, 0);
  const auto bytes = std::as_writable_bytes(std::span(out));
  put16(bytes, 0, from), put16(bytes, 2, to), put16(bytes, 4, unsigned(8 + data.size()));
  return out + data;
}

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void expect_to_guest(const Frame& frame) {
  EXPECT_TRUE(std::ranges::equal(std::span(frame).first(6), std::as_bytes(std::span(guest_mac))));
  EXPECT_TRUE(std::ranges::equal(std::span(frame).subspan(6, 6), std::as_bytes(std::span(EchoPeer::mac))));
}

/// An IPv4 answer from the peer with right checksums; its payload.
std::span<const std::byte> payload_of(const Frame& frame, std::uint32_t to = guest) {
  if (frame.size() < payload_at) return {};
  const auto ip = std::span(frame).subspan(ip_at);
  EXPECT_EQ(internet_checksum(ip.first(20)), 0u);
  EXPECT_EQ(get16(ip, 2), ip.size());
  EXPECT_EQ(get32(ip, 12), peer);
  EXPECT_EQ(get32(ip, 16), to);
  const auto payload = ip.subspan(20);
  const auto protocol = std::to_integer<unsigned>(ip[9]);
  const auto pseudo = add_words(ip.subspan(12, 8), protocol + std::uint32_t(payload.size()));
  EXPECT_EQ(internet_checksum(payload, protocol == protocol_icmp ? 0 : pseudo), 0u);
  return payload;
}

TEST(EchoPeer, AnswersArpForItsOwnAddressOnly) {
  auto request = ethernet(ethertype_arp, 28);
  const auto arp = std::span(request).subspan(ip_at);
  put32(arp, 0, 0x00010800), put32(arp, 4, 0x06040001);
  std::copy_n(request.begin() + 6, 6, arp.begin() + 8);
  put32(arp, 14, guest), put32(arp, 24, peer);
  const auto answer = EchoPeer::answer(request);
  ASSERT_EQ(answer.size(), ip_at + 28);
  expect_to_guest(answer);
  const auto reply = std::span(answer).subspan(ip_at);
  EXPECT_EQ(get16(reply, 6), 2u);
  EXPECT_EQ(get32(reply, 14), peer);
  EXPECT_EQ(get32(reply, 24), guest);
  put32(arp, 24, peer + 1);
  EXPECT_TRUE(EchoPeer::answer(request).empty());
}

TEST(EchoPeer, AnswersEchoRequests) {
  std::string ping = {8, 0, 0, 0, 1, 2, 0, 3, 'h', 'e', 'l', 'l', 'o'};
  const auto bytes = std::as_writable_bytes(std::span(ping));
  EXPECT_TRUE(EchoPeer::answer(ipv4(protocol_icmp, ping)).empty()) << "a wrong checksum";
  put16(bytes, 2, internet_checksum(bytes));
  const auto answer = EchoPeer::answer(ipv4(protocol_icmp, ping));
  expect_to_guest(answer);
  const auto reply = payload_of(answer);
  ASSERT_EQ(reply.size(), ping.size());
  EXPECT_EQ(reply[0], std::byte{0});
  EXPECT_EQ(text(reply.subspan(4)), ping.substr(4));
}

TEST(EchoPeer, SendsDatagramsForTheEchoPortBack) {
  const auto answer = EchoPeer::answer(ipv4(protocol_udp, udp(5000, 7, "hello")));
  expect_to_guest(answer);
  const auto reply = payload_of(answer);
  ASSERT_EQ(reply.size(), 13u);
  EXPECT_EQ(get16(reply, 0), 7u);
  EXPECT_EQ(get16(reply, 2), 5000u);
  EXPECT_EQ(text(reply.subspan(8)), "hello");
  EXPECT_TRUE(EchoPeer::answer(ipv4(protocol_udp, udp(5000, 8, "hello"))).empty());
  EXPECT_TRUE(EchoPeer::answer(ipv4(protocol_udp, udp(5000, 7, "hello"), guest, peer + 1)).empty());
}

std::string dhcp(unsigned type, std::uint32_t wanted) {
  std::string out(240, 0);
  out[0] = 1, out[1] = 1, out[2] = 6;
  const auto bytes = std::as_writable_bytes(std::span(out));
  put32(bytes, 4, 0x12345678), put32(bytes, 236, 0x63825363);
  out += {53, 1, char(type), 50, 4};
  for (const int shift : {24, 16, 8, 0}) out.push_back(char(wanted >> shift));
  return out + char(255);
}

/// The type of its answer, or 0.
unsigned dhcp_answer(const std::string& message) {
  const auto answer = EchoPeer::answer(ipv4(protocol_udp, udp(68, 67, message), 0, 0xffffffff));
  const auto reply = payload_of(answer, 0xffffffff);
  if (reply.size() < 8 + 243) return 0;
  EXPECT_EQ(get32(reply, 8 + 4), 0x12345678u);
  EXPECT_EQ(get16(reply, 8 + 240), 53u << 8 | 1u);
  const auto type = std::to_integer<unsigned>(reply[8 + 242]);
  EXPECT_EQ(get32(reply, 8 + 16), type == 6 ? 0 : guest);
  return type;
}

TEST(EchoPeer, GivesTheGuestItsAddress) {
  EXPECT_EQ(dhcp_answer(dhcp(1, 0)), 2u);
  EXPECT_EQ(dhcp_answer(dhcp(3, guest)), 5u);
  EXPECT_EQ(dhcp_answer(dhcp(3, guest + 1)), 6u);  // a lease of another network
  EXPECT_EQ(dhcp_answer(dhcp(7, guest)), 0u);
}

TcpSegment segment(std::uint8_t flags, std::uint32_t sequence, std::span<const std::byte> payload = {}) {
  TcpSegment s;
  s.from_mac = guest_mac, s.to_mac = EchoPeer::mac, s.payload = payload;
  s.from.bytes = {10, 0, 2, 15}, s.to.bytes = {10, 0, 2, 2};
  s.from_port = 4000, s.to_port = 7;
  s.sequence = sequence, s.acknowledged = sequence, s.flags = flags;
  return s;
}

TEST(EchoPeer, SendsTcpSegmentsBackAsTheyCame) {
  using T = TcpSegment;
  TcpSegment reply;
  auto answer = EchoPeer::answer(tcp_frame(segment(T::syn, 500)));
  ASSERT_TRUE(parse_tcp_segment(answer, reply));
  payload_of(answer);
  EXPECT_EQ(reply.flags, T::syn | T::ack);
  EXPECT_EQ(reply.acknowledged, 501u);
  EXPECT_EQ(reply.sequence, 500u);
  EXPECT_TRUE(EchoPeer::answer(tcp_frame(segment(T::ack, 501))).empty());
  const std::string data = "hello";
  answer = EchoPeer::answer(tcp_frame(segment(T::ack | T::psh, 501, std::as_bytes(std::span(data)))));
  ASSERT_TRUE(parse_tcp_segment(answer, reply));
  payload_of(answer);
  EXPECT_EQ(reply.sequence, 501u);
  EXPECT_EQ(reply.acknowledged, 506u);
  EXPECT_EQ(text(reply.payload), data);
  answer = EchoPeer::answer(tcp_frame(segment(T::ack | T::fin, 506)));
  ASSERT_TRUE(parse_tcp_segment(answer, reply));
  EXPECT_EQ(reply.flags, T::fin | T::ack);
  EXPECT_EQ(reply.acknowledged, 507u);
}

TEST(EchoPeer, RefusesConnectionsToOtherPorts) {
  auto other = segment(TcpSegment::syn, 500);
  other.to_port = 80;
  const auto answer = EchoPeer::answer(tcp_frame(other));
  TcpSegment reply;
  ASSERT_TRUE(parse_tcp_segment(answer, reply));
  EXPECT_EQ(reply.flags, TcpSegment::rst | TcpSegment::ack);
  EXPECT_EQ(reply.acknowledged, 501u);
  EXPECT_TRUE(EchoPeer::answer(tcp_frame(segment(TcpSegment::rst, 500))).empty());
}

}  // namespace
}  // namespace doppel
