#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <vector>

namespace doppel {

/// Puts the IPv4 fragments that a guest sends together again (RFC 791 3.2). libslirp could, but 4.7 crashes on one that
/// is empty, and this code has had most of its holes. At most max_datagrams incomplete datagrams wait, each for
/// lifetime_ns.
class Ipv4Reassembly {
 public:
  static constexpr std::size_t max_datagrams = 16;
  static constexpr std::int64_t lifetime_ns = 30'000'000'000;

  /// Whether an Ethernet frame carries a part of an IPv4 datagram, well formed or not.
  static bool is_fragment(std::span<const std::byte> frame);

  /// Takes a fragment and returns the frame of the whole datagram when it was the last one missing; empty otherwise.
  /// What is malformed is dropped, and where fragments overlap the first one counts.
  std::vector<std::byte> add(std::span<const std::byte> frame, std::int64_t now_ns);

 private:
  struct Fragment;
  struct Datagram {
    std::vector<std::byte> key;     ///< protocol, identification and addresses
    std::vector<std::byte> header;  ///< Ethernet and IP headers of the first fragment
    std::vector<std::byte> payload;
    std::vector<bool> present;  ///< the payload's units of eight bytes
    std::size_t missing = 0;    ///< units of `present` that are not there
    bool length_known = false;
    std::int64_t deadline_ns = 0;
  };

  Datagram& find(const Fragment& fragment, std::int64_t now_ns);
  static bool merge(Datagram& datagram, const Fragment& fragment);
  static std::vector<std::byte> whole(Datagram& datagram);

  std::list<Datagram> datagrams_;  ///< the oldest first
};

}  // namespace doppel
