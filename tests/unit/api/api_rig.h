#pragma once
// A runtime folder of the test's own, and sockets to talk through.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "api/runtime_folder.h"
#include "base/clock.h"

namespace doppel::test {

inline constexpr int deadline_ms = 60'000;

inline std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

class InFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "api-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    top_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(top_); }
  RuntimeFolder runtime() {
    auto folder = RuntimeFolder::open((top_ / "run").string());
    EXPECT_TRUE(folder) << folder.message();
    return *std::move(folder);
  }
  std::filesystem::path machine(const std::string& name) { return top_ / "run/machines" / name; }
  static void write(const std::filesystem::path& file, const std::string& text) { std::ofstream(file) << text; }

  std::filesystem::path top_;
};

/// In a process of its own; its exit status.
inline pid_t in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  return child;
}
inline int status_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// Reads until `wanted` is there, or the other end closes; all of it.
inline std::string read_until(int socket, std::string_view wanted) {
  std::string got;
  const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
  while (socket >= 0 && got.find(wanted) == got.npos && monotonic_ns() < end) {
    pollfd ready{socket, POLLIN, 0};
    if (::poll(&ready, 1, 100) <= 0) continue;
    char data[65536];
    const auto count = ::recv(socket, data, sizeof data, MSG_DONTWAIT);
    if (count <= 0) break;
    got.append(data, std::size_t(count));
  }
  return got;
}
inline std::string read_to_end(int socket) { return read_until(socket, std::string_view("\0never", 6)); }

}  // namespace doppel::test
