// A hostile guest on the user-mode network. It runs in a network namespace of its own, so that nothing gets out.
#include <arpa/inet.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

#include "network/network.h"

namespace doppel {
namespace {

using Bytes = std::vector<std::uint8_t>;

void put16(Bytes& out, std::size_t at, unsigned value) {
  out.at(at) = static_cast<std::uint8_t>(value >> 8);
  out.at(at + 1) = static_cast<std::uint8_t>(value);
}

unsigned checksum(std::span<const std::uint8_t> data, std::uint32_t sum) {
  for (std::size_t i = 0; i < data.size(); i++) sum += i % 2 ? data[i] : data[i] << 8u;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/// The sum of a pseudo-header: addresses, length and protocol.
std::uint32_t pseudo(std::span<const std::uint8_t> addresses, std::size_t length, unsigned protocol) {
  return (~checksum(addresses, 0) & 0xffff) + static_cast<std::uint32_t>(length & 0xffff) + protocol;
}

Bytes ethernet(unsigned type, std::size_t size) {
  Bytes out = {0x52, 0x55, 10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 0, 0};
  put16(out, 12, type);
  out.resize(14 + size);
  return out;
}

/// Where protocols keep their checksum, from the start of their header; 0 has none that matters.
std::size_t checksum_at(unsigned protocol) { return protocol == 6 ? 16 : protocol == 17 ? 6 : 2; }

/// Lengths and checksums that are right, around contents that are not: without them nothing gets past the first check.
Bytes ipv4_frame(FuzzedDataProvider& input) {
  const unsigned protocols[] = {1, 6, 6, 17, 17, 2, 255};
  const unsigned protocol = input.PickValueInArray(protocols);
  auto payload = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 1600));
  auto out = ethernet(0x0800, 20);
  const std::uint8_t destinations[] = {2, 3, 15, 255, 4};
  const Bytes header = {0x45, 0, 0,  0, 0, 1,  0,  0, 64, static_cast<std::uint8_t>(protocol),
                        0,    0, 10, 0, 2, 15, 10, 0, 2,  input.PickValueInArray(destinations)};
  std::copy(header.begin(), header.end(), out.begin() + 14);
  put16(out, 16, static_cast<unsigned>(20 + payload.size()));
  if (input.ConsumeBool()) put16(out, 20, input.ConsumeIntegral<std::uint16_t>());  // fragments
  put16(out, 24, checksum(std::span(out).subspan(14, 20), 0));
  if (protocol == 17 && payload.size() >= 8) put16(payload, 4, static_cast<unsigned>(payload.size()));
  if (const auto at = checksum_at(protocol); payload.size() >= at + 2) {
    put16(payload, at, 0);
    const auto start = protocol == 1 ? 0 : pseudo(std::span(out).subspan(26, 8), payload.size(), protocol);
    put16(payload, at, checksum(payload, start));
  }
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Bytes ipv6_frame(FuzzedDataProvider& input) {
  const unsigned protocols[] = {58, 58, 6, 17, 0, 44};
  const unsigned protocol = input.PickValueInArray(protocols);
  auto payload = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 1600));
  auto out = ethernet(0x86dd, 40);
  out[14] = 0x60;
  put16(out, 18, static_cast<unsigned>(payload.size()));
  out[20] = static_cast<std::uint8_t>(protocol);
  out[21] = 255;
  const Bytes multicast = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
              ours = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
  for (const std::size_t at : {22u, 38u}) {
    const auto& address = input.ConsumeIntegralInRange(0, 3) == 0 ? multicast : ours;
    std::copy(address.begin(), address.end(), out.begin() + static_cast<long>(at));
    out[at + 15] = input.ConsumeIntegralInRange<std::uint8_t>(0, 4);
  }
  if (protocol == 17 && payload.size() >= 8) put16(payload, 4, static_cast<unsigned>(payload.size()));
  if (const auto at = checksum_at(protocol); payload.size() >= at + 2) {
    put16(payload, at, 0);
    put16(payload, at, checksum(payload, pseudo(std::span(out).subspan(22, 32), payload.size(), protocol)));
  }
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Bytes raw_frame(FuzzedDataProvider& input) {
  auto out = input.ConsumeBytes<std::uint8_t>(input.ConsumeIntegralInRange<std::size_t>(0, 200));
  const unsigned types[] = {0x0806, 0x0800, 0x86dd, 0x88f8};
  if (out.size() >= 14 && input.ConsumeBool()) put16(out, 12, input.PickValueInArray(types));
  if (input.ConsumeIntegralInRange(0, 20) == 0) out.resize(input.ConsumeIntegralInRange<std::size_t>(0, 70000));
  return out;
}

Bytes next_frame(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return raw_frame(input);
    case 1:
      return ipv6_frame(input);
    default:
      return ipv4_frame(input);
  }
}

/// A server on the namespace's loopback, so that connections succeed.
int serve(int type, std::uint16_t port) {
  const int fd = ::socket(AF_INET, type, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
  if (type == SOCK_STREAM) ::listen(fd, 1024);
  return fd;
}

/// The network is copied, or takes over what somebody bent.
void copy(FuzzedDataProvider& input, Network& network) {
  Writer out;
  network.save(out);
  auto record = out.take();
  const unsigned changes = input.ConsumeIntegralInRange(0u, 3u);
  for (unsigned n = 0; n < changes; n++)
    record[input.ConsumeIntegralInRange<std::size_t>(0, record.size() - 1)] =
        std::byte(input.ConsumeIntegral<std::uint8_t>());
  Reader in(record);
  if (!network.restore(in).ok() && changes == 0) std::abort();
}

void run_turns(EventLoop& loop, int turns) {
  if (turns == 0) return loop.stop();
  loop.post([&loop, turns] { run_turns(loop, turns - 1); });
}

}  // namespace
}  // namespace doppel

// libslirp 4.7 forgets packets that wait for an ARP reply when an instance ends (m_cleanup); nothing of ours uses
// g_malloc.
extern "C" const char* __lsan_default_suppressions() { return "leak:g_malloc\n"; }

// Exit status 77 says that it could not run here: without a namespace it would attack the host's network.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    std::perror("network_fuzz needs a network namespace of its own");
    std::exit(77);
  }
  ifreq loopback{};
  std::snprintf(loopback.ifr_name, sizeof loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP;
  ioctl(::socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &loopback);
  doppel::serve(SOCK_STREAM, 0x5050);
  doppel::serve(SOCK_DGRAM, 0x5050);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  FuzzedDataProvider input(data, size);
  std::recursive_mutex lock;
  const auto loop = std::move(EventLoop::create(lock)).value();
  const auto network = std::move(make_user_network(*loop, {})).value();
  bool room = true;
  std::size_t received = 0;
  network->set_receiver([&](std::span<const std::byte> frame) {
    received += frame.size();
    return room;
  });
  // Frames go out between the loop's turns, as from a hart.
  std::function<void()> turn = [&] {
    for (int i = 0; i < 4 && input.remaining_bytes() > 0; i++) {
      if (input.ConsumeIntegralInRange(0, 9) == 0) {
        room = !room;
        network->resume();
      }
      if (input.ConsumeIntegralInRange(0, 30) == 0) copy(input, *network);
      const auto frame = next_frame(input);
      network->send(std::as_bytes(std::span(frame)));
    }
    if (input.remaining_bytes() == 0) return run_turns(*loop, 3);
    loop->post(turn);
  };
  loop->post(turn);
  loop->run();
  return 0;
}
