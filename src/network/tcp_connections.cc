#include "network/tcp_connections.h"

#include <cstring>
#include <iterator>
#include <string_view>

namespace doppel {
namespace {

/// Whether one sequence number comes after another; they wrap around (RFC 9293 3.4).
bool is_after(std::uint32_t one, std::uint32_t other) { return std::int32_t(one - other) > 0; }

}  // namespace

std::size_t TcpConnections::KeyHash::operator()(const Key& key) const {
  const auto word = [](const IpAddress& address, std::size_t at) {
    std::uint64_t out;
    std::memcpy(&out, address.bytes.data() + at, 8);
    return out;
  };
  std::uint64_t hash = std::uint64_t{key.guest_port} << 16 | key.peer_port;
  for (const auto part : {word(key.guest, 0), word(key.guest, 8), word(key.peer, 0), word(key.peer, 8)}) {
    hash = (hash ^ part) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return hash;
}

void TcpConnections::make_recent(Place place) { connections_.splice(connections_.end(), connections_, place); }

TcpConnections::Connection* TcpConnections::find(const Key& key) {
  // Most frames are of the connection that had one last.
  if (!connections_.empty() && connections_.back().key == key) return &connections_.back();
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  make_recent(found->second);
  return &connections_.back();
}

TcpConnections::Connection& TcpConnections::find_or_make(const Key& key, std::uint32_t expected) {
  if (auto* known = find(key)) return *known;
  if (connections_.size() == most) forget(connections_.begin());
  auto& made = connections_.emplace_back();
  made.key = key;
  made.acknowledged = made.delivered = expected;
  index_.emplace(key, std::prev(connections_.end()));
  return made;
}

TcpConnections::Place TcpConnections::forget(Place place) {
  index_.erase(place->key);
  return connections_.erase(place);
}

void TcpConnections::forget(const Key& key) {
  if (const auto found = index_.find(key); found != index_.end()) forget(found->second);
}

void TcpConnections::sent(std::span<const std::byte> frame) {
  TcpSegment segment;
  if (!parse_tcp_segment(frame, segment)) return;
  const Key key{segment.from, segment.to, segment.from_port, segment.to_port};
  // A new one in the place of an old one. One that only the guest knows of ends, or begins, by itself: it asks again.
  if (segment.is(TcpSegment::syn)) forget(key);
  if (segment.is(TcpSegment::rst) || !segment.is(TcpSegment::ack)) return forget(key);
  auto& known = find_or_make(key, segment.acknowledged);
  known.guest_mac = segment.from_mac, known.peer_mac = segment.to_mac;
  known.acknowledged = segment.acknowledged;
  if (is_after(known.acknowledged, known.delivered)) known.delivered = known.acknowledged;
  known.guest_closed |= segment.is(TcpSegment::fin);
  if (known.guest_closed && known.peer_closed && known.acknowledged == known.delivered) forget(key);
}

void TcpConnections::received(std::span<const std::byte> frame) {
  TcpSegment segment;
  if (connections_.empty() || !parse_tcp_segment(frame, segment)) return;
  const Key key{segment.to, segment.from, segment.to_port, segment.from_port};
  if (segment.is(TcpSegment::rst)) return forget(key);
  auto* known = find(key);
  if (!known || is_after(segment.sequence, known->delivered)) return;
  const auto end = segment.sequence + segment.length();
  if (!is_after(end, known->delivered)) return;
  known->delivered = end;
  known->peer_closed |= segment.is(TcpSegment::fin);
}

TcpSegment TcpConnections::reset_of(const Connection& connection, std::uint32_t sequence) {
  return {.from_mac = connection.peer_mac,
          .to_mac = connection.guest_mac,
          .from = connection.key.peer,
          .to = connection.key.guest,
          .from_port = connection.key.peer_port,
          .to_port = connection.key.guest_port,
          .sequence = sequence,
          .flags = TcpSegment::rst,
          .payload = {}};
}

std::vector<std::vector<std::byte>> TcpConnections::resets() const {
  std::vector<std::vector<std::byte>> frames;
  for (const auto& connection : connections_) {
    frames.push_back(tcp_frame(reset_of(connection, connection.acknowledged)));
    if (connection.delivered != connection.acknowledged)
      frames.push_back(tcp_frame(reset_of(connection, connection.delivered)));
  }
  return frames;
}

void TcpConnections::save(Writer& out) const {
  out.put<std::uint32_t>(std::uint32_t(connections_.size()));
  for (const auto& c : connections_) {
    out.put<std::uint8_t>(c.key.guest.ipv6);
    for (const auto* address : {&c.key.guest, &c.key.peer}) out.put(address->bytes);
    out.put(c.key.guest_port), out.put(c.key.peer_port);
    out.put(c.guest_mac), out.put(c.peer_mac);
    out.put(c.acknowledged), out.put(c.delivered);
    out.put<std::uint8_t>(c.guest_closed), out.put<std::uint8_t>(c.peer_closed);
  }
}

bool TcpConnections::restore_one(Reader& in) {
  Key key;
  key.guest.ipv6 = key.peer.ipv6 = in.get<std::uint8_t>() != 0;
  for (auto* address : {&key.guest, &key.peer}) address->bytes = in.get<std::array<std::uint8_t, 16>>();
  key.guest_port = in.get<std::uint16_t>(), key.peer_port = in.get<std::uint16_t>();
  if (!in.ok() || index_.contains(key)) return false;
  auto& c = find_or_make(key, 0);
  c.guest_mac = in.get<MacAddress>(), c.peer_mac = in.get<MacAddress>();
  c.acknowledged = in.get<std::uint32_t>(), c.delivered = in.get<std::uint32_t>();
  c.guest_closed = in.get<std::uint8_t>() != 0, c.peer_closed = in.get<std::uint8_t>() != 0;
  return in.ok();
}

Result<void> TcpConnections::restore(Reader& in) {
  connections_.clear();
  index_.clear();
  const auto count = in.get<std::uint32_t>();
  bool sound = in.ok() && count <= most;
  for (std::uint32_t n = 0; sound && n < count; n++) sound = restore_one(in);
  if (sound) return {};
  connections_.clear();
  index_.clear();
  return error("the saved machine's TCP connections are damaged");
}

}  // namespace doppel
