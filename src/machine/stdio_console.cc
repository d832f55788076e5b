#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "machine/console_output.h"
#include "machine/signalled_console.h"
#include "machine/terminal.h"

namespace doppel {
namespace {

constexpr int input_descriptor = STDIN_FILENO;
constexpr std::size_t read_size = 4096;
constexpr std::size_t typed_ahead = 64 << 10;  // bytes that a terminal's user may type before the guest reads

/// Files and /dev/null are always ready and cannot be waited for (epoll_ctl(2), EPERM).
bool can_be_watched(int descriptor) {
  const FileDescriptor probe(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  return epoll_ctl(probe.get(), EPOLL_CTL_ADD, descriptor, &event) == 0;
}

class StdioConsole final : public SignalledConsole {
 public:
  StdioConsole(FileDescriptor output, EventLoop& loop, std::unique_ptr<HostSignals> signals)
      : SignalledConsole(loop, std::move(signals)),
        output_(std::move(output), loop, *signals_),
        input_open_(fcntl(input_descriptor, F_GETFD) >= 0),
        watchable_(can_be_watched(input_descriptor)) {
    if (isatty(input_descriptor)) terminal_.emplace(input_descriptor);
  }
  ~StdioConsole() override {
    restore_terminal();
    output_.drain();
  }

  void write(std::span<const std::byte> data) override { output_.write(data); }
  void set_resized(std::function<void(std::uint16_t, std::uint16_t)> resized) override {
    resized_ = std::move(resized);
  }
  void input_room() override {
    SignalledConsole::input_room();
    listen();
  }
  void start() override {
    started_ = true;
    take_terminal();
    listen();
  }
  void restore_terminal() override {
    started_ = false;
    listen();
    Terminal::restore_saved();
  }

 private:
  void handle(int signal) override;
  void take_terminal();
  void stop_for_shell();
  void report_size();
  void listen();
  bool wants_input() const;
  void read_soon();
  void read_input();
  void typed(std::span<const std::byte> data);
  void command(char letter);

  ConsoleOutput output_;
  std::optional<Terminal> terminal_;
  EscapeFilter escapes_;
  std::function<void(std::uint16_t, std::uint16_t)> resized_;
  bool input_open_, watchable_;
  bool started_ = false, background_ = false;
  bool listening_ = false;  // the descriptor is watched, or a read is posted
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

void StdioConsole::handle(int signal) {
  switch (signal) {
    case SIGWINCH:
      return report_size();
    case SIGTSTP:
      return stop_for_shell();
    case SIGCONT:
      take_terminal();
      return listen();
    default:
      restore_terminal();  // a second signal may end the process before anything else does
      return quit();
  }
}

// In the background the machine runs without input; the shell's fg sends SIGCONT.
void StdioConsole::take_terminal() {
  if (!terminal_ || !started_) return;
  background_ = !terminal_->foreground();
  if (background_) return Terminal::forget();
  terminal_->make_raw();
  report_size();
}

void StdioConsole::stop_for_shell() {
  Terminal::restore_saved();
  raise(SIGSTOP);  // SIGCONT waits for us afterwards
}

void StdioConsole::report_size() {
  if (!terminal_ || !resized_ || !started_) return;
  const auto size = terminal_->size();
  if (size.columns && size.rows) resized_(size.columns, size.rows);
}

// A terminal is always listened to, for the sake of Ctrl-A x; from elsewhere nothing is read before the guest can take
// it.
bool StdioConsole::wants_input() const {
  if (!started_ || !input_open_ || background_) return false;
  return terminal_ || input_.waiting() == 0;
}

void StdioConsole::listen() {
  const bool wanted = wants_input();
  if (wanted == listening_) return;
  if (!watchable_) {
    if (wanted) read_soon();
    return;
  }
  listening_ = wanted;
  if (wanted)
    loop_.watch(input_descriptor, EPOLLIN, [this](std::uint32_t) { read_input(); });
  else
    loop_.unwatch(input_descriptor);
}

void StdioConsole::read_soon() {
  listening_ = true;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    listening_ = false;
    if (wants_input()) read_input();
  });
}

void StdioConsole::read_input() {
  pollfd ready{input_descriptor, POLLIN, 0};
  if (poll(&ready, 1, 0) == 0) return;  // somebody else read it
  std::byte data[read_size];
  const auto count = ::read(input_descriptor, data, sizeof data);
  if (count > 0)
    typed({data, static_cast<std::size_t>(count)});
  else if (count == 0 ? !(terminal_ && ready.revents == POLLIN) : errno != EINTR && errno != EAGAIN)
    input_open_ = false;
  listen();
}

void StdioConsole::typed(std::span<const std::byte> data) {
  if (!terminal_) {
    input_.add(data);
  } else if (const auto bytes = escapes_.filter(data, [this](char letter) { command(letter); });
             input_.waiting() + bytes.size() <= typed_ahead) {
    input_.add(bytes);
  }
  input_.offer();
}

void StdioConsole::command(char letter) {
  if (letter == 'x') quit();
  if (letter == 'h' || letter == '?')
    output_.write({reinterpret_cast<const std::byte*>(terminal_help), std::strlen(terminal_help)});
}

}  // namespace

Result<std::unique_ptr<Console>> open_stdio_console(EventLoop& loop) {
  FileDescriptor output(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));  // closed: none, and output is dropped
  auto signals = HostSignals::open(loop, isatty(input_descriptor));
  if (!signals) return signals.failure();
  return std::unique_ptr<Console>(std::make_unique<StdioConsole>(std::move(output), loop, *std::move(signals)));
}

}  // namespace doppel
