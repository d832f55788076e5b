#include "network/user_network.h"

#include <arpa/inet.h>
#include <glib.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <limits>

#include "base/clock.h"
#include "network/frame.h"

namespace doppel {
namespace {

// libslirp asks to be called at least once a second whatever happens. After this long without a frame or a ready socket
// it has nothing left to time: UDP flows expire after 240 s, and TCP retransmissions would have been frames.
constexpr std::int64_t quiet_ns = 300'000'000'000;
constexpr std::int64_t packet_lifetime_ns = 1'100'000'000;
constexpr std::size_t min_frame = 14, max_frame = 65550;

struct EventName {
  int slirp;
  std::uint32_t epoll;
};
constexpr std::array<EventName, 5> event_names = {{{SLIRP_POLL_IN, EPOLLIN},
                                                   {SLIRP_POLL_OUT, EPOLLOUT},
                                                   {SLIRP_POLL_PRI, EPOLLPRI},
                                                   {SLIRP_POLL_ERR, EPOLLERR},
                                                   {SLIRP_POLL_HUP, EPOLLHUP}}};

std::uint32_t to_epoll(int events) {
  std::uint32_t out = 0;
  for (const auto& name : event_names) out |= events & name.slirp ? name.epoll : 0;
  return out;
}

int to_slirp(std::uint32_t events) {
  int out = 0;
  for (const auto& name : event_names) out |= events & name.epoll ? name.slirp : 0;
  return out;
}

in_addr ipv4(const char* text) {
  in_addr address{};
  inet_pton(AF_INET, text, &address);
  return address;
}

in6_addr ipv6(const char* text) {
  in6_addr address{};
  inet_pton(AF_INET6, text, &address);
  return address;
}

SlirpConfig configuration() {
  SlirpConfig config{};
  config.version = 4;
  config.in_enabled = true;
  config.vnetwork = ipv4("10.0.2.0");
  config.vnetmask = ipv4("255.255.255.0");
  config.vhost = ipv4("10.0.2.2");
  config.vnameserver = ipv4("10.0.2.3");
  config.vdhcp_start = ipv4("10.0.2.15");
  config.in6_enabled = true;
  config.vprefix_addr6 = ipv6("fd00::");
  config.vprefix_len = 64;
  config.vhost6 = ipv6("fd00::2");
  config.vnameserver6 = ipv6("fd00::3");
  config.vhostname = "doppel";
  return config;
}

// A share of the process's descriptors, so that a guest that opens connections without end cannot take those that
// disks, consoles and the loop need.
std::size_t socket_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 256;
  return std::clamp<std::size_t>(limit.rlim_cur / 2, 16, 4096);
}

}  // namespace

const SlirpCb SlirpStack::callbacks = {
    .send_packet = [](const void* data, std::size_t size, void* opaque) -> ssize_t {
      self(opaque).queue({static_cast<const std::byte*>(data), size});
      return static_cast<ssize_t>(size);
    },
    .guest_error = [](const char*, void*) {},  // guests may not fill the host's log
    .clock_get_ns = [](void* opaque) -> std::int64_t { return monotonic_ns() + self(opaque).ahead_ns_; },
    .timer_new = nullptr,
    .timer_free = free_timer,
    .timer_mod = set_timer,
    .register_poll_fd = [](int fd, void* opaque) { self(opaque).forget(fd), self(opaque).sockets_[fd] = {}; },
    .unregister_poll_fd = [](int fd, void* opaque) { self(opaque).forget(fd); },
    .notify = [](void* opaque) { self(opaque).wake(); },
    .init_completed = nullptr,
    .timer_new_opaque = [](SlirpTimerId id, void* argument, void* opaque) -> void* {
      return new_timer(id, argument, opaque);
    },
};

SlirpStack::SlirpStack(EventLoop& loop) : loop_(loop), max_sockets_(socket_limit()) {}

SlirpStack::~SlirpStack() { end_instance(); }

void SlirpStack::end_instance() {
  if (!slirp_) return;
  // libslirp 4.7 leaks packets that still wait for an answer to ARP. They do so for a second, which is over now.
  ahead_ns_ = packet_lifetime_ns;
  slirp_pollfds_poll(slirp_, 1, [](int, void*) { return 0; }, this);
  ahead_ns_ = 0;
  slirp_cleanup(slirp_);  // closes its sockets, and says so through unregister_poll_fd
  slirp_ = nullptr;
  while (!sockets_.empty()) forget(sockets_.begin()->first);
  while (!timers_.empty()) free_timer(*timers_.begin(), this);
  polled_.clear();
}

