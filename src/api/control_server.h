#pragma once
// Answers who asks a machine's process for something, on a thread of its own.
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/control_connection.h"

namespace doppel {

/// One request under way.
struct ControlCall {
  ControlRequest& request;
  ControlConnection& connection;
  /// Set by a handler: called when the answer is on its way, in the place of closing the connection.
  std::function<void()> then = {};
};

/// What a verb does: what the answer has in it beside "ok", or why not. On the server's thread, under its lock; it must
/// not wait for clients.
struct ControlVerb {
  std::string name;
  std::function<Result<nlohmann::json>(ControlCall&)> handle;
};

class ControlServer {
 public:
  static constexpr std::size_t most_connections = 64;
  static constexpr int request_patience_ms = 10'000;  // for a client to say what it wants

  /// `listener` listens, and does not block.
  static Result<std::unique_ptr<ControlServer>> create(FileDescriptor listener, int patience_ms = request_patience_ms);
  ControlServer(const ControlServer&) = delete;
  ~ControlServer();

  /// Before start().
  void add(ControlVerb verb) { verbs_.push_back(std::move(verb)); }
  /// Called for each connection before it goes.
  void set_closed(std::function<void(ControlConnection&)> closed) { closed_ = std::move(closed); }
  /// Begins to answer. The thread's name is "control".
  void start();
  /// The thread ends; connections stay as they are, for what is to be sent yet. Once, or never.
  void stop();

  EventLoop& loop() { return *loop_; }
  std::recursive_mutex& lock() { return lock_; }
  std::size_t connections() const { return connections_.size(); }

 private:
  ControlServer(FileDescriptor listener, int patience_ms) : listener_(std::move(listener)), patience_ms_(patience_ms) {}
  void listen();
  void accept();
  void open(FileDescriptor socket);
  void answer(ControlConnection& connection, Result<ControlRequest> request);
  void forget(ControlConnection& connection);
  void hurry(ControlConnection& connection);

  std::recursive_mutex lock_;
  std::unique_ptr<EventLoop> loop_;
  FileDescriptor listener_;
  const int patience_ms_;
  const uid_t user_ = ::geteuid();  // whom it serves
  std::vector<ControlVerb> verbs_;
  std::function<void(ControlConnection&)> closed_;
  std::list<ControlConnection> connections_;
  std::thread thread_;
};

}  // namespace doppel
