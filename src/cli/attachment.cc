#include "cli/attachment.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <string>

#include "api/control_client.h"
#include "cli/command.h"
#include "machine/terminal.h"

namespace doppel {
namespace {

using nlohmann::json;

constexpr int end_patience_ms = 10'000;
constexpr std::size_t typed_ahead = 64 << 10;  // bytes that may be typed before the machine takes them
constexpr std::size_t write_size = 4096;       // what a descriptor that is ready takes without waiting
constexpr const char* help =
    "\r\n"
    "Ctrl-A h       this help\r\n"
    "Ctrl-A d       detach; the machine goes on\r\n"
    "Ctrl-A Ctrl-A  send Ctrl-A to the machine (so does Ctrl-A a)\r\n";

class Attachment {
 public:
  Attachment(const MachineEntry& machine, FileDescriptor process) : machine_(machine), process_(std::move(process)) {
    if (isatty(STDIN_FILENO)) terminal_.emplace(STDIN_FILENO);
  }
  Result<int> run();

 private:
  Result<void> connect();
  void open_signals();
  void pump();
  void take_signals();
  void take_terminal();
  void read_input();
  void command(char letter);
  void read_machine();
  void lose_connection();
  void send_typed();
  void show();
  void tell_size();
  void end(int status) { status_ = status; }
  int machine_status() const;