Result<void> SlirpStack::begin_instance() {
  const auto config = configuration();
  slirp_ = slirp_new(&config, &callbacks, this);
  if (!slirp_) return error("cannot start the user-mode network");
  used_ = false;
  last_activity_ns_ = monotonic_ns();
  return {};
}

Result<void> SlirpStack::start() {
  // Guests can make libslirp complain at will ("external icmpv6 not supported yet"): not on the user's terminal.
  constexpr auto levels = GLogLevelFlags(G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE |
                                         G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG);
  g_log_set_handler("Slirp", levels, [](const char*, GLogLevelFlags, const char*, void*) {}, nullptr);
  struct sigaction action{};
  if (sigaction(SIGPIPE, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) std::signal(SIGPIPE, SIG_IGN);
  if (auto begun = begin_instance(); !begun) return begun;
  // The loop keeps its hooks for ever; a network may go before.
  loop_.add_poll_hook(
      [weak = weak_from_this()]() -> std::int64_t {
        const auto stack = weak.lock();
        return stack ? stack->prepare_wait() : -1;
      },
      [weak = weak_from_this()] {
        if (const auto stack = weak.lock()) stack->finish_wait();
      });
  return {};
}

SlirpStack::Timer* SlirpStack::new_timer(SlirpTimerId id, void* argument, void* opaque) {
  auto* timer = new Timer{&self(opaque), id, argument};
  self(opaque).timers_.insert(timer);
  return timer;
}

void SlirpStack::free_timer(void* timer, void* opaque) {
  auto* known = static_cast<Timer*>(timer);
  if (!self(opaque).timers_.erase(known)) return;
  if (known->scheduled) self(opaque).loop_.cancel(known->scheduled);
  delete known;
}

void SlirpStack::set_timer(void* timer, std::int64_t expire_ms, void* opaque) {
  auto* known = static_cast<Timer*>(timer);
  auto& loop = self(opaque).loop_;
  if (known->scheduled) loop.cancel(known->scheduled);
  known->scheduled = loop.at(expire_ms * 1'000'000, [known] {
    known->scheduled = 0;
    slirp_handle_timer(known->stack->slirp_, known->id, known->argument);
    known->stack->deliver();
  });
}

int SlirpStack::add_poll(int fd, int events) {
  if (!sockets_.contains(fd)) {  // made by publish(): libslirp announces only the others
    int listening = 0;
    socklen_t length = sizeof listening;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length);
    if (listening) listeners_.insert(fd);
  }
  // Peers wait in the backlog while there are too many connections; accepting would fail and be tried again without
  // end.
  if (!(crowded() && listeners_.contains(fd))) sockets_[fd].wanted = to_epoll(events);
  polled_.push_back(fd);
  return static_cast<int>(polled_.size() - 1);
}

int SlirpStack::ready_events(int index) const {
  if (index < 0 || static_cast<std::size_t>(index) >= polled_.size()) return 0;
  const auto found = sockets_.find(polled_[static_cast<std::size_t>(index)]);
  return found == sockets_.end() ? 0 : to_slirp(found->second.ready);
}

void SlirpStack::forget(int fd) {
  listeners_.erase(fd);
  const auto found = sockets_.find(fd);
  if (found == sockets_.end()) return;
  if (found->second.watched) loop_.unwatch(fd);
  sockets_.erase(found);
}

void SlirpStack::watch_wanted() {
  for (auto& [fd, socket] : sockets_) {
    socket.ready = 0;
    if (socket.wanted == socket.watched) continue;
    socket.watched = socket.wanted;
    if (!socket.wanted) {
      loop_.unwatch(fd);
      continue;
    }
    loop_.watch(fd, socket.wanted, [this, fd = fd](std::uint32_t events) {
      if (const auto found = sockets_.find(fd); found != sockets_.end()) found->second.ready = events;
      last_activity_ns_ = monotonic_ns();
      used_ = true;
    });
  }
}

std::int64_t SlirpStack::prepare_wait() {
  if (!slirp_) return -1;
  polled_.clear();
  for (auto& [fd, socket] : sockets_) socket.wanted = 0;
  std::uint32_t timeout_ms = std::numeric_limits<std::uint32_t>::max();
  slirp_pollfds_fill(
      slirp_, &timeout_ms, [](int fd, int events, void* opaque) { return self(opaque).add_poll(fd, events); }, this);
  watch_wanted();
  const bool quiet = monotonic_ns() - last_activity_ns_ > quiet_ns;
  if (quiet || timeout_ms == std::numeric_limits<std::uint32_t>::max()) return -1;
  return std::int64_t{timeout_ms} * 1'000'000;
}

