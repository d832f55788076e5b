#pragma once
// Guests for the tests of consoles: in this process or in one of their own, with the descriptors that a test wants.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <utmp.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "machine/console.h"

namespace doppel {

inline constexpr int deadline_ms = 20'000;

inline std::span<const std::byte> bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// Reads until `wanted` is there, the other end closes or the deadline passes; returns all.
inline std::string read_until(int fd, std::string_view wanted) {
  std::string got;
  const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
  while (got.find(wanted) == got.npos && monotonic_ns() < end) {
    pollfd ready{fd, POLLIN, 0};
    if (poll(&ready, 1, 100) <= 0) continue;
    char data[65536];
    const auto count = ::read(fd, data, sizeof data);
    if (count <= 0) break;
    got.append(data, static_cast<std::size_t>(count));
  }
  return got;
}

inline void send(int fd, std::string_view data) {
  while (!data.empty()) {
    const auto count = ::write(fd, data.data(), data.size());
    ASSERT_GT(count, 0) << std::strerror(errno);
    data.remove_prefix(static_cast<std::size_t>(count));
  }
}

/// A guest that says on its console what happens to it: "ready", "size 80x24", and input in brackets.
struct Guest {
  std::recursive_mutex lock;
  std::unique_ptr<EventLoop> loop = *EventLoop::create(lock);
  std::unique_ptr<Console> console;
  std::size_t appetite = SIZE_MAX;  // bytes that it takes at once
  std::function<void()> at_start;

  explicit Guest(const std::string& spec) {
    auto opened = Console::open(spec, *loop);
    if (!opened) {
      std::fprintf(stderr, "%s\n", opened.message().c_str());
      std::abort();
    }
    console = *std::move(opened);
    console->set_input([this](std::span<const std::byte> data) { return take(data); });
    console->set_resized(
        [this](std::uint16_t columns, std::uint16_t rows) { say(fmt::format("size {}x{}\n", columns, rows)); });
    console->set_quit([this] { loop->stop(); });
  }
  void say(std::string_view what) { console->write(bytes(what)); }
  std::size_t take(std::span<const std::byte> data) {
    const auto some = data.first(std::min(appetite, data.size()));
    say("[" + text(some) + "]");
    if (some.size() < data.size()) loop->post([this] { console->input_room(); });
    return some.size();
  }
  void run() {
    loop->post([this] {
      console->start();
      say("ready\n");
      if (at_start) at_start();
    });
    loop->run();
    std::lock_guard guard(lock);
    console.reset();
  }
};

/// A process with a guest on its standard input and output.
class Process {
 public:
  /// Runs `body` in a new process with these as standard input and output (-1: closed), or on the terminal `in`.
  void start(int in, int out, const std::function<void()>& body, bool terminal = false) {
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ != 0) return;
    alarm(60);
    if (terminal) {
      login_tty(in);  // also closes it
    } else {
      in < 0 ? close(0) : dup2(in, 0);
      out < 0 ? close(1) : dup2(out, 1);
      closefrom(3);
    }
    body();
    _exit(0);
  }
  ~Process() {
    if (pid_ > 0) kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  /// Its exit status, or minus the signal that ended it.
  int wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

struct Pipe {
  FileDescriptor read, write;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == 0) read = FileDescriptor(ends[0]), write = FileDescriptor(ends[1]);
  }
};

inline std::string content(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

/// A guest in this process, whose loop has a thread.
class Running {
 public:
  explicit Running(const std::string& spec) : guest(spec), thread_([this] { guest.run(); }) {}
  ~Running() { end(); }
  void end() {
    guest.loop->stop();
    if (thread_.joinable()) thread_.join();
  }
  void say(std::string_view what) {
    std::lock_guard guard(guest.lock);
    guest.say(what);
  }
  Guest guest;

 private:
  std::thread thread_;
};

}  // namespace doppel
