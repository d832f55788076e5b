#pragma once
// Which TCP connections a guest has, as far as the frames that pass by tell.
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/archive.h"
#include "base/result.h"
#include "network/tcp_segment.h"

namespace doppel {

/// What it takes to end a guest's connections when their other ends are gone: a copy of the machine has the connections
/// in its memory, but nobody answers them any more. At most `most` are known; the one that was quiet for longest is
/// forgotten then.
class TcpConnections {
 public:
  static constexpr std::size_t most = 1024;

  TcpConnections() = default;
  TcpConnections(const TcpConnections&) = delete;

  /// The guest sent a frame, of whatever content.
  void sent(std::span<const std::byte> frame);
  /// The guest has got a frame.
  void received(std::span<const std::byte> frame);

  /// Frames that end all of them at once. A system accepts the reset of a connection only with exactly the number that
  /// it expects next (RFC 5961 3.2). What it acknowledged may be less than what it has got since, and what it was given
  /// more than what it took: where the two differ there is a frame for each. The connections are known until the frames
  /// are passed to received(), or the guest ends them.
  std::vector<std::vector<std::byte>> resets() const;

  std::size_t size() const { return connections_.size(); }
  void save(Writer& out) const;
  /// Reads hostile bytes; after an error none is known.
  Result<void> restore(Reader& in);

 private:
  struct Key {
    IpAddress guest, peer;
    std::uint16_t guest_port = 0, peer_port = 0;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Connection {
    Key key;
    MacAddress guest_mac{}, peer_mac{};
    std::uint32_t acknowledged = 0, delivered = 0;  // the number that the guest expects next is between them
    bool guest_closed = false, peer_closed = false;
  };
  using Place = std::list<Connection>::iterator;

  Connection* find(const Key& key);
  Connection& find_or_make(const Key& key, std::uint32_t expected);
  void make_recent(Place place);
  Place forget(Place place);
  void forget(const Key& key);
  static TcpSegment reset_of(const Connection& connection, std::uint32_t sequence);
  bool restore_one(Reader& in);

  std::list<Connection> connections_;  // the one that had a frame last is the last
  std::unordered_map<Key, Place, KeyHash> index_;
};

}  // namespace doppel
