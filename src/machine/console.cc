#include "machine/console.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "machine/console_output.h"
#include "machine/signalled_console.h"

namespace doppel {
namespace {

class SilentConsole final : public SignalledConsole {
 public:
  using SignalledConsole::SignalledConsole;
  void write(std::span<const std::byte>) override {}
};

class FileConsole final : public SignalledConsole {
 public:
  FileConsole(FileDescriptor file, EventLoop& loop, std::unique_ptr<HostSignals> signals)
      : SignalledConsole(loop, std::move(signals)), output_(std::move(file), loop, *signals_) {}
  ~FileConsole() override { output_.drain(); }
  void write(std::span<const std::byte> data) override { output_.write(data); }

 private:
  ConsoleOutput output_;
};

class InProcessConsole final : public Console {
 public:
  explicit InProcessConsole(std::function<void(std::span<const std::byte>)> output) : output_(std::move(output)) {}
  void write(std::span<const std::byte> data) override { output_(data); }
  void set_input(Take) override {}
  void input_room() override {}
  void set_resized(std::function<void(std::uint16_t, std::uint16_t)>) override {}
  void set_quit(std::function<void()>) override {}
  void start() override {}

 private:
  std::function<void(std::span<const std::byte>)> output_;
};

Result<std::unique_ptr<Console>> open_silent(EventLoop& loop) {
  auto signals = HostSignals::open(loop, false);
  if (!signals) return signals.failure();
  return std::unique_ptr<Console>(std::make_unique<SilentConsole>(loop, *std::move(signals)));
}

Result<std::unique_ptr<Console>> open_file(const std::string& path, EventLoop& loop) {
  if (path.empty()) return error("--console needs stdio, none, unix:PATH or the name of a file");
  // O_NONBLOCK: a FIFO that nobody reads would stop us here.
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666));
  if (!file && errno == ENXIO) return error("nobody reads from {}; start its reader first", path);
  if (!file) return error("cannot write the console's output to {}: {}", path, std::strerror(errno));
  auto signals = HostSignals::open(loop, false);
  if (!signals) return signals.failure();
  return std::unique_ptr<Console>(std::make_unique<FileConsole>(std::move(file), loop, *std::move(signals)));
}

}  // namespace

Result<std::unique_ptr<Console>> Console::open(const std::string& spec, EventLoop& loop) {
  constexpr std::string_view socket_prefix = "unix:";
  std::signal(SIGPIPE, SIG_IGN);
  if (spec == "stdio") return open_stdio_console(loop);
  if (spec == "none") return open_silent(loop);
  if (spec.starts_with(socket_prefix)) return open_socket_console(spec.substr(socket_prefix.size()), loop);
  return open_file(spec, loop);
}

std::unique_ptr<Console> Console::in_process(std::function<void(std::span<const std::byte>)> output) {
  return std::make_unique<InProcessConsole>(std::move(output));
}

void Console::reserve_standard_descriptors() {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && ::open("/dev/null", O_RDWR) != fd) return;
}

}  // namespace doppel
