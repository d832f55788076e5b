#pragma once
// A machine with a name: what others find it by, and ask it by, while this process runs it.
#include <functional>
#include <memory>
#include <optional>

#include "api/background_console.h"
#include "api/control_server.h"
#include "api/image_sender.h"
#include "api/runtime_folder.h"
#include "machine/host_signals.h"
#include "machine/machine.h"

namespace doppel {

/// Claims the name, makes the machine and answers requests while it runs. One in a process.
class HostedMachine {
 public:
  /// With MachineRecord::background the console is kept here (see BackgroundConsole), and SIGTERM, SIGINT and SIGHUP
  /// end the machine as if the power went off; else the console is where `config` says. `running` is called when
  /// nothing can fail any more. A machine that cannot be made leaves no name behind. With an image it is a copy of what
  /// was captured, which hears that it is another machine, of this name, and keeps in overlays of its own what it
  /// writes to disks that are neither read-only nor `snapshot` (overlay_path()).
  static Result<std::unique_ptr<HostedMachine>> create(const RuntimeFolder& folder, const MachineRecord& record,
                                                       MachineConfig config, std::function<void()> running = {},
                                                       const MachineImage* image = nullptr);
  HostedMachine(const HostedMachine&) = delete;
  /// Takes the machine down and says how it ended.
  ~HostedMachine();

  /// Machine::run(); requests are answered until it comes back.
  Result<MachineOutcome> run();
  Machine& machine() { return *machine_; }

  /// Adds what else the machine's process can be asked for; before run().
  void add(ControlVerb verb) { server_->add(std::move(verb)); }

 private:
  HostedMachine(MachineRecord record, MachineConfig config, ClaimedEntry entry)
      : record_(std::move(record)), entry_(std::move(entry)), config_(std::move(config)) {}
  Result<void> serve(std::function<void()> running);
  Result<void> keep_console();
  void add_verbs();
  Result<nlohmann::json> pause(bool wanted);
  Result<nlohmann::json> stop(ControlCall& call);
  Result<void> keep_disks(ControlRequest& request);
  Result<MachineImage> take_image(ControlRequest& request, std::vector<std::uint32_t>& hot, std::int64_t& paused_ns);
  Result<nlohmann::json> capture(ControlRequest& request);
  Result<nlohmann::json> resize(const ControlRequest& request);
  Result<nlohmann::json> attach(ControlCall& call);
  void set_state(MachineState state);
  void print_line(const std::string& line);

  MachineRecord record_;
  ClaimedEntry entry_;
  std::unique_ptr<ControlServer> server_;
  std::optional<BackgroundConsole> console_;
  std::unique_ptr<HostSignals> signals_;
  std::unique_ptr<Machine> machine_;
  MachineConfig config_;
  ImageSender sender_;
  MachineStatus status_;  // under the server's lock
  bool ran_ = false;
};

}  // namespace doppel
