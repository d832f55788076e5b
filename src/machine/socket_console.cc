#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/clock.h"
#include "machine/console_output.h"
#include "machine/signalled_console.h"

namespace doppel {
namespace {

constexpr std::size_t read_size = 4096;
constexpr std::size_t backlog_bytes = 64 << 10;  // output that waits for a client
constexpr int client_patience_ms = 5000;

std::optional<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return std::nullopt;
  path.copy(address.sun_path, path.size());
  return address;
}

bool is_socket(const std::string& path) {
  struct stat status{};
  return lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

bool answers(const sockaddr_un& address) {
  const FileDescriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno != ECONNREFUSED;
}

Result<FileDescriptor> listen_on(const std::string& path) {
  const auto address = socket_address(path);
  if (!address)
    return error("'{}' cannot be a socket: its name needs 1 to {} bytes", path, sizeof address->sun_path - 1);
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const auto bind = [&] { return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address); };
  // Before bind(): Linux gives the file the socket's mode, so that there is no moment when others can connect.
  if (!socket || fchmod(socket.get(), 0600) != 0) return error("cannot make a socket: {}", std::strerror(errno));
  if (bind() != 0) {
    if (errno != EADDRINUSE) return error("cannot make the socket {}: {}", path, std::strerror(errno));
    if (!is_socket(path)) return error("{} exists and is not a socket; remove it or choose another name", path);
    if (answers(*address)) return error("another program listens on {}; end it or choose another name", path);
    if (unlink(path.c_str()) != 0 || bind() != 0)
      return error("cannot replace the socket {}: {}", path, std::strerror(errno));
  }
  if (::listen(socket.get(), 1) != 0) return error("cannot listen on {}: {}", path, std::strerror(errno));
  return socket;
}

struct SocketName {
  std::string directory, file;
};
SocketName split(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == path.npos) return {".", path};
  return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

class SocketConsole final : public SignalledConsole {
 public:
  SocketConsole(FileDescriptor listener, SocketName name, EventLoop& loop, std::unique_ptr<HostSignals> signals)
      : SignalledConsole(loop, std::move(signals)),
        name_(std::move(name)),
        directory_(::open(name_.directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
        listener_(std::move(listener)) {
    await_client();
  }
  ~SocketConsole() override {
    if (output_) output_->drain();
    disconnect();
    loop_.unwatch(listener_.get());
    unlinkat(directory_.get(), name_.file.c_str(), 0);
  }

  void write(std::span<const std::byte> data) override;
  void input_room() override {
    SignalledConsole::input_room();
    listen();
  }
  void start() override {
    started_ = true;
    listen();
  }
  std::string socket_directory() const override { return name_.directory; }

 private:
  void keep(std::span<const std::byte> data);
  void await_client() {
    loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
  }
  void accept();
  void listen_again_later();
  void disconnect();
  void listen();
  void serve(std::uint32_t events);

  const SocketName name_;
  FileDescriptor directory_, listener_, client_;
  std::optional<ConsoleOutput> output_;  // to the client
  std::vector<std::byte> kept_;          // for the next client
  bool started_ = false;
  bool input_ended_ = false;  // the client sends no more, but may still listen
  bool hung_up_ = false;      // it is gone, but what it sent is still to be read
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

void SocketConsole::write(std::span<const std::byte> data) {
  if (!output_) return keep(data);
  output_->write(data);
  if (!output_->gone()) return;
  keep(data);
  // Not now: this may be called from inside the client's own input.
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired() && output_ && output_->gone()) disconnect();
  });
}

void SocketConsole::keep(std::span<const std::byte> data) {
  kept_.insert(kept_.end(), data.begin(), data.end());
  // Twice the size before it is cut: not every byte shall move all the others.
  if (kept_.size() > 2 * backlog_bytes) kept_.erase(kept_.begin(), kept_.end() - backlog_bytes);
}

void SocketConsole::accept() {
  FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  FileDescriptor second(client ? fcntl(client.get(), F_DUPFD_CLOEXEC, 3) : -1);  // watched for itself
  loop_.unwatch(listener_.get());                                                // others wait their turn
  if (!second) return listen_again_later();
  client_ = std::move(client);
  output_.emplace(std::move(second), loop_, *signals_, client_patience_ms);
  const auto data = std::move(kept_);
  kept_.clear();
  output_->write(std::span(data).last(std::min(data.size(), backlog_bytes)));
  input_ended_ = hung_up_ = false;
  listen();
}

// The process is out of descriptors, or the client is gone already.
void SocketConsole::listen_again_later() {
  loop_.at(monotonic_ns() + 100'000'000, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired() && !client_) await_client();
  });
}

void SocketConsole::disconnect() {
  if (!client_) return;
  loop_.unwatch(client_.get());
  output_.reset();
  client_ = FileDescriptor();
  await_client();
}

// Nothing is read before the guest can take it. That the client is gone is heard all the same (EPOLLHUP), once.
void SocketConsole::listen() {
  if (!client_) return;
  const bool reading = started_ && !input_ended_ && input_.waiting() == 0;
  if (!reading && hung_up_) return loop_.unwatch(client_.get());
  loop_.watch(client_.get(), reading ? std::uint32_t{EPOLLIN} : 0, [this](std::uint32_t events) { serve(events); });
}

void SocketConsole::serve(std::uint32_t events) {
  std::byte data[read_size];
  if (events & EPOLLIN) {
    const auto count = ::recv(client_.get(), data, sizeof data, MSG_DONTWAIT);
    if (count > 0) input_.add({data, static_cast<std::size_t>(count)});
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) input_ended_ = true;
  }
  hung_up_ = events & (EPOLLHUP | EPOLLERR);
  input_.offer();
  if (hung_up_ && input_ended_) return disconnect();
  listen();
}

}  // namespace

Result<std::unique_ptr<Console>> open_socket_console(const std::string& path, EventLoop& loop) {
  auto listener = listen_on(path);
  if (!listener) return listener.failure();
  auto signals = HostSignals::open(loop, false);
  if (!signals) return signals.failure();
  return std::unique_ptr<Console>(
      std::make_unique<SocketConsole>(*std::move(listener), split(path), loop, *std::move(signals)));
}

}  // namespace doppel
