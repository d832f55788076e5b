#pragma once
#include <libslirp.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "network/ipv4_reassembly.h"
#include "network/network.h"
#include "network/tcp_connections.h"

namespace doppel {

/// One libslirp instance that lives on an event loop. Everything runs under the device lock.
class SlirpStack : public std::enable_shared_from_this<SlirpStack> {
 public:
  /// Frames for the guest that wait for room in its receive queue, in bytes; more are dropped, as on a real cable.
  static constexpr std::size_t max_queued = 1 << 20;

  explicit SlirpStack(EventLoop& loop);
  ~SlirpStack();
  SlirpStack(const SlirpStack&) = delete;

  /// Starts libslirp and hooks it into the loop. Once, before everything else.
  Result<void> start();
  /// Binds one host port; `port.host` 0 becomes the port that was free.
  Result<void> publish(PublishedPort& port);

  /// From the guest, as Network::send.
  void send(std::span<const std::byte> frame);
  void set_receiver(Network::Receiver receiver);
  void resume();

  /// Which connections the guest has: nothing else of it is known to a copy.
  void save(Writer& out) const { connections_.save(out); }
  /// Begins with a new libslirp, with `ports` bound again, and tells the guest that its connections are over. An
  /// instance that nothing went through is as good as a new one.
  Result<void> restore(Reader& in, std::vector<PublishedPort>& ports);

 private:
  /// A host socket of libslirp's: what it wants to hear of, what the loop watches, and what came.
  struct Socket {
    std::uint32_t wanted = 0, watched = 0, ready = 0;
  };
  struct Timer {
    SlirpStack* stack;
    SlirpTimerId id;
    void* argument;
    std::uint64_t scheduled = 0;  ///< the loop's timer, 0 is none
  };

  static const SlirpCb callbacks;
  static SlirpStack& self(void* opaque) { return *static_cast<SlirpStack*>(opaque); }
  static Timer* new_timer(SlirpTimerId id, void* argument, void* opaque);
  static void free_timer(void* timer, void* opaque);
  static void set_timer(void* timer, std::int64_t expire_ms, void* opaque);

  Result<void> begin_instance();
  void end_instance();
  Result<void> begin_anew(std::vector<PublishedPort>& ports);
  void forget_frames();
  std::int64_t prepare_wait();
  void finish_wait();
  int add_poll(int fd, int events);
  int ready_events(int index) const;
  void watch_wanted();
  void forget(int fd);
  bool crowded() const { return sockets_.size() >= max_sockets_; }
  void input(std::span<const std::byte> frame);
  void queue(std::span<const std::byte> frame);
  void deliver();
  void wake();

  EventLoop& loop_;
  Slirp* slirp_ = nullptr;
  std::map<int, Socket> sockets_;
  std::set<int> listeners_;
  std::vector<int> polled_;  ///< file descriptors by the index that libslirp knows them by
  std::set<Timer*> timers_;
  std::size_t max_sockets_;
  std::int64_t last_activity_ns_ = 0;
  std::int64_t ahead_ns_ = 0;  ///< how much later libslirp is told that it is
  bool used_ = false;          ///< something went through the instance: it has a past
  bool wake_posted_ = false;

  Ipv4Reassembly fragments_;
  TcpConnections connections_;
  Network::Receiver receiver_;
  std::deque<std::vector<std::byte>> queue_;
  std::size_t queued_bytes_ = 0;
  bool receiver_full_ = false;
};

}  // namespace doppel
