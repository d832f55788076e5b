#include "api/control_client.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "api/control_request.h"
#include "base/clock.h"

namespace doppel {
namespace {

constexpr std::size_t longest_answer = 4 << 20;

}  // namespace

bool ControlClient::wait(short events, std::int64_t deadline_ns) const {
  while (true) {
    pollfd ready{socket_.get(), events, 0};
    const auto left = (deadline_ns - monotonic_ns()) / 1'000'000;
    const int count = ::poll(&ready, 1, int(std::max<std::int64_t>(0, left)));
    if (count >= 0 || errno != EINTR) return count > 0;
  }
}

Result<void> ControlClient::send(const std::string& line, std::span<const int> descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {};
  iovec piece{const_cast<char*>(line.data()), line.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (descriptors.size() > 16) return error("at most 16 descriptors can be passed");
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    auto* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(part), descriptors.data(), descriptors.size_bytes());
  }
  const auto deadline = monotonic_ns() + patience_ms * 1'000'000LL;
  while (piece.iov_len > 0) {
    const auto count = ::sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN && wait(POLLOUT, deadline)) continue;
    if (count < 0) break;  // what the machine answered, if it did, can still be read
    piece.iov_base = static_cast<char*>(piece.iov_base) + count;
    piece.iov_len -= std::size_t(count);
    message.msg_control = nullptr, message.msg_controllen = 0;
  }
  return {};
}

Result<nlohmann::json> ControlClient::ask(const nlohmann::json& request, std::span<const int> descriptors) {
  const auto line = request.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
  if (auto sent = send(line, descriptors); !sent) return sent.failure();
  const auto deadline = monotonic_ns() + patience_ms * 1'000'000LL;
  char data[4096];
  while (true) {
    if (const auto end = received_.find('\n'); end != received_.npos) {
      auto answer = parse_answer(std::string_view(received_).substr(0, end));
      received_.erase(0, end + 1);
      return answer;
    }
    if (!wait(POLLIN, deadline))
      return error("the machine '{}' does not answer: its process may be stopped, or its terminal", name_);
    const auto count = ::recv(socket_.get(), data, sizeof data, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) return error("the machine '{}' ended without an answer", name_);
    received_.append(data, std::size_t(count));
    if (received_.size() > longest_answer) return error("the machine '{}' answers without an end", name_);
  }
}

Result<nlohmann::json> ask(const MachineEntry& machine, const nlohmann::json& request) {
  auto socket = machine.connect();
  if (!socket) return socket.failure();
  return ControlClient(*std::move(socket), machine.name()).ask(request);
}

ProcessEnd wait_for_end(int process, int milliseconds) {
  const auto deadline = monotonic_ns() + milliseconds * 1'000'000LL;
  while (true) {
    pollfd ready{process, POLLIN, 0};
    const auto left = std::max<std::int64_t>(0, (deadline - monotonic_ns()) / 1'000'000);
    const int count = ::poll(&ready, 1, int(left));
    if (count > 0) return ProcessEnd::ended;
    if (count == 0) return ProcessEnd::still_there;
  }
}

Result<void> end_process(int process) {
  if (::syscall(SYS_pidfd_send_signal, process, SIGKILL, nullptr, 0) != 0 && errno != ESRCH)
    return error("cannot end the machine's process: {}", std::strerror(errno));
  return {};
}

}  // namespace doppel
