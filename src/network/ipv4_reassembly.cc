#include "network/ipv4_reassembly.h"

#include <algorithm>

#include "network/packet.h"

namespace doppel {
namespace {

constexpr std::size_t ethernet_header = ethernet_header_bytes, min_header = 20, max_datagram = 65535, unit = 8;
constexpr unsigned more_fragments = 0x2000, offset_mask = 0x1fff;

}  // namespace

/// A fragment that was checked, as views into its frame.
struct Ipv4Reassembly::Fragment {
  std::span<const std::byte> headers, payload;
  std::size_t offset = 0;
  bool last = false;

  /// False for what is no proper fragment.
  bool parse(std::span<const std::byte> frame) {
    const auto ip = frame.subspan(ethernet_header);
    const std::size_t header = (std::to_integer<std::size_t>(ip[0]) & 15) * 4, length = get16(ip, 2);
    if (std::to_integer<unsigned>(ip[0]) >> 4 != 4 || header < min_header || header > length || length > ip.size())
      return false;
    if (internet_checksum(ip.first(header)) != 0) return false;
    headers = frame.first(ethernet_header + header);
    payload = ip.subspan(header, length - header);
    offset = (get16(ip, 6) & offset_mask) * unit;
    last = !(get16(ip, 6) & more_fragments);
    // 60 is the longest header: the whole has to be a datagram whichever fragment's header it gets.
    const bool fits = offset + payload.size() + 60 <= max_datagram;
    return fits && !payload.empty() && (last || payload.size() % unit == 0);
  }

  std::vector<std::byte> key() const {
    const auto ip = headers.subspan(ethernet_header);
    std::vector<std::byte> out = {ip[9], ip[4], ip[5]};
    out.insert(out.end(), ip.begin() + 12, ip.begin() + 20);
    return out;
  }
};

bool Ipv4Reassembly::is_fragment(std::span<const std::byte> frame) {
  if (frame.size() < ethernet_header + min_header || get16(frame, 12) != ethertype_ipv4) return false;
  return get16(frame, ethernet_header + 6) & (more_fragments | offset_mask);
}

Ipv4Reassembly::Datagram& Ipv4Reassembly::find(const Fragment& fragment, std::int64_t now_ns) {
  datagrams_.remove_if([&](const Datagram& datagram) { return datagram.deadline_ns <= now_ns; });
  const auto key = fragment.key();
  for (auto& datagram : datagrams_)
    if (datagram.key == key) return datagram;
  if (datagrams_.size() == max_datagrams) datagrams_.pop_front();
  auto& datagram = datagrams_.emplace_back();
  datagram.key = key;
  datagram.deadline_ns = now_ns + lifetime_ns;
  return datagram;
}

/// False when the fragment contradicts what is known of the datagram's length.
bool Ipv4Reassembly::merge(Datagram& datagram, const Fragment& fragment) {
  const auto end = fragment.offset + fragment.payload.size();
  if (datagram.length_known ? end > datagram.payload.size() : fragment.last && end < datagram.payload.size())
    return false;
  if (datagram.length_known && fragment.last && end != datagram.payload.size()) return false;
  if (end > datagram.payload.size()) {
    datagram.payload.resize(end);
    const auto units = (end + unit - 1) / unit;
    datagram.missing += units - datagram.present.size();
    datagram.present.resize(units, false);
  }
  datagram.length_known = datagram.length_known || fragment.last;
  if (fragment.offset == 0 && datagram.header.empty())
    datagram.header.assign(fragment.headers.begin(), fragment.headers.end());
  for (std::size_t at = fragment.offset; at < end; at += unit) {
    if (datagram.present[at / unit]) continue;
    datagram.present[at / unit] = true;
    datagram.missing--;
    const auto part = fragment.payload.subspan(at - fragment.offset, std::min(unit, end - at));
    std::copy(part.begin(), part.end(), datagram.payload.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return true;
}

std::vector<std::byte> Ipv4Reassembly::whole(Datagram& datagram) {
  auto frame = std::move(datagram.header);
  const auto header = frame.size() - ethernet_header;
  const auto ip = std::span(frame).subspan(ethernet_header);
  put16(ip, 2, static_cast<unsigned>(header + datagram.payload.size()));
  put16(ip, 6, 0);
  put16(ip, 10, 0);
  put16(ip, 10, internet_checksum(ip));
  frame.insert(frame.end(), datagram.payload.begin(), datagram.payload.end());
  return frame;
}

std::vector<std::byte> Ipv4Reassembly::add(std::span<const std::byte> frame, std::int64_t now_ns) {
  Fragment fragment;
  if (!is_fragment(frame) || !fragment.parse(frame)) return {};
  auto& datagram = find(fragment, now_ns);
  const bool good = merge(datagram, fragment);
  if (good && (!datagram.length_known || datagram.missing)) return {};
  std::vector<std::byte> done;
  if (good) done = whole(datagram);
  datagrams_.remove_if([&](const Datagram& other) { return &other == &datagram; });
  return done;
}

}  // namespace doppel
