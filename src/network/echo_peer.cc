#include "network/echo_peer.h"

#include <algorithm>
#include <cstring>

#include "network/packet.h"
#include "network/tcp_segment.h"

namespace doppel {
namespace {

using Frame = std::vector<std::byte>;
using Bytes = std::span<const std::byte>;

constexpr std::size_t arp_bytes = 28, ipv4_header = 20, icmp_header = 8, udp_header = 8;
constexpr std::size_t ip_at = ethernet_header_bytes, payload_at = ip_at + ipv4_header;
constexpr std::uint32_t broadcast = 0xffffffff;
constexpr unsigned dhcp_server_port = 67, dhcp_client_port = 68;

/// An Ethernet frame back to where this one came from, filled with zeros.
Frame reply_to(Bytes frame, std::size_t size) {
  Frame out(size);
  std::copy_n(frame.begin() + 6, 6, out.begin());
  std::memcpy(out.data() + 6, EchoPeer::mac.data(), 6);
  std::copy_n(frame.begin() + 12, 2, out.begin() + 12);
  return out;
}

/// RFC 826.
Frame answer_arp(Bytes frame) {
  const auto arp = frame.subspan(ip_at);
  constexpr std::uint32_t ethernet_ipv4 = 0x00010800, lengths_request = 0x06040001;
  if (arp.size() < arp_bytes || get32(arp, 0) != ethernet_ipv4 || get32(arp, 4) != lengths_request) return {};
  if (get32(arp, 24) != EchoPeer::address) return {};
  auto out = reply_to(frame, ip_at + arp_bytes);
  const auto reply = std::span(out).subspan(ip_at);
  put32(reply, 0, ethernet_ipv4);
  put32(reply, 4, lengths_request + 1);
  std::memcpy(reply.data() + 8, EchoPeer::mac.data(), 6);
  put32(reply, 14, EchoPeer::address);
  std::copy_n(arp.begin() + 8, 10, reply.begin() + 18);
  return out;
}

/// Makes the header of a packet from the peer; the rest of the frame is its payload.
void fill_ipv4(Frame& frame, unsigned protocol, std::uint32_t to) {
  const auto ip = std::span(frame).subspan(ip_at);
  ip[0] = std::byte{0x45};
  put16(ip, 2, unsigned(ip.size()));
  put16(ip, 6, 0x4000);  // not to be fragmented: identification 0 says nothing (RFC 6864)
  ip[8] = std::byte{64}, ip[9] = std::byte(protocol);
  put32(ip, 12, EchoPeer::address);
  put32(ip, 16, to);
  put16(ip, 10, internet_checksum(ip.first(ipv4_header)));
}

void fill_udp(Frame& frame, unsigned from, unsigned to) {
  const auto ip = std::span(frame).subspan(ip_at);
  const auto udp = ip.subspan(ipv4_header);
  put16(udp, 0, from);
  put16(udp, 2, to);
  put16(udp, 4, unsigned(udp.size()));
  const auto sum = internet_checksum(udp, add_words(ip.subspan(12, 8), protocol_udp + std::uint32_t(udp.size())));
  put16(udp, 6, sum == 0 ? 0xffff : sum);  // 0 is "none" (RFC 768)
}

Frame answer_icmp(Bytes frame, Bytes icmp, std::uint32_t from) {
  constexpr unsigned echo_request = 0x0800;
  if (icmp.size() < icmp_header || get16(icmp, 0) != echo_request || internet_checksum(icmp) != 0) return {};
  auto out = reply_to(frame, payload_at + icmp.size());
  fill_ipv4(out, protocol_icmp, from);
  const auto reply = std::span(out).subspan(payload_at);
  std::ranges::copy(icmp.subspan(4), reply.begin() + 4);
  put16(reply, 2, internet_checksum(reply));
  return out;
}

/// What matters of a DHCP message (RFC 2131).
struct DhcpRequest {
  unsigned type = 0;
  std::uint32_t wanted = EchoPeer::guest_address;  // the address that it asks for
};

DhcpRequest parse_dhcp_options(Bytes dhcp, Bytes options) {
  constexpr unsigned pad = 0, requested_address = 50, message_type = 53, end = 255;
  DhcpRequest request;
  if (const auto own = get32(dhcp, 12); own != 0) request.wanted = own;
  for (std::size_t at = 0; at + 1 < options.size();) {
    const auto code = std::to_integer<unsigned>(options[at]);
    if (code == end) break;
    if (code == pad) {
      at++;
      continue;
    }
    const auto length = std::to_integer<std::size_t>(options[at + 1]);
    if (at + 2 + length > options.size()) break;
    const auto value = options.subspan(at + 2, length);
    if (code == message_type && length == 1) request.type = std::to_integer<unsigned>(value[0]);
    if (code == requested_address && length == 4) request.wanted = get32(value, 0);
    at += 2 + length;
  }
  return request;
}

void put_option(Frame& out, unsigned code, std::uint32_t value) {
  out.insert(out.end(), {std::byte(code), std::byte{4}});
  out.resize(out.size() + 4);
  put32(std::span(out).last(4), 0, value);
}

Frame answer_dhcp(Bytes frame, Bytes dhcp) {
  constexpr std::size_t fixed = 236, options_at = fixed + 4;
  constexpr std::uint32_t magic = 0x63825363, day = 86'400;
  constexpr unsigned discover = 1, offer = 2, request_type = 3, acknowledge = 5, refuse = 6;
  if (dhcp.size() < options_at || dhcp[0] != std::byte{1} || get32(dhcp, fixed) != magic) return {};
  const auto request = parse_dhcp_options(dhcp, dhcp.subspan(options_at));
  if (request.type != discover && request.type != request_type) return {};
  const auto type = request.type == discover ? offer : request.wanted == EchoPeer::guest_address ? acknowledge : refuse;
  auto out = reply_to(frame, payload_at + udp_header + options_at);
  const auto reply = std::span(out).subspan(payload_at + udp_header);
  std::copy_n(dhcp.begin(), 8, reply.begin());            // with the transaction's number
  std::copy_n(dhcp.begin() + 10, 2, reply.begin() + 10);  // whether it can hear what is not broadcast
  std::copy_n(dhcp.begin() + 28, 16, reply.begin() + 28);
  reply[0] = std::byte{2};
  if (type != refuse) put32(reply, 16, EchoPeer::guest_address);
  put32(reply, 20, EchoPeer::address);
  put32(reply, fixed, magic);
  out.insert(out.end(), {std::byte{53}, std::byte{1}, std::byte(type)});
  put_option(out, 54, EchoPeer::address);
  if (type != refuse) {
    put_option(out, 1, EchoPeer::netmask);
    put_option(out, 3, EchoPeer::address);
    put_option(out, 51, day);
  }
  out.push_back(std::byte{255});
  std::ranges::fill(std::span(out).first(6), std::byte{0xff});
  fill_ipv4(out, protocol_udp, broadcast);
  fill_udp(out, dhcp_server_port, dhcp_client_port);
  return out;
}

Frame answer_udp(Bytes frame, Bytes udp, std::uint32_t from, std::uint32_t to) {
  if (udp.size() < udp_header) return {};
  const std::size_t length = get16(udp, 4);
  if (length < udp_header || length > udp.size()) return {};
  udp = udp.first(length);
  const auto port = get16(udp, 2);
  if (port == dhcp_server_port && get16(udp, 0) == dhcp_client_port) return answer_dhcp(frame, udp.subspan(udp_header));
  if (port != EchoPeer::echo_port || to != EchoPeer::address) return {};
  auto out = reply_to(frame, payload_at + udp.size());
  std::ranges::copy(udp.subspan(udp_header), out.begin() + payload_at + udp_header);
  fill_ipv4(out, protocol_udp, from);
  fill_udp(out, port, get16(udp, 0));
  return out;
}

/// TCP whose two directions have the same sequence numbers: each segment goes back as it came. What the guest did not
/// take it sends again, since the answer is also what acknowledges it; so nothing needs to be remembered here.
Frame answer_tcp(const TcpSegment& segment) {
  constexpr std::uint16_t window = 16'384;  // what is on its way must fit between here and the guest
  auto reply = segment;
  reply.from_mac = EchoPeer::mac, reply.to_mac = segment.from_mac;
  std::swap(reply.from, reply.to);
  std::swap(reply.from_port, reply.to_port);
  reply.acknowledged = segment.sequence + segment.length();
  reply.window = window;
  if (segment.is(TcpSegment::rst)) return {};
  if (segment.to_port != EchoPeer::echo_port) {
    reply.flags = TcpSegment::rst | TcpSegment::ack;
    reply.sequence = segment.is(TcpSegment::ack) ? segment.acknowledged : 0;
    reply.payload = {};
    return tcp_frame(reply);
  }
  if (segment.length() == 0) return {};
  reply.flags = TcpSegment::ack | (segment.flags & (TcpSegment::syn | TcpSegment::fin | TcpSegment::psh));
  return tcp_frame(reply);
}

Frame answer_ipv4(Bytes frame) {
  const auto ip = frame.subspan(ip_at);
  if (ip.size() < ipv4_header || std::to_integer<unsigned>(ip[0]) != 0x45) return {};
  const std::size_t total = get16(ip, 2);
  const bool fragment = get16(ip, 6) & 0x3fff;
  if (total < ipv4_header || total > ip.size() || fragment || internet_checksum(ip.first(ipv4_header)) != 0) return {};
  const auto payload = ip.subspan(ipv4_header, total - ipv4_header);
  const auto from = get32(ip, 12), to = get32(ip, 16);
  const auto protocol = std::to_integer<unsigned>(ip[9]);
  if (protocol == protocol_udp) return answer_udp(frame, payload, from, to);
  if (to != EchoPeer::address) return {};
  if (protocol == protocol_icmp) return answer_icmp(frame, payload, from);
  TcpSegment segment;
  return parse_tcp_segment(frame, segment) ? answer_tcp(segment) : Frame();
}

}  // namespace

std::vector<std::byte> EchoPeer::answer(std::span<const std::byte> frame) {
  if (frame.size() < ethernet_header_bytes) return {};
  const auto type = get16(frame, 12);
  return type == ethertype_arp ? answer_arp(frame) : type == ethertype_ipv4 ? answer_ipv4(frame) : Frame();
}

}  // namespace doppel
