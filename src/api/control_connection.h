#pragma once
// One client of a machine's control socket: it asks once, is answered, and perhaps stays for a stream of bytes.
#include <sys/types.h>

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "api/control_request.h"
#include "base/event_loop.h"

namespace doppel {

/// Whether the socket's other end is a process of this user, or root's.
bool is_peer_of(int socket, uid_t user);

/// Everything is called under the loop's lock. Never waits for the client: one that is too far behind is closed.
class ControlConnection {
 public:
  static constexpr std::size_t most_behind = 1 << 20;  // bytes that wait for the client
  using Asked = std::function<void(ControlConnection&, Result<ControlRequest>)>;
  using Closed = std::function<void(ControlConnection&)>;
  /// Takes a prefix of what the client sends and returns its length. The rest is offered again by offer(), and nothing
  /// more is read before.
  using Take = std::function<std::size_t(std::span<const std::byte>)>;

  /// `asked` is called once; `closed` when the connection is of no use any more: not from inside send() or another
  /// function of this class, and it may destroy the connection.
  ControlConnection(FileDescriptor socket, EventLoop& loop, Asked asked, Closed closed);
  ControlConnection(const ControlConnection&) = delete;
  ~ControlConnection();

  void send(std::span<const std::byte> data);
  void send(std::string_view text) { send(std::as_bytes(std::span(text))); }
  /// Closes when all is sent.
  void finish();
  /// From now on what the client sends goes there. When the client has sent its last and all is taken, `ended` is
  /// called.
  void stream(Take take, std::function<void()> ended);
  void offer();
  /// Bytes of the client's that were not taken yet wait.
  bool waiting() const { return !input_.empty(); }
  /// Expires with the connection.
  std::weak_ptr<int> life() const { return alive_; }
  bool asked_already() const { return !asked_; }
  void close();
  /// Sends what waits, for so many milliseconds at most; for a process that is about to end.
  void drain(int milliseconds);

 private:
  void serve(std::uint32_t events);
  void receive();
  void take_request(std::span<const std::byte> bytes, std::vector<FileDescriptor> descriptors);
  void flush();
  void watch();
  bool reads() const { return !input_ended_ && !finishing_ && input_.empty(); }
  std::size_t behind() const { return output_.size() - sent_; }

  FileDescriptor socket_;
  EventLoop& loop_;
  Asked asked_;
  Closed closed_;
  RequestReader reader_;
  Take take_;
  std::function<void()> ended_;
  std::vector<std::byte> input_, output_;
  std::size_t sent_ = 0;
  bool input_ended_ = false, finishing_ = false, closing_ = false;
  std::uint32_t watched_ = ~0U;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace doppel
