#pragma once
#include <memory>
#include <utility>

#include "machine/console.h"
#include "machine/console_input.h"
#include "machine/host_signals.h"

namespace doppel {

/// What all consoles have: signals that end the machine, and a queue of input.
class SignalledConsole : public Console {
 public:
  SignalledConsole(EventLoop& loop, std::unique_ptr<HostSignals> signals) : loop_(loop), signals_(std::move(signals)) {
    signals_->set_handler([this](int signal) { handle(signal); });
  }
  void set_quit(std::function<void()> quit) override { quit_ = std::move(quit); }
  void set_input(Take take) override {
    input_.set_take(std::move(take));
    input_.offer();
  }
  void input_room() override { input_.offer(); }
  void set_resized(std::function<void(std::uint16_t, std::uint16_t)>) override {}
  void start() override {}

 protected:
  virtual void handle(int signal) {
    if (HostSignals::ends_machine(signal)) quit();
  }
  void quit() {
    if (quit_) quit_();
  }

  EventLoop& loop_;
  std::unique_ptr<HostSignals> signals_;
  ConsoleInput input_;

 private:
  std::function<void()> quit_;
};

/// The process's standard input and output; see Console::open().
Result<std::unique_ptr<Console>> open_stdio_console(EventLoop& loop);
/// A listening stream socket in the file system.
Result<std::unique_ptr<Console>> open_socket_console(const std::string& path, EventLoop& loop);

}  // namespace doppel
