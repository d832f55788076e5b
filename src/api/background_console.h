#pragma once
// The console of a machine that runs in the background: a log, who is attached, and what a newcomer is shown.
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "api/console_log.h"
#include "api/control_connection.h"

namespace doppel {

/// Everything but output() is called under the loop's lock.
class BackgroundConsole {
 public:
  static constexpr std::size_t most_recent = 64 << 10;  // bytes that who attaches is shown

  /// The loop must outlive it.
  BackgroundConsole(EventLoop& loop, ConsoleLog log) : loop_(loop), log_(std::move(log)) {}
  BackgroundConsole(const BackgroundConsole&) = delete;

  /// What the guest prints; for MachineConfig::console_output. Any thread. Does not wait for clients: who is 1 MiB
  /// behind is disconnected.
  void output(std::span<const std::byte> data);
  /// Where what clients type goes, which takes as much as it can; before the first attach().
  void set_keyboard(ControlConnection::Take keyboard) { keyboard_ = std::move(keyboard); }
  /// From now on the connection carries the console, both ways.
  void attach(ControlConnection& connection);
  /// The connection goes.
  void detach(const ControlConnection& connection);
  /// Writes what is left, to the log and, for as long as a second, to the clients; when the machine has ended.
  void finish();
  /// Nobody wants the log: it becomes empty.
  void clear_log();

 private:
  void distribute();
  void remember(std::span<const std::byte> data);
  std::size_t type(std::span<const std::byte> keys);
  void type_later();
  void type_again();

  EventLoop& loop_;
  ControlConnection::Take keyboard_;
  std::vector<ControlConnection*> clients_;
  std::vector<std::byte> recent_;
  std::int64_t retry_ns_ = 0;
  bool retrying_ = false;

  std::mutex lock_;  // for what follows; nothing else is locked under it
  ConsoleLog log_;
  std::vector<std::byte> printed_;  // goes to the log and the clients on the loop's thread
  std::size_t logged_ = 0;          // bytes of it that are in the log already
  bool clients_lost_some_ = false;
};

}  // namespace doppel
