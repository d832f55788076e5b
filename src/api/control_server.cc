#include "api/control_server.h"

#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "api/machine_record.h"
#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::int64_t no_room_ns = 100'000'000;  // until the next look for a free descriptor

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::create(FileDescriptor listener, int patience_ms) {
  auto server = std::unique_ptr<ControlServer>(new ControlServer(std::move(listener), patience_ms));
  auto loop = EventLoop::create(server->lock_);
  if (!loop) return loop.failure();
  server->loop_ = std::move(*loop);
  return server;
}

ControlServer::~ControlServer() {
  stop();
  std::lock_guard guard(lock_);
  connections_.clear();
}

void ControlServer::start() {
  {
    std::lock_guard guard(lock_);
    listen();
  }
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "control");
    loop_->run();
  });
}

void ControlServer::stop() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

void ControlServer::listen() {
  loop_->watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
}

void ControlServer::accept() {
  FileDescriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket) return open(std::move(socket));
  if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
  loop_->unwatch(listener_.get());  // out of descriptors, and it would be ready again at once
  loop_->at(monotonic_ns() + no_room_ns, [this] { listen(); });
}

void ControlServer::open(FileDescriptor socket) {
  if (!is_peer_of(socket.get(), user_)) return;
  auto& connection = connections_.emplace_back(
      std::move(socket), *loop_,
      [this](ControlConnection& from, Result<ControlRequest> request) { answer(from, std::move(request)); },
      [this](ControlConnection& from) { forget(from); });
  if (connections_.size() > most_connections) {
    connection.send(answer_line(error("the machine serves {} clients already", most_connections)));
    return connection.finish();
  }
  hurry(connection);
}

/// Who does not say in time what it wants goes. Another may have its address by then.
void ControlServer::hurry(ControlConnection& connection) {
  loop_->at(monotonic_ns() + patience_ms_ * 1'000'000LL, [&connection, life = connection.life()] {
    if (!life.expired() && !connection.asked_already()) connection.close();
  });
}

void ControlServer::answer(ControlConnection& connection, Result<ControlRequest> request) {
  if (!request) {
    connection.send(answer_line(request.failure()));
    return connection.finish();
  }
  ControlCall call{*request, connection};
  const auto verb = std::ranges::find(verbs_, request->verb, &ControlVerb::name);
  const auto result = verb != verbs_.end() ? verb->handle(call)
                                           : Result<nlohmann::json>(error("the machine does not know how to '{}'",
                                                                          printable_text(request->verb.substr(0, 32))));
  connection.send(answer_line(result));
  if (result && call.then)
    call.then();
  else
    connection.finish();
}

void ControlServer::forget(ControlConnection& connection) {
  if (closed_) closed_(connection);
  connections_.remove_if([&](const auto& one) { return &one == &connection; });
}

}  // namespace doppel
