#pragma once
// The user's terminal: raw while the machine runs, and given back whatever happens.
#include <termios.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace doppel {

/// A size in characters; 0 by 0 is unknown.
struct TerminalSize {
  std::uint16_t columns = 0, rows = 0;
};

/// The terminal that is standard input. At most one in a process, because signal handlers and exit handlers restore it.
class Terminal {
 public:
  /// `descriptor` is a terminal and outlives this.
  explicit Terminal(int descriptor) : descriptor_(descriptor) {}
  Terminal(const Terminal&) = delete;
  ~Terminal() { restore_saved(); }

  /// Every byte passes as it is, in both directions, and reads do not wait. Restored by restore_saved(), at exit(), and
  /// by signals that end the process where nobody else handles them.
  void make_raw();
  /// Gives it back as it was before make_raw(). May be called in a signal handler; does nothing where nothing is to be
  /// done.
  static void restore_saved();
  /// Forgets that it is raw: a shell has it now.
  static void forget();
  /// Whether the process may use the terminal now, or a shell has put it in the background.
  bool foreground() const;
  TerminalSize size() const;

 private:
  int descriptor_;
};

/// Takes the user's commands out of what is typed: Ctrl-A and a letter, as in QEMU.
class EscapeFilter {
 public:
  static constexpr std::byte escape{1};  // Ctrl-A
  /// Calls `command` with the letter after each escape, in order and in lower case; returns what is for the guest.
  /// Ctrl-A a and Ctrl-A Ctrl-A are a Ctrl-A for the guest.
  std::vector<std::byte> filter(std::span<const std::byte> typed, const std::function<void(char)>& command);

 private:
  bool escaped_ = false;
};

/// What Ctrl-A h prints.
extern const char* const terminal_help;

}  // namespace doppel
