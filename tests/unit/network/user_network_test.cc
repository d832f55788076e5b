#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <numeric>
#include <thread>

#include "base/clock.h"
#include "network/network.h"

namespace doppel {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint8_t guest_mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
constexpr std::uint32_t guest_ip = 0x0a00020f, gateway_ip = 0x0a000202;

void put16(Bytes& out, unsigned value) { out.insert(out.end(), {std::uint8_t(value >> 8), std::uint8_t(value)}); }
void put32(Bytes& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}
unsigned get16(const Bytes& in, std::size_t at) { return in.at(at) << 8u | in.at(at + 1); }
std::uint32_t get32(const Bytes& in, std::size_t at) { return get16(in, at) << 16 | get16(in, at + 2); }

unsigned checksum(std::span<const std::uint8_t> data, std::uint32_t sum = 0) {
  for (std::size_t i = 0; i < data.size(); i++) sum += i % 2 ? data[i] : data[i] << 8u;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

Bytes ethernet(unsigned type, const Bytes& payload, std::uint8_t destination = 0xff) {
  Bytes out(6, destination);
  out.insert(out.end(), guest_mac, guest_mac + 6);
  put16(out, type);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Bytes ipv4(unsigned protocol, std::uint32_t from, std::uint32_t to, const Bytes& payload) {
  Bytes out = {0x45, 0};
  put16(out, static_cast<unsigned>(20 + payload.size()));
  for (const unsigned value : {1u, 0u, 64u << 8 | protocol, 0u}) put16(out, value);
  put32(out, from);
  put32(out, to);
  const auto sum = checksum(out);
  out[10] = std::uint8_t(sum >> 8), out[11] = std::uint8_t(sum);
  out.insert(out.end(), payload.begin(), payload.end());
  return ethernet(0x0800, out);
}

Bytes udp(unsigned from, unsigned to, const Bytes& data) {
  Bytes out;
  for (const unsigned value : {from, to, static_cast<unsigned>(8 + data.size()), 0u}) put16(out, value);
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

Bytes tcp(std::uint32_t from, std::uint32_t to, unsigned source, unsigned port, std::uint32_t sequence,
          std::uint32_t acknowledged, unsigned flags, const std::string& data = {}) {
  Bytes segment;
  put16(segment, source);
  put16(segment, port);
  put32(segment, sequence);
  put32(segment, acknowledged);
  for (const unsigned value : {5u << 12 | flags, 65535u, 0u, 0u}) put16(segment, value);
  segment.insert(segment.end(), data.begin(), data.end());
  Bytes pseudo;
  put32(pseudo, from);
  put32(pseudo, to);
  put16(pseudo, 6);
  put16(pseudo, static_cast<unsigned>(segment.size()));
  pseudo.insert(pseudo.end(), segment.begin(), segment.end());
  const auto sum = checksum(pseudo);
  segment[16] = std::uint8_t(sum >> 8), segment[17] = std::uint8_t(sum);
  return ipv4(6, from, to, segment);
}

Bytes arp(unsigned operation, std::uint32_t target) {
  Bytes out;
  for (const unsigned value : {1u, 0x0800u, 0x0604u, operation}) put16(out, value);
  out.insert(out.end(), guest_mac, guest_mac + 6);
  put32(out, guest_ip);
  out.insert(out.end(), 6, 0);
  put32(out, target);
  return ethernet(0x0806, out);
}

/// A network with its loop on a thread of its own, and a guest that is this test.
class Cable {
 public:
  explicit Cable(std::vector<PublishedPort> ports = {}) {
    loop_ = std::move(EventLoop::create(lock_)).value();
    auto made = make_user_network(*loop_, ports);
    if (!made) throw std::runtime_error(made.message());
    network_ = std::move(made).value();
    network_->set_receiver([this](std::span<const std::byte> frame) {
      if (full_) return false;
      const auto* data = reinterpret_cast<const std::uint8_t*>(frame.data());
      frames_.emplace_back(data, data + frame.size());
      arrived_.notify_all();
      return true;
    });
    thread_ = std::thread([this] { loop_->run(); });
  }
  ~Cable() {
    loop_->stop();
    thread_.join();
  }
  void send(const Bytes& frame) {
    std::lock_guard guard(lock_);
    network_->send(std::as_bytes(std::span(frame)));
  }
  /// The next frame that `wanted` accepts, answering ARP as a guest does; empty after ten seconds.
  template <typename Wanted>
  Bytes next(Wanted wanted) {
    return next(wanted, true);
  }
  /// The same without answering.
  template <typename Wanted>
  Bytes next_unanswered(Wanted wanted) {
    return next(wanted, false);
  }
  template <typename Wanted>
  Bytes next(Wanted wanted, bool answers) {
    std::unique_lock guard(lock_);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (true) {
      while (!frames_.empty()) {
        const auto frame = frames_.front();
        frames_.pop_front();
        if (answers && get16(frame, 12) == 0x0806 && get16(frame, 20) == 1 && get32(frame, 38) == guest_ip)
          send(arp(2, gateway_ip));
        if (wanted(frame)) return frame;
      }
      if (arrived_.wait_until(guard, end) == std::cv_status::timeout) return {};
    }
  }
  void set_full(bool full) {
    std::lock_guard guard(lock_);
    full_ = full;
    if (!full) network_->resume();
  }
  std::size_t waiting() {
    std::lock_guard guard(lock_);
    return frames_.size();
  }
  std::vector<std::byte> save() {
    std::lock_guard guard(lock_);
    Writer out;
    network_->save(out);
    return out.take();
  }
  Result<void> restore(std::span<const std::byte> record) {
    std::lock_guard guard(lock_);
    frames_.clear();
    Reader in(record);
    return network_->restore(in);
  }
  std::recursive_mutex lock_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Network> network_;

 private:
  std::condition_variable_any arrived_;
  std::deque<Bytes> frames_;
  bool full_ = false;
  std::thread thread_;
};

bool is_udp(const Bytes& frame) { return frame.size() >= 42 && get16(frame, 12) == 0x0800 && frame[23] == 17; }
bool is_tcp(const Bytes& frame) { return frame.size() >= 54 && get16(frame, 12) == 0x0800 && frame[23] == 6; }

FileDescriptor host_socket(int type, std::uint16_t port, bool connect) {
  FileDescriptor fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const int failed = connect ? ::connect(fd.get(), generic, sizeof address) : ::bind(fd.get(), generic, sizeof address);
  return failed ? FileDescriptor() : std::move(fd);
}

std::uint16_t port_of(const FileDescriptor& fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

// The guest would get no address.
TEST(UserNetwork, OffersTheDocumentedAddressByDhcp) {
  Cable cable;
  Bytes discover = {1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78};
  discover.resize(28);
  discover.insert(discover.end(), guest_mac, guest_mac + 6);
  discover.resize(236);
  discover.insert(discover.end(), {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255});
  discover.resize(300);
  cable.send(ipv4(17, 0, 0xffffffff, udp(68, 67, discover)));
  const auto offer = cable.next([](const Bytes& frame) { return is_udp(frame) && get16(frame, 36) == 68; });
  ASSERT_GE(offer.size(), 42u + 244);
  EXPECT_EQ(get32(offer, 42 + 16), guest_ip) << "yiaddr";
  EXPECT_EQ(get32(offer, 42 + 4), 0x12345678u);
  std::map<unsigned, Bytes> options;
  for (std::size_t at = 42 + 240; at + 1 < offer.size() && offer[at] != 255; at += 2u + offer[at + 1])
    options[offer[at]].assign(offer.begin() + static_cast<long>(at) + 2,
                              offer.begin() + static_cast<long>(at) + 2 + offer[at + 1]);
  EXPECT_EQ(options[53], Bytes{2}) << "DHCPOFFER";
  EXPECT_EQ(options[3], (Bytes{10, 0, 2, 2})) << "router";
  EXPECT_EQ(options[6], (Bytes{10, 0, 2, 3})) << "name server";
}

TEST(UserNetwork, GatewayAndNameServerAnswerArp) {
  Cable cable;
  for (const std::uint32_t address : {gateway_ip, gateway_ip + 1}) {
    cable.send(arp(1, address));
    const auto reply = cable.next([](const Bytes& frame) { return get16(frame, 12) == 0x0806; });
    ASSERT_FALSE(reply.empty());
    EXPECT_EQ(get16(reply, 20), 2u);
    EXPECT_EQ(get32(reply, 28), address);
    EXPECT_TRUE(std::equal(guest_mac, guest_mac + 6, reply.begin()));
  }
}

/// An ICMPv6 message from the guest's link-local address; `to` is the destination's 16 bytes.
Bytes icmpv6(const Bytes& to, Bytes body) {
  Bytes ip = {0x60, 0, 0, 0, 0, std::uint8_t(body.size()), 58, 255};
  const Bytes from = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56};
  ip.insert(ip.end(), from.begin(), from.end());
  ip.insert(ip.end(), to.begin(), to.end());
  Bytes pseudo(ip.begin() + 8, ip.end());
  pseudo.insert(pseudo.end(), {0, 0, 0, std::uint8_t(body.size()), 0, 0, 0, 58});
  pseudo.insert(pseudo.end(), body.begin(), body.end());
  const auto sum = checksum(pseudo);
  body[2] = std::uint8_t(sum >> 8), body[3] = std::uint8_t(sum);
  ip.insert(ip.end(), body.begin(), body.end());
  return ethernet(0x86dd, ip, 0x33);
}

TEST(UserNetwork, AnswersIpv6RouterSolicitations) {
  Cable cable;
  cable.send(icmpv6({0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}, {133, 0, 0, 0, 0, 0, 0, 0}));
  const auto advertisement = cable.next(
      [](const Bytes& in) { return get16(in, 12) == 0x86dd && in.size() > 100 && in[20] == 58 && in[54] == 134; });
  ASSERT_FALSE(advertisement.empty());
  const Bytes prefix = {0xfd, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_NE(std::search(advertisement.begin() + 54, advertisement.end(), prefix.begin(), prefix.end()),
            advertisement.end());
}

// A guest could write over the user's terminal, which is its own console: ping of an IPv6 host makes libslirp complain.
TEST(UserNetwork, NothingIsPrintedWhateverTheGuestSends) {
  testing::internal::CaptureStderr();
  {
    Cable cable;
    cable.send(icmpv6({0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, {128, 0, 0, 0, 0, 1, 0, 1}));
    cable.send(arp(1, gateway_ip));
    EXPECT_FALSE(cable.next([](const Bytes& frame) { return get16(frame, 12) == 0x0806; }).empty());
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// `--publish` would accept connections that never reach the guest.
TEST(UserNetwork, PublishedTcpPortReachesTheGuestAndBack) {
  Cable cable({{.host = 0, .guest = 22}});
  const auto port = cable.network_->published_ports().at(0).host;
  ASSERT_NE(port, 0);
  const auto client = host_socket(SOCK_STREAM, port, true);
  ASSERT_TRUE(client);
  const auto syn = cable.next(is_tcp);
  ASSERT_FALSE(syn.empty());
  EXPECT_EQ(get32(syn, 26), gateway_ip);
  EXPECT_EQ(get32(syn, 30), guest_ip);
  EXPECT_EQ(get16(syn, 36), 22u);
  EXPECT_EQ(syn[47] & 0x3f, 0x02);
  const auto source = get16(syn, 34);
  cable.send(tcp(guest_ip, gateway_ip, 22, source, 1000, get32(syn, 38) + 1, 0x12));
  ASSERT_FALSE(cable.next(is_tcp).empty()) << "the handshake's ACK";
  cable.send(tcp(guest_ip, gateway_ip, 22, source, 1001, get32(syn, 38) + 1, 0x18, "SSH-2.0"));
  char text[16] = {};
  EXPECT_EQ(::recv(client.get(), text, 7, MSG_WAITALL), 7);
  EXPECT_STREQ(text, "SSH-2.0");
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  const auto data = cable.next([](const Bytes& frame) { return is_tcp(frame) && get16(frame, 16) > 40; });
  ASSERT_GE(data.size(), 59u);
  EXPECT_EQ(std::string(data.begin() + 54, data.begin() + 59), "hello");
}

TEST(UserNetwork, PublishedUdpPortReachesTheGuest) {
  Cable cable({{.host = 0, .guest = 53, .udp = true}});
  const auto client = host_socket(SOCK_DGRAM, cable.network_->published_ports().at(0).host, true);
  ASSERT_TRUE(client);
  ASSERT_EQ(::send(client.get(), "query", 5, 0), 5);
  const auto datagram = cable.next(is_udp);
  ASSERT_GE(datagram.size(), 47u);
  EXPECT_EQ(get32(datagram, 30), guest_ip);
  EXPECT_EQ(get16(datagram, 36), 53u);
  EXPECT_EQ(std::string(datagram.begin() + 42, datagram.begin() + 47), "query");
}

// The guest would have no way out: this is apt-get's.
TEST(UserNetwork, GuestConnectsToTheHost) {
  Cable cable;
  const auto server = host_socket(SOCK_STREAM, 0, false);
  ASSERT_TRUE(server);
  ASSERT_EQ(::listen(server.get(), 1), 0);
  const auto port = port_of(server);
  cable.send(arp(1, gateway_ip));
  cable.send(tcp(guest_ip, gateway_ip, 40000, port, 7, 0, 0x02));
  pollfd ready{.fd = server.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&ready, 1, 10000), 1);
  const FileDescriptor peer(::accept(server.get(), nullptr, nullptr));
  const auto answer = cable.next(is_tcp);
  ASSERT_FALSE(answer.empty());
  EXPECT_EQ(answer[47] & 0x3f, 0x12) << "SYN and ACK";
  EXPECT_EQ(get32(answer, 42), 8u);
  cable.send(tcp(guest_ip, gateway_ip, 40000, port, 8, get32(answer, 38) + 1, 0x18, "GET /"));
  char text[8] = {};
  EXPECT_EQ(::recv(peer.get(), text, 5, MSG_WAITALL), 5);
  EXPECT_STREQ(text, "GET /");
}

// Big datagrams would be lost: fragments never get to libslirp, which an empty one crashes.
TEST(UserNetwork, FragmentedDatagramsReachTheHost) {
  Cable cable;
  const auto server = host_socket(SOCK_DGRAM, 0, false);
  ASSERT_TRUE(server);
  const auto whole = ipv4(17, guest_ip, gateway_ip, udp(5000, port_of(server), Bytes(3000, 'x')));
  cable.send(arp(1, gateway_ip));
  for (std::size_t at = 34; at < whole.size(); at += 1480) {
    const auto end = std::min(at + 1480, whole.size());
    auto part = ipv4(17, guest_ip, gateway_ip, Bytes(whole.begin() + long(at), whole.begin() + long(end)));
    const auto field = (at - 34) / 8 | (end < whole.size() ? 0x2000u : 0u);
    part[20] = std::uint8_t(field >> 8), part[21] = std::uint8_t(field);
    part[24] = part[25] = 0;
    const auto sum = checksum(std::span(part).subspan(14, 20));
    part[24] = std::uint8_t(sum >> 8), part[25] = std::uint8_t(sum);
    cable.send(part);
  }
  pollfd ready{.fd = server.get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&ready, 1, 10000), 1);
  char data[4000];
  EXPECT_EQ(::recv(server.get(), data, sizeof data, 0), 3000);
}

// The user would not know why a published port does not answer.
TEST(UserNetwork, AUsedPortIsAnErrorThatNamesIt) {
  for (const bool datagrams : {false, true}) {
    const auto holder = host_socket(datagrams ? SOCK_DGRAM : SOCK_STREAM, 0, false);
    ASSERT_TRUE(holder);
    if (!datagrams) {
      ASSERT_EQ(::listen(holder.get(), 1), 0);
    }
    const auto port = port_of(holder);
    std::recursive_mutex lock;
    const auto loop = std::move(EventLoop::create(lock)).value();
    const auto network = make_user_network(*loop, {{.host = port, .guest = 80, .udp = datagrams}});
    ASSERT_FALSE(network);
    EXPECT_NE(network.message().find(fmt::format("{} port {} ", datagrams ? "UDP" : "TCP", port)), std::string::npos);
    EXPECT_NE(network.message().find("in use"), std::string::npos);
  }
}

TEST(UserNetwork, AnAddressOfAnotherHostIsAnError) {
  std::recursive_mutex lock;
  const auto loop = std::move(EventLoop::create(lock)).value();
  const auto network = make_user_network(*loop, {{.address = "192.0.2.1", .host = 0, .guest = 80}});
  ASSERT_FALSE(network);
  EXPECT_NE(network.message().find("192.0.2.1"), std::string::npos);
}

TEST(UserNetwork, PortsAreFreeAgainWhenTheNetworkIsGone) {
  std::recursive_mutex lock;
  const auto loop = std::move(EventLoop::create(lock)).value();
  auto network = make_user_network(*loop, {{.host = 0, .guest = 80}, {.host = 0, .guest = 80, .udp = true}});
  ASSERT_TRUE(network);
  const auto ports = network.value()->published_ports();
  network.value().reset();
  EXPECT_TRUE(make_user_network(*loop, ports));
}

// A guest whose receive queue is full would lose its packets although it has room again.
TEST(UserNetwork, FramesWaitUntilTheReceiverResumes) {
  Cable cable;
  cable.set_full(true);
  for (int i = 0; i < 50; i++) cable.send(arp(1, gateway_ip));
  EXPECT_EQ(cable.waiting(), 0u);
  cable.set_full(false);
  for (int i = 0; i < 50; i++)
    EXPECT_FALSE(cable.next([](const Bytes& frame) { return get16(frame, 12) == 0x0806; }).empty()) << i;
}

// A guest that never receives could fill the host's memory.
TEST(UserNetwork, TheQueueIsBounded) {
  Cable cable;
  cable.set_full(true);
  for (int i = 0; i < 40'000; i++) cable.send(arp(1, gateway_ip));
  cable.set_full(false);
  int got = 0;
  // The reply about the name server comes after all others, or was dropped and is asked for again.
  bool last = false;
  while (!last) {
    cable.send(arp(1, gateway_ip + 1));
    ASSERT_FALSE(cable
                     .next([&](const Bytes& frame) {
                       const bool reply = get16(frame, 12) == 0x0806;
                       last = reply && get32(frame, 28) == gateway_ip + 1;
                       got += reply && !last;
                       return reply;
                     })
                     .empty());
  }
  EXPECT_GT(got, 10'000);
  EXPECT_LE(got, (1 << 20) / 42);
}

// One packet of any program in the guest that may send raw packets would end the machine.
TEST(UserNetwork, AnEmptyFragmentIsHarmless) {
  Cable cable;
  auto empty = ipv4(17, guest_ip, gateway_ip, {});
  empty[21] = 0x59;
  empty[24] = empty[25] = 0;
  const auto sum = checksum(std::span(empty).subspan(14, 20));
  empty[24] = std::uint8_t(sum >> 8), empty[25] = std::uint8_t(sum);
  cable.send(empty);
  cable.send(arp(1, gateway_ip));
  EXPECT_FALSE(cable.next([](const Bytes& frame) { return get16(frame, 12) == 0x0806; }).empty());
}

TEST(UserNetwork, SizesThatAreNoFramesAreDropped) {
  Cable cable;
  for (const std::size_t size : {0u, 1u, 13u, 65551u, 1u << 20}) cable.send(Bytes(size, 0x08));
  cable.send(Bytes(14, 0));
  cable.send(Bytes(65550, 0x08));
  cable.send(arp(1, gateway_ip));
  EXPECT_FALSE(cable.next([](const Bytes& frame) { return get16(frame, 12) == 0x0806; }).empty());
}

// An idle machine would burn the host's CPU.
TEST(UserNetwork, AnIdleNetworkDoesNotWakeTheLoop) {
  int turns = 0;
  bool finished = false;
  std::condition_variable_any done;
  Cable cable({{.host = 0, .guest = 22}, {.host = 0, .guest = 53, .udp = true}});
  std::unique_lock guard(cable.lock_);
  cable.loop_->add_poll_hook([] { return -1; }, [&turns] { turns++; });
  cable.loop_->at(monotonic_ns() + 1'500'000'000, [&] {
    finished = true;
    done.notify_all();
  });
  ASSERT_TRUE(done.wait_for(guard, std::chrono::seconds(30), [&] { return finished; }));
  EXPECT_GT(turns, 0);
  EXPECT_LE(turns, 12) << "libslirp's slow timer ticks twice a second";
}

// A machine that ends while its loop lives on (the pool's) would crash the others.
TEST(UserNetwork, TheLoopOutlivesTheNetwork) {
  bool turned = false;
  std::condition_variable_any turn;
  Cable cable({{.host = 0, .guest = 22}});
  cable.send(arp(1, gateway_ip));
  std::unique_lock guard(cable.lock_);
  cable.network_.reset();
  cable.loop_->post([&] {
    turned = true;
    turn.notify_all();
  });
  EXPECT_TRUE(turn.wait_for(guard, std::chrono::seconds(10), [&] { return turned; }));
}

/// A guest's connection to a server of this test's.
struct Connection {
  explicit Connection(Cable& cable) : server(host_socket(SOCK_STREAM, 0, false)) {
    ::listen(server.get(), 1);
    const auto port = port_of(server);
    cable.send(arp(1, gateway_ip));
    cable.send(tcp(guest_ip, gateway_ip, 40000, port, 7, 0, 0x02));
    const auto answer = cable.next(is_tcp);
    EXPECT_FALSE(answer.empty());
    expected = get32(answer, 38) + 1;
    cable.send(tcp(guest_ip, gateway_ip, 40000, port, 8, expected, 0x10));
    peer = FileDescriptor(::accept(server.get(), nullptr, nullptr));
  }
  FileDescriptor server, peer;
  std::uint32_t expected = 0;  // the number that the guest expects next
};

const std::vector<std::byte> empty_record(4);

// Programs in a copy would wait for ever for what their connections bring.
TEST(UserNetwork, ACopyIsToldThatItsConnectionsAreOver) {
  Cable cable;
  const Connection connection(cable);
  Cable copy;
  const auto saved = cable.save();
  ASSERT_TRUE(copy.restore(saved));
  const auto reset = copy.next(is_tcp);
  ASSERT_FALSE(reset.empty());
  EXPECT_EQ(reset[47], 0x04);
  EXPECT_EQ(get32(reset, 38), connection.expected);
  EXPECT_EQ(get16(reset, 34), port_of(connection.server));
  EXPECT_EQ(get16(reset, 36), 40000u);
  EXPECT_EQ(copy.save(), empty_record) << "it has been told";
  ASSERT_EQ(::send(connection.peer.get(), "still", 5, 0), 5);
  EXPECT_FALSE(cable.next([](const Bytes& in) { return is_tcp(in) && get16(in, 16) > 40; }).empty())
      << "the original goes on";
}

// Copied before it was told, a copy of the copy would hear nothing.
TEST(UserNetwork, ACopyThatWasNotToldYetIsCopiedWithItsConnections) {
  Cable cable;
  const Connection connection(cable);
  const auto saved = cable.save();
  Cable copy;
  copy.set_full(true);
  ASSERT_TRUE(copy.restore(saved));
  EXPECT_EQ(copy.save(), saved);
}

// One machine after another uses the stack of a worker: neither packets nor connections may get from one to the other.
TEST(UserNetwork, NothingOfTheMachineOfBeforeIsLeft) {
  Cable cable({{.host = 0, .guest = 80, .udp = true}});
  const Connection connection(cable);
  const auto client = host_socket(SOCK_DGRAM, cable.network_->published_ports().at(0).host, true);
  ASSERT_EQ(::send(client.get(), "for A", 5, 0), 5);
  ASSERT_FALSE(cable.next(is_udp).empty());
  cable.set_full(true);
  cable.send(arp(1, gateway_ip + 1));
  ASSERT_TRUE(cable.restore(empty_record));
  cable.set_full(false);
  char byte;
  EXPECT_LE(::recv(connection.peer.get(), &byte, 1, 0), 0) << "the connection is closed";
  cable.send(arp(1, gateway_ip));
  const auto first = cable.next([](const Bytes& in) { return get16(in, 12) == 0x0806 || is_tcp(in) || is_udp(in); });
  EXPECT_EQ(get32(first, 28), gateway_ip) << "not what was queued before";
}

TEST(UserNetwork, PublishedPortsOfACopyReachIt) {
  Cable cable({{.host = 0, .guest = 22}});
  const auto port = cable.network_->published_ports().at(0).host;
  for (unsigned round = 0; round < 3; round++) {
    const auto client = host_socket(SOCK_STREAM, port, true);
    ASSERT_TRUE(client);
    ASSERT_FALSE(cable.next(is_tcp).empty());
    ASSERT_TRUE(cable.restore(empty_record));
    EXPECT_EQ(cable.network_->published_ports().at(0).host, port);
  }
}

TEST(UserNetwork, APortThatCannotBeBoundAgainIsAnError) {
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
  GTEST_SKIP() << "without descriptors the sanitizer takes every object for a wrong one: it looks through a pipe";
#endif
#endif
  Cable cable({{.host = 0, .guest = 22}});
  cable.send(arp(1, gateway_ip));
  ASSERT_FALSE(cable.next([](const Bytes& frame) { return get16(frame, 12) == 0x0806; }).empty());
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{.rlim_cur = 3, .rlim_max = limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto failed = cable.restore(empty_record);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.message().find("cannot publish TCP port"), std::string::npos) << failed.message();
  EXPECT_TRUE(cable.restore(empty_record));
  EXPECT_TRUE(host_socket(SOCK_STREAM, cable.network_->published_ports().at(0).host, true));
}

// Each machine that a worker takes over would cost it some memory; LeakSanitizer sees it.
TEST(UserNetwork, PacketsThatWaitForTheGuestsAddressAreNotLeaked) {
  Cable cable({{.host = 0, .guest = 53, .udp = true}});
  const auto client = host_socket(SOCK_DGRAM, cable.network_->published_ports().at(0).host, true);
  for (unsigned round = 0; round < 10; round++) {
    ASSERT_EQ(::send(client.get(), "query", 5, 0), 5);
    const auto asked = [](const Bytes& frame) { return get16(frame, 12) == 0x0806 && get16(frame, 20) == 1; };
    ASSERT_FALSE(cable.next_unanswered(asked).empty());
    ASSERT_TRUE(cable.restore(empty_record));
  }
}

TEST(UserNetwork, ADamagedRecordIsAnErrorAndTheNextIsTaken) {
  Cable cable;
  const Connection connection(cable);
  const auto saved = cable.save();
  for (std::size_t length = 0; length < saved.size(); length++)
    EXPECT_FALSE(cable.restore(std::span(saved).first(length))) << length;
  ASSERT_TRUE(cable.restore(saved));
  EXPECT_FALSE(cable.next(is_tcp).empty());
}

}  // namespace
}  // namespace doppel