  const MachineEntry& machine_;
  FileDescriptor process_, signals_;
  std::optional<ControlClient> client_;
  std::optional<Terminal> terminal_;
  EscapeFilter escapes_;
  std::string typed_, shown_;  // on the way to the machine, and to standard output
  bool input_open_ = true, machine_open_ = true;
  std::optional<int> status_;
  std::string last_words_;
};

Result<void> Attachment::connect() {
  auto socket = machine_.connect();
  if (!socket) return socket.failure();
  client_.emplace(*std::move(socket), machine_.name());
  json request{{"do", "attach"}};
  if (const auto size = terminal_ ? terminal_->size() : TerminalSize(); size.columns && size.rows)
    request["columns"] = size.columns, request["rows"] = size.rows;
  auto answer = client_->ask(request);
  if (!answer) return answer.failure();
  shown_ += client_->take_rest();
  return {};
}

void Attachment::open_signals() {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&taken, signal);
  if (terminal_)
    for (const int signal : {SIGWINCH, SIGTSTP, SIGCONT}) sigaddset(&taken, signal);
  sigprocmask(SIG_BLOCK, &taken, nullptr);
  signals_ = FileDescriptor(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  std::signal(SIGPIPE, SIG_IGN);
}

Result<int> Attachment::run() {
  if (auto connected = connect(); !connected) return connected.failure();
  open_signals();
  if (terminal_) {
    print(stderr, "doppel: attached to {}: Ctrl-A D leaves it running\r\n", machine_.name());
    take_terminal();
  }
  while (!status_) pump();
  Terminal::restore_saved();
  if (terminal_ && !last_words_.empty()) print(stderr, "\ndoppel: {}\n", last_words_);
  return *status_;
}

void Attachment::pump() {
  // From a terminal commands must come through, however slow the machine is.
  const bool reads = input_open_ && (terminal_ || typed_.empty());
  const bool listens = machine_open_ && shown_.empty();
  const short machine_events = short((listens ? POLLIN : 0) | (typed_.empty() ? 0 : POLLOUT));
  pollfd ready[] = {{signals_.get(), POLLIN, 0},
                    {reads ? STDIN_FILENO : -1, POLLIN, 0},
                    {machine_open_ && machine_events ? client_->descriptor() : -1, machine_events, 0},
                    {shown_.empty() ? -1 : STDOUT_FILENO, POLLOUT, 0}};
  if (::poll(ready, 4, -1) < 0) return;
  if (ready[0].revents) take_signals();
  if (ready[1].revents) read_input();
  if (ready[2].revents & POLLOUT) send_typed();
  if (listens && ready[2].revents & (POLLIN | POLLHUP | POLLERR)) read_machine();
  if (ready[3].revents) show();
}

void Attachment::take_signals() {
  signalfd_siginfo got;
  while (::read(signals_.get(), &got, sizeof got) == sizeof got) {
    const int signal = int(got.ssi_signo);
    if (signal == SIGWINCH) {
      tell_size();
    } else if (signal == SIGTSTP) {
      Terminal::restore_saved();
      raise(SIGSTOP);  // SIGCONT waits for us afterwards
    } else if (signal == SIGCONT) {
      take_terminal();
    } else {
      end(128 + signal);
    }
  }
}

void Attachment::take_terminal() {
  if (!terminal_->foreground()) return Terminal::forget();
  terminal_->make_raw();
  tell_size();
}

/// What the machine says to it does not matter: it may be ending.
void Attachment::tell_size() {
  const auto size = terminal_->size();
  if (size.columns && size.rows)
    static_cast<void>(ask(machine_, {{"do", "resize"}, {"columns", size.columns}, {"rows", size.rows}}));
}

void Attachment::read_input() {
  std::byte data[write_size];
  const auto count = ::read(STDIN_FILENO, data, sizeof data);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    pollfd gone{STDIN_FILENO, POLLIN, 0};
    if (count == 0 && terminal_ && ::poll(&gone, 1, 0) == 0) return;  // somebody else read it
    input_open_ = false;
    if (terminal_) return end(0);
    if (typed_.empty()) ::shutdown(client_->descriptor(), SHUT_WR);
    return;
  }
  const std::span bytes(data, std::size_t(count));
  const auto keys = terminal_ ? escapes_.filter(bytes, [this](char letter) { command(letter); })
                              : std::vector(bytes.begin(), bytes.end());
  if (typed_.size() + keys.size() <= typed_ahead)
    typed_.append(reinterpret_cast<const char*>(keys.data()), keys.size());
}

void Attachment::command(char letter) {
  if (letter == 'd') {
    last_words_ = fmt::format("detached from {}, which goes on", machine_.name());
    end(0);
  }
  if (letter == 'h' || letter == '?') shown_ += help;
}

void Attachment::send_typed() {
  const auto count = ::send(client_->descriptor(), typed_.data(), typed_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count > 0) typed_.erase(0, std::size_t(count));
  if (count < 0 && errno != EAGAIN && errno != EINTR) typed_.clear();  // reading says what became of it
  if (typed_.empty() && !input_open_) ::shutdown(client_->descriptor(), SHUT_WR);
}

void Attachment::read_machine() {
  char data[64 << 10];
  const auto count = ::recv(client_->descriptor(), data, sizeof data, MSG_DONTWAIT);
  if (count > 0) shown_.append(data, std::size_t(count));
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) lose_connection();
}

/// The machine has ended, or has all that was to be typed, or was tired of waiting for us.
void Attachment::lose_connection() {
  if (!input_open_ && typed_.empty()) return end(0);
  typed_.clear();
  if (connect()) {
    shown_.insert(0, "\r\n[doppel: some of the machine's output was too fast to be shown]\r\n");
    return;
  }
  machine_open_ = false;
  const bool ended = wait_for_end(process_.get(), end_patience_ms) == ProcessEnd::ended;
  last_words_ = fmt::format("the machine {} {}", machine_.name(), ended ? "has ended" : "does not answer");
  end(ended ? machine_status() : exit_usage);
}

int Attachment::machine_status() const {
  const auto status = machine_.status();
  return status.state == MachineState::died ? exit_usage : status.exit_status;
}

void Attachment::show() {
  const auto count = ::write(STDOUT_FILENO, shown_.data(), std::min(shown_.size(), write_size));
  if (count > 0) shown_.erase(0, std::size_t(count));
  if (count < 0 && errno != EAGAIN && errno != EINTR) end(0);  // nobody reads any more
}

}  // namespace

Result<int> attach(const MachineEntry& machine) {
  auto process = machine.process();
  if (!process) return process.failure();
  return Attachment(machine, *std::move(process)).run();
}

}  // namespace doppel
