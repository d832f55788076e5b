#include "api/control_connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::size_t read_size = 4096;

/// What recvmsg() brought beside the bytes. Descriptors that there was no room for, the kernel has closed.
std::vector<FileDescriptor> received(msghdr& message) {
  std::vector<FileDescriptor> descriptors;
  for (auto* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t n = 0; n < count; n++) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(part) + n * sizeof(int), sizeof descriptor);
      descriptors.emplace_back(descriptor);
    }
  }
  return descriptors;
}

}  // namespace

bool is_peer_of(int socket, uid_t user) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == user || peer.uid == 0);
}

ControlConnection::ControlConnection(FileDescriptor socket, EventLoop& loop, Asked asked, Closed closed)
    : socket_(std::move(socket)), loop_(loop), asked_(std::move(asked)), closed_(std::move(closed)) {
  watch();
}

ControlConnection::~ControlConnection() {
  if (watched_ != 0) loop_.unwatch(socket_.get());
}

void ControlConnection::send(std::span<const std::byte> data) {
  if (closing_) return;
  output_.insert(output_.end(), data.begin(), data.end());
  flush();
  if (behind() > most_behind) close();
}

void ControlConnection::finish() {
  finishing_ = true;
  if (behind() == 0) return close();
  watch();
}

void ControlConnection::close() {
  if (closing_) return;
  closing_ = true;
  output_.clear(), input_.clear();
  sent_ = 0;
  watch();
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) closed_(*this);
  });
}

void ControlConnection::stream(Take take, std::function<void()> ended) {
  take_ = std::move(take);
  ended_ = std::move(ended);
  const auto rest = reader_.rest();
  input_.assign(rest.begin(), rest.end());
  offer();
}

void ControlConnection::offer() {
  if (closing_ || !take_) return;
  if (!input_.empty()) input_.erase(input_.begin(), input_.begin() + std::ptrdiff_t(take_(input_)));
  if (input_.empty() && input_ended_ && ended_) std::exchange(ended_, nullptr)();
  watch();
}

void ControlConnection::serve(std::uint32_t events) {
  if (events & EPOLLOUT) flush();
  if (closing_) return;
  if (reads() && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return receive();
  // It is gone: what it sent is still taken, what it was to get is not wanted any more.
  if (!(events & (EPOLLHUP | EPOLLERR))) return;
  if (finishing_ || input_ended_) return close();
  loop_.unwatch(socket_.get());
  watched_ = 0;
}

void ControlConnection::receive() {
  std::byte data[read_size];
  alignas(cmsghdr) char control[CMSG_SPACE((ControlRequest::most_descriptors + 1) * sizeof(int))];
  iovec piece{data, sizeof data};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (asked_) message.msg_control = control, message.msg_controllen = sizeof control;  // later ones are not let in
  const auto count = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  auto descriptors = received(message);
  const std::span bytes(data, count > 0 ? std::size_t(count) : 0);
  if (count <= 0) input_ended_ = true;
  if (asked_) return count <= 0 ? close() : take_request(bytes, std::move(descriptors));
  if (!take_ || count < 0) return close();
  input_.assign(bytes.begin(), bytes.end());
  offer();
}

void ControlConnection::take_request(std::span<const std::byte> bytes, std::vector<FileDescriptor> descriptors) {
  auto request = reader_.add(bytes, std::move(descriptors));
  if (request && !*request) return;
  const auto asked = std::exchange(asked_, nullptr);
  if (request)
    asked(*this, std::move(**request));
  else
    asked(*this, request.failure());
  watch();
}

void ControlConnection::flush() {
  while (!closing_ && behind() > 0) {
    const auto count =
        ::send(socket_.get(), output_.data() + sent_, output_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) sent_ += std::size_t(count);
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0 && errno != EINTR) return close();
  }
  if (behind() == 0 || sent_ > most_behind) {
    output_.erase(output_.begin(), output_.begin() + std::ptrdiff_t(sent_));
    sent_ = 0;
  }
  if (finishing_ && behind() == 0) return close();
  watch();
}

void ControlConnection::drain(int milliseconds) {
  const auto deadline = monotonic_ns() + milliseconds * 1'000'000LL;
  while (!closing_ && behind() > 0) {
    pollfd ready{socket_.get(), POLLOUT, 0};
    const auto left = (deadline - monotonic_ns()) / 1'000'000;
    if (left <= 0 || ::poll(&ready, 1, int(left)) <= 0) return;
    flush();
  }
}

void ControlConnection::watch() {
  const std::uint32_t wanted = closing_ ? 0 : (reads() ? EPOLLIN : 0U) | (behind() > 0 ? EPOLLOUT : 0U) | EPOLLERR;
  if (wanted == watched_) return;
  if (wanted != 0)
    loop_.watch(socket_.get(), wanted, [this](std::uint32_t events) { serve(events); });
  else if (watched_ != 0)
    loop_.unwatch(socket_.get());
  watched_ = wanted;
}

}  // namespace doppel
