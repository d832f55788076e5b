#include "machine/console_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace doppel {
namespace {

/// A second opening of a pipe or a terminal, with flags of its own; none where that is not possible.
FileDescriptor open_again(int descriptor) {
  const auto path = fmt::format("/proc/self/fd/{}", descriptor);
  return FileDescriptor(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

ConsoleOutput::ConsoleOutput(FileDescriptor descriptor, EventLoop& loop, HostSignals& signals, int patience_ms)
    : descriptor_(std::move(descriptor)), loop_(loop), signals_(signals), patience_ms_(patience_ms) {
  struct stat status{};
  if (!descriptor_ || fstat(descriptor_.get(), &status) != 0) {
    gone_ = true;
    return;
  }
  socket_ = S_ISSOCK(status.st_mode);
  if (!S_ISFIFO(status.st_mode) && !isatty(descriptor_.get())) return;
  may_block_ = true;
  if (auto again = open_again(descriptor_.get())) {
    descriptor_ = std::move(again);
    may_block_ = false;
  }
}

ConsoleOutput::~ConsoleOutput() { give_up(); }

void ConsoleOutput::write(std::span<const std::byte> data) {
  if (empty()) data = data.subspan(put(data));
  if (gone_ || data.empty()) return;
  buffer_.insert(buffer_.end(), data.begin(), data.end());
  while (buffer_.size() - sent_ > limit && wait_for_room()) flush();
  watch();
}

void ConsoleOutput::drain() {
  flush();
  while (!empty() && wait_for_room()) flush();
}

/// Writes a prefix of `data` and returns its length, without waiting.
std::size_t ConsoleOutput::put(std::span<const std::byte> data) {
  std::size_t done = 0;
  while (!gone_ && done < data.size()) {
    auto rest = data.subspan(done);
    if (may_block_) {
      // What poll() promises is room for PIPE_BUF bytes (a terminal: for some, and it may wait for the others).
      pollfd ready{descriptor_.get(), POLLOUT, 0};
      if (poll(&ready, 1, 0) != 1) break;
      rest = rest.first(std::min<std::size_t>(rest.size(), PIPE_BUF));
    }
    const auto count = socket_ ? ::send(descriptor_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
                               : ::write(descriptor_.get(), rest.data(), rest.size());
    if (count >= 0) {
      done += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      give_up();
    }
  }
  return done;
}

void ConsoleOutput::flush() {
  sent_ += put(std::span(buffer_).subspan(sent_));
  if (gone_ || empty()) {
    buffer_.clear();
    sent_ = 0;
  } else if (sent_ >= limit) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  watch();
}

bool ConsoleOutput::wait_for_room() {
  if (gone_) return false;
  pollfd ready[] = {{descriptor_.get(), POLLOUT, 0}, {signals_.descriptor(), POLLIN, 0}};
  const int count = signals_.ending() ? 0 : poll(ready, 2, patience_ms_);
  if (count < 0 && errno == EINTR) return true;
  if (count > 0 && ready[1].revents) signals_.collect();
  if (count > 0 && !signals_.ending()) return true;
  give_up();  // no progress, or the user wants the machine to end
  return false;
}

void ConsoleOutput::give_up() {
  gone_ = true;
  buffer_.clear();
  sent_ = 0;
  watch();
}

void ConsoleOutput::watch() {
  const bool wanted = !gone_ && !empty();
  if (wanted == watched_) return;
  watched_ = wanted;
  if (wanted)
    loop_.watch(descriptor_.get(), EPOLLOUT, [this](std::uint32_t) { flush(); });
  else
    loop_.unwatch(descriptor_.get());
}

}  // namespace doppel