void SlirpStack::finish_wait() {
  if (!slirp_) return;
  slirp_pollfds_poll(slirp_, 0, [](int index, void* opaque) { return self(opaque).ready_events(index); }, this);
  deliver();
}

// The loop sleeps on the sockets of before: it has to look at what the guest opened or made room for. Once a turn
// suffices.
void SlirpStack::wake() {
  if (wake_posted_) return;
  wake_posted_ = true;
  loop_.post([weak = weak_from_this()] {
    const auto stack = weak.lock();
    if (!stack) return;
    stack->wake_posted_ = false;
    stack->deliver();
  });
}

void SlirpStack::send(std::span<const std::byte> frame) {
  if (frame.size() < min_frame || frame.size() > max_frame) return;
  if (!Ipv4Reassembly::is_fragment(frame)) return input(frame);
  if (const auto whole = fragments_.add(frame, monotonic_ns()); !whole.empty()) input(whole);
}

void SlirpStack::input(std::span<const std::byte> frame) {
  if (!slirp_ || (crowded() && may_open_socket(frame))) return;
  last_activity_ns_ = monotonic_ns();
  used_ = true;
  connections_.sent(frame);
  slirp_input(slirp_, reinterpret_cast<const std::uint8_t*>(frame.data()), static_cast<int>(frame.size()));
  wake();
}

void SlirpStack::queue(std::span<const std::byte> frame) {
  if (!receiver_ || queued_bytes_ + frame.size() > max_queued) return;
  last_activity_ns_ = monotonic_ns();
  queue_.emplace_back(frame.begin(), frame.end());
  queued_bytes_ += frame.size();
}

void SlirpStack::deliver() {
  while (!queue_.empty() && !receiver_full_) {
    // Out of the queue first: the receiver may call resume() or send().
    auto frame = std::move(queue_.front());
    queue_.pop_front();
    if (receiver_ && !receiver_(frame)) {
      receiver_full_ = true;
      queue_.push_front(std::move(frame));
      return;
    }
    connections_.received(frame);
    queued_bytes_ -= frame.size();
  }
}

void SlirpStack::set_receiver(Network::Receiver receiver) {
  receiver_ = std::move(receiver);
  forget_frames();
}

void SlirpStack::forget_frames() {
  queue_.clear();
  queued_bytes_ = 0;
  receiver_full_ = false;
}

Result<void> SlirpStack::begin_anew(std::vector<PublishedPort>& ports) {
  if (used_) {
    end_instance();
    if (auto begun = begin_instance(); !begun) return begun;
    used_ = true;  // until its ports are bound, too
    for (auto& port : ports)
      if (auto bound = publish(port); !bound) return bound;
    used_ = false;
    wake();
  }
  forget_frames();
  fragments_ = {};
  return {};
}

Result<void> SlirpStack::restore(Reader& in, std::vector<PublishedPort>& ports) {
  const auto known = connections_.restore(in);
  if (auto begun = begin_anew(ports); !begun || !known) return begun ? known : begun;
  for (const auto& reset : connections_.resets()) queue(reset);
  if (!queue_.empty()) wake();
  return {};
}

void SlirpStack::resume() {
  receiver_full_ = false;
  if (!queue_.empty()) wake();
}

namespace {

class UserNetwork final : public Network {
 public:
  UserNetwork(std::shared_ptr<SlirpStack> stack, std::vector<PublishedPort> ports)
      : stack_(std::move(stack)), ports_(std::move(ports)) {}
  ~UserNetwork() override { stack_->set_receiver({}); }
  void send(std::span<const std::byte> frame) override { stack_->send(frame); }
  void set_receiver(Receiver receiver) override { stack_->set_receiver(std::move(receiver)); }
  void resume() override { stack_->resume(); }
  std::vector<PublishedPort> published_ports() const override { return ports_; }
  std::string_view kind() const override { return "user-mode network"; }
  void save(Writer& out) const override { stack_->save(out); }
  Result<void> restore(Reader& in) override { return stack_->restore(in, ports_); }

 private:
  std::shared_ptr<SlirpStack> stack_;  // the loop's hooks only look at it
  std::vector<PublishedPort> ports_;
};

}  // namespace

Result<std::unique_ptr<Network>> make_user_network(EventLoop& loop, const std::vector<PublishedPort>& ports) {
  auto stack = std::make_shared<SlirpStack>(loop);
  if (auto started = stack->start(); !started) return started.failure();
  auto bound = ports;
  for (auto& port : bound)
    if (auto done = stack->publish(port); !done) return done.failure();
  return std::unique_ptr<Network>(std::make_unique<UserNetwork>(std::move(stack), std::move(bound)));
}

}  // namespace doppel
