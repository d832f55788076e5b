#pragma once
// Asks a machine's process for something.
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "api/runtime_folder.h"

namespace doppel {

/// One connection, for one request.
class ControlClient {
 public:
  static constexpr int patience_ms = 15'000;  // for the answer

  /// To a machine's control socket, as MachineEntry::connect() gives it. `name` is for errors.
  ControlClient(FileDescriptor socket, std::string name) : socket_(std::move(socket)), name_(std::move(name)) {}
  /// Errors are the machine's own, or say that it does not answer. The descriptors are passed on; they stay the
  /// caller's.
  Result<nlohmann::json> ask(const nlohmann::json& request, std::span<const int> descriptors = {});
  /// What has come behind the answer; once.
  std::string take_rest() { return std::move(received_); }
  int descriptor() const { return socket_.get(); }

 private:
  Result<void> send(const std::string& line, std::span<const int> descriptors);
  bool wait(short events, std::int64_t deadline_ns) const;

  FileDescriptor socket_;
  std::string name_, received_;
};

/// Connects, asks and hangs up.
Result<nlohmann::json> ask(const MachineEntry& machine, const nlohmann::json& request);

/// How waiting for the end of a process went.
enum class ProcessEnd : std::uint8_t { ended, still_there };
/// Waits until the process of MachineEntry::process() has ended.
ProcessEnd wait_for_end(int process, int milliseconds);
/// Ends it at once (SIGKILL).
Result<void> end_process(int process);

}  // namespace doppel
