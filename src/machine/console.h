#pragma once
// Where the guest's console goes on the host.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"

namespace doppel {

/// The host's end of the guest's console. Everything is called under the device lock, and so are the callbacks, on the
/// loop's thread or from inside input_room(), never from inside write().
///
/// SIGTERM, SIGINT and SIGHUP, where they are not ignored, become the quit callback, whatever the console is: open()
/// blocks them in the calling thread and all threads that it starts later, so it comes before other threads are
/// started. A second such signal ends the process at once. SIGPIPE is ignored from open() on.
class Console {
 public:
  /// Takes a prefix of the bytes and returns its length; the rest comes again after input_room().
  using Take = std::function<std::size_t(std::span<const std::byte>)>;

  /// `spec`: "stdio"; "none"; "unix:PATH", a stream socket for one client at a time; anything else is a file for the
  /// output, which is emptied first. A bad one is an error of one sentence. The loop must outlive the console.
  static Result<std::unique_ptr<Console>> open(const std::string& spec, EventLoop& loop);

  /// Gives output to a function in this process, under the device lock. It minds no signals and reads nothing: who has
  /// it types by Machine::type().
  static std::unique_ptr<Console> in_process(std::function<void(std::span<const std::byte>)> output);

  /// Puts /dev/null in the place of standard input, output and error where they are closed, so that no disk image gets
  /// their numbers and then the guest's output. The first thing in main().
  static void reserve_standard_descriptors();

  Console() = default;
  Console(const Console&) = delete;
  /// Writes what is still buffered (unless a signal ends the machine), restores the terminal, removes the socket.
  virtual ~Console() = default;

  /// Output of the guest. It is buffered when the other end is slow; with 1 MiB in the buffer it waits, because lost
  /// output is worse than a machine that stops for it. It is dropped when the other end is gone (EPIPE, a full disk),
  /// and a client of a socket that takes nothing for 5 s is disconnected. Without a client the last 64 KiB are kept for
  /// the next.
  virtual void write(std::span<const std::byte> data) = 0;
  /// Who gets the input. Bytes that come before this wait.
  virtual void set_input(Take take) = 0;
  /// The guest can take input again.
  virtual void input_room() = 0;
  /// Called with the terminal's size in characters: at start() and at each change. Only terminals have one.
  virtual void set_resized(std::function<void(std::uint16_t columns, std::uint16_t rows)> resized) = 0;
  /// Called, perhaps more than once, when the user wants the machine to end: Ctrl-A x, or a signal (see above).
  virtual void set_quit(std::function<void()> quit) = 0;
  /// The machine runs now: a terminal becomes raw, input flows. Once, after the callbacks are set.
  virtual void start() = 0;
  /// Gives the terminal back as it was, for messages to the user; input stops. Output still works.
  virtual void restore_terminal() {}
  /// The directory in which the destructor removes a socket, or empty: for the sandbox.
  virtual std::string socket_directory() const { return {}; }
};

}  // namespace doppel
