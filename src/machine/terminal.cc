#include "machine/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <csignal>
#include <cstdlib>

namespace doppel {
namespace {

// What signal and exit handlers restore. `saved` is written before `raw` becomes true.
std::atomic<bool> raw = false;
std::atomic<int> saved_descriptor = -1;
termios saved;

// Signals that end the process and that no one waits for: our own bugs, and SIGQUIT.
constexpr int fatal_signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGQUIT};

// The handler is reset (SA_RESETHAND), so the signal's own effect follows: abort() raises it again, the faulting
// instruction faults again.
void restore_and_end(int signal) {
  Terminal::restore_saved();
  if (signal == SIGQUIT) raise(signal);
}

void restore_at_end() {
  static bool once = [] {
    std::atexit(Terminal::restore_saved);
    for (const int signal : fatal_signals) {
      struct sigaction action{};
      if (sigaction(signal, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) continue;
      action.sa_handler = restore_and_end;
      action.sa_flags = static_cast<int>(SA_RESETHAND);
      sigaction(signal, &action, nullptr);
    }
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

const char* const terminal_help =
    "\r\n"
    "Ctrl-A h       this help\r\n"
    "Ctrl-A x       end the machine, as if its power went off\r\n"
    "Ctrl-A Ctrl-A  send Ctrl-A to the machine (so does Ctrl-A a)\r\n";

void Terminal::make_raw() {
  // Raw already: it was stopped by SIGSTOP, and a shell may have changed the terminal since.
  if (!raw && tcgetattr(descriptor_, &saved) != 0) return;
  restore_at_end();
  termios mode = saved;
  cfmakeraw(&mode);
  mode.c_cc[VMIN] = 0;  // another process may read what poll() saw
  mode.c_cc[VTIME] = 0;
  saved_descriptor = descriptor_;
  raw = true;
  if (tcsetattr(descriptor_, TCSANOW, &mode) != 0) raw = false;
}

void Terminal::restore_saved() {
  if (raw.exchange(false)) tcsetattr(saved_descriptor, TCSANOW, &saved);
}

void Terminal::forget() { raw = false; }

bool Terminal::foreground() const {
  const pid_t group = tcgetpgrp(descriptor_);
  return group < 0 || group == getpgrp();  // < 0: not our controlling terminal, so no shell switches it
}

TerminalSize Terminal::size() const {
  winsize size{};
  if (ioctl(descriptor_, TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_col, size.ws_row};
}

std::vector<std::byte> EscapeFilter::filter(std::span<const std::byte> typed,
                                            const std::function<void(char)>& command) {
  std::vector<std::byte> out;
  for (const std::byte byte : typed) {
    if (!escaped_) {
      if (byte == escape)
        escaped_ = true;
      else
        out.push_back(byte);
      continue;
    }
    escaped_ = false;
    const auto letter = static_cast<char>(std::tolower(std::to_integer<int>(byte)));
    if (byte == escape || letter == 'a')
      out.push_back(escape);
    else
      command(letter);
  }
  return out;
}

}  // namespace doppel
