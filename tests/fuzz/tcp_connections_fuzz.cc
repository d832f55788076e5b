// Frames of any content in both directions, and damaged records of what they made known; the peer that answers frames
// is in it too, since it reads them in the same way.
#include <fuzzer/FuzzedDataProvider.h>

#include "network/echo_peer.h"
#include "network/tcp_connections.h"

namespace doppel {
namespace {

/// A segment between few addresses and ports, so that connections are found again; and now and then one that is bent.
std::vector<std::byte> frame(FuzzedDataProvider& input) {
  if (input.ConsumeIntegralInRange(0, 3) == 0) {
    const auto raw = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 400));
    const auto bytes = std::as_bytes(std::span(raw));
    return {bytes.begin(), bytes.end()};
  }
  TcpSegment segment;
  segment.from.ipv6 = segment.to.ipv6 = input.ConsumeBool();
  segment.from.bytes = {10, 0, 2, 15}, segment.to.bytes = {10, 0, 2, 2};
  segment.from_port = input.ConsumeIntegralInRange<std::uint16_t>(0, 3);
  segment.to_port = input.ConsumeBool() ? 7 : 80;
  segment.flags = input.ConsumeIntegral<std::uint8_t>();
  segment.sequence = input.ConsumeIntegral<std::uint32_t>();
  segment.acknowledged = input.ConsumeIntegral<std::uint32_t>();
  const auto data = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 100));
  segment.payload = std::as_bytes(std::span(data));
  auto out = tcp_frame(segment);
  if (input.ConsumeIntegralInRange(0, 3) == 0)
    out[input.ConsumeIntegralInRange<std::size_t>(0, out.size() - 1)] =
        std::byte(input.ConsumeIntegral<std::uint8_t>());
  if (input.ConsumeIntegralInRange(0, 7) == 0) out.resize(input.ConsumeIntegralInRange<std::size_t>(0, out.size()));
  return out;
}

std::vector<std::byte> saved(const TcpConnections& known) {
  Writer out;
  known.save(out);
  return out.take();
}

void copy(FuzzedDataProvider& input, TcpConnections& known) {
  auto record = saved(known);
  const unsigned changes = input.ConsumeIntegralInRange(0u, 3u);
  for (unsigned n = 0; n < changes; n++)
    record[input.ConsumeIntegralInRange<std::size_t>(0, record.size() - 1)] =
        std::byte(input.ConsumeIntegral<std::uint8_t>());
  Reader in(record);
  const bool taken = known.restore(in).ok();
  if (changes == 0 && (!taken || saved(known) != record)) __builtin_trap();
}

void check_answer(const std::vector<std::byte>& answer) {
  if (!answer.empty() && (answer.size() < 14 || answer.size() > 65'550)) __builtin_trap();
}

}  // namespace
}  // namespace doppel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  FuzzedDataProvider input(data, size);
  TcpConnections known;
  while (input.remaining_bytes() > 0) {
    switch (input.ConsumeIntegralInRange(0, 5)) {
      case 0:
        copy(input, known);
        break;
      case 1:
      case 2:
        known.received(frame(input));
        break;
      default:
        const auto sent = frame(input);
        known.sent(sent);
        check_answer(EchoPeer::answer(sent));
        break;
    }
    if (known.size() > TcpConnections::most) __builtin_trap();
  }
  for (const auto& reset : known.resets()) {
    TcpSegment segment;
    if (!parse_tcp_segment(reset, segment) || segment.flags != TcpSegment::rst) __builtin_trap();
    known.received(reset);
  }
  if (known.size() != 0) __builtin_trap();
  return 0;
}
