#pragma once
// The host's signals to a running machine, as events of its loop.
#include <csignal>
#include <functional>
#include <memory>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/result.h"

namespace doppel {

/// Blocks signals in the calling thread (and threads that it starts later) and turns them into calls on the loop's
/// thread. SIGTERM, SIGINT and SIGHUP ask the machine to end; those that are ignored (nohup) stay so. The destructor
/// restores what was. One at a time in a process.
class HostSignals {
 public:
  /// `terminal`: also SIGWINCH, SIGTSTP and SIGCONT.
  static Result<std::unique_ptr<HostSignals>> open(EventLoop& loop, bool terminal);
  HostSignals(const HostSignals&) = delete;
  ~HostSignals();

  void set_handler(std::function<void(int signal)> handler) { handler_ = std::move(handler); }
  static bool ends_machine(int signal) { return signal == SIGTERM || signal == SIGINT || signal == SIGHUP; }
  /// A signal to end has come. Another one, a second later or more, ends the process at once, whatever it is doing.
  bool ending() const { return ending_; }
  /// For who waits with the device lock: readable when signals wait for collect(), which hands them to the loop.
  int descriptor() const { return descriptor_.get(); }
  void collect();

 private:
  HostSignals(EventLoop& loop) : loop_(loop) {}
  void handle(int signal);
  void let_second_end();

  EventLoop& loop_;
  FileDescriptor descriptor_;
  sigset_t taken_{}, before_{};
  std::function<void(int)> handler_;
  bool ending_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace doppel
