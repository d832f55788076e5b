#include "cli/detached_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/file_descriptor.h"
#include "cli/command.h"

namespace doppel {
namespace {

constexpr char runs = '+';  // the first byte of the report; otherwise all of it is a sentence

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const auto count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) text.remove_prefix(std::size_t(count));
  }
  return true;
}

std::string read_all(int descriptor) {
  std::string text;
  char data[512];
  while (true) {
    const auto count = ::read(descriptor, data, sizeof data);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(data, std::size_t(count));
  }
}

bool leave_terminal() {
  const FileDescriptor nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return ::setsid() >= 0 && nowhere && ::dup2(nowhere.get(), STDIN_FILENO) == STDIN_FILENO &&
         ::dup2(nowhere.get(), STDOUT_FILENO) == STDOUT_FILENO && ::dup2(nowhere.get(), STDERR_FILENO) == STDERR_FILENO;
}

int be_child(FileDescriptor report, const std::function<Result<int>(const std::function<void()>&)>& work) {
  ::signal(SIGPIPE, SIG_IGN);
  if (!leave_terminal()) {
    write_all(report.get(), "cannot leave the terminal: " + std::string(std::strerror(errno)));
    return exit_usage;
  }
  const auto status = work([&] {
    // Who has nobody to tell that it runs was interrupted before: it would run without anybody's knowing.
    if (!write_all(report.get(), std::string(1, runs))) ::raise(SIGTERM);
    report = FileDescriptor();
  });
  if (status) return *status;
  if (report) write_all(report.get(), status.message());
  return exit_usage;
}

std::string describe_end(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
  return fmt::format("exit status {}", WEXITSTATUS(status));
}

}  // namespace

int run_detached(const std::function<Result<int>(const std::function<void()>&)>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return complain(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  FileDescriptor reader(ends[0]), writer(ends[1]);
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return complain(fmt::format("cannot start a process: {}", std::strerror(errno)));
  if (child == 0) {
    reader = FileDescriptor();
    return be_child(std::move(writer), work);
  }
  writer = FileDescriptor();
  const auto report = read_all(reader.get());
  if (!report.empty() && report[0] == runs) return 0;
  const auto end = describe_end(child);
  return complain(report.empty() ? fmt::format("the machine's process ended before the machine ran ({})", end)
                                 : report);
}

}  // namespace doppel
