#include "api/hosted_machine.h"

#include <csignal>
#include <filesystem>

#include "api/statistics_record.h"
#include "base/clock.h"
#include "snapshot/machine_description.h"
#include "storage/overlay.h"

namespace doppel {

using nlohmann::json;

namespace {

/// Those that keep what is written, and where that is kept in a copy.
std::vector<std::string> name_disks(MachineConfig& config, bool copy) {
  std::vector<std::string> kept;
  for (auto& disk : config.disks) {
    std::error_code failed;
    if (const auto whole = std::filesystem::absolute(disk.path, failed); !failed) disk.path = whole.string();
    kept.push_back(disk.keeps() ? disk.path : std::string());
    if (disk.keeps() && copy) disk.overlay = overlay_path(disk.path, config.identity);
  }
  return kept;
}

}  // namespace

Result<std::unique_ptr<HostedMachine>> HostedMachine::create(const RuntimeFolder& folder, const MachineRecord& record,
                                                             MachineConfig config, std::function<void()> running,
                                                             const MachineImage* image) {
  config.identity = record.name;
  auto named = record;
  named.disks = name_disks(config, image != nullptr);
  auto entry = folder.claim(named);
  if (!entry) return entry.failure();
  auto hosted = std::unique_ptr<HostedMachine>(new HostedMachine(named, std::move(config), *std::move(entry)));
  auto made = hosted->serve(std::move(running));
  if (made) {
    auto machine = image ? Machine::create(hosted->config_, *image) : Machine::create(hosted->config_);
    if (machine) {
      if (image) (*machine)->become(record.name);
      hosted->machine_ = std::move(*machine);
      if (hosted->console_)
        hosted->console_->set_keyboard(
            [m = hosted->machine_.get()](std::span<const std::byte> keys) { return m->type(keys); });
      return hosted;
    }
    made = machine.failure();
  }
  hosted.reset();  // says that it is gone
  static_cast<void>(folder.list());
  return made.failure();
}

Result<void> HostedMachine::serve(std::function<void()> running) {
  auto listener = entry_.listen();
  if (!listener) return listener.failure();
  auto server = ControlServer::create(*std::move(listener));
  if (!server) return server.failure();
  server_ = std::move(*server);
  std::signal(SIGPIPE, SIG_IGN);
  if (record_.background)
    if (auto kept = keep_console(); !kept) return kept;
  add_verbs();
  config_.hosting = {.serves_socket = true,
                     .start_threads =
                         [this] {
                           server_->start();
                           sender_.start();
                         },
                     .running =
                         [this, running = std::move(running)] {
                           ran_ = true;
                           std::lock_guard guard(server_->lock());
                           if (status_.state == MachineState::starting) set_state(MachineState::running);
                           if (running) running();
                         }};
  return {};
}

Result<void> HostedMachine::keep_console() {
  auto first = entry_.make_file(console_log_names[0]), second = entry_.make_file(console_log_names[1]);
  for (const auto* file : {&first, &second})
    if (!*file) return file->failure();
  std::lock_guard guard(server_->lock());
  auto signals = HostSignals::open(server_->loop(), false);
  if (!signals) return signals.failure();
  signals_ = *std::move(signals);
  signals_->set_handler([this](int signal) {
    if (HostSignals::ends_machine(signal)) machine_->power_off();
  });
  console_.emplace(server_->loop(), ConsoleLog(*std::move(first), *std::move(second)));
  server_->set_closed([this](ControlConnection& connection) { console_->detach(connection); });
  config_.console_output = [this](std::span<const std::byte> text) { console_->output(text); };
  return {};
}

void HostedMachine::add_verbs() {
  add({"info", [this](ControlCall&) -> Result<json> {
         return json{{"name", record_.name},
                     {"what", printable_text(record_.what)},
                     {"memory", record_.memory},
                     {"cpus", record_.cpus},
                     {"created", record_.created_ns},
                     {"status", describe(status_)},
                     {"overlays", machine_->disks_without_overlay()},
                     {"background", record_.background}};
       }});
  add({"stats",
       [this](ControlCall&) -> Result<json> { return json{{"statistics", statistics_json(machine_->statistics())}}; }});
  add({"pause", [this](ControlCall&) { return pause(true); }});
  add({"resume", [this](ControlCall&) { return pause(false); }});
  add({"capture", [this](ControlCall& call) { return capture(call.request); }});
  add({"balloon", [this](ControlCall& call) -> Result<json> {
         const auto bytes = call.request.number("bytes", 0, UINT64_MAX);
         if (!bytes) return bytes.failure();
         auto asked = machine_->set_memory_target(*bytes);
         return asked ? Result<json>(json::object()) : asked.failure();
       }});
  add({"stop", [this](ControlCall& call) { return stop(call); }});
  add({"resize", [this](ControlCall& call) { return resize(call.request); }});
  add({"attach", [this](ControlCall& call) { return attach(call); }});
}

Result<json> HostedMachine::pause(bool wanted) {
  wanted ? machine_->pause() : machine_->resume();
  set_state(wanted ? MachineState::paused : MachineState::running);
  return json::object();
}

/// The files for overlays that came with the request, for those disks that need one, in their order.
Result<void> HostedMachine::keep_disks(ControlRequest& request) {
  const auto disks = machine_->disks_without_overlay();
  if (request.descriptors.size() != 1 + disks.size())
    return error(
        "a machine is captured into one file, which comes with the request, and an empty one for each disk that keeps "
        "what is written and has no overlay yet: {}",
        disks.size());
  for (std::size_t n = 0; n < disks.size(); n++) {
    const auto path = overlay_path(config_.disks[disks[n]].path, record_.name);
    if (auto kept = machine_->keep_disk(disks[n], std::move(request.descriptors[1 + n]), path); !kept) return kept;
  }
  return {};
}

Result<MachineImage> HostedMachine::take_image(ControlRequest& request, std::vector<std::uint32_t>& hot,
                                               std::int64_t& paused_ns) {
  machine_->flush_disks();
  const auto begin = monotonic_ns();
  machine_->pause();
  auto kept = keep_disks(request);
  if (kept) hot = machine_->hot_pages();
  auto image = kept ? machine_->capture() : kept.failure();
  if (status_.state != MachineState::paused) machine_->resume();  // also of one that is just starting
  paused_ns = monotonic_ns() - begin;
  return image;
}

/// Into the memory file that came with the request: whoever asked maps it, and finds the pages in it as they come.
Result<json> HostedMachine::capture(ControlRequest& request) {
  if (request.descriptors.empty()) return error("a machine is captured into a file, which comes with the request");
  if (sender_.full())
    return error("{} copies of the machine are being written already: try again in a moment", ImageSender::most);
  std::vector<std::uint32_t> hot;
  std::int64_t paused = 0;
  auto image = take_image(request, hot, paused);
  if (!image) return image.failure();
  const auto description = describe_machine(config_, image->disks);
  auto writer = TransferWriter::begin(request.descriptors[0], *std::move(image), description, hot);
  if (!writer) return writer.failure();
  sender_.send(*std::move(writer));
  return json{{"paused", paused}};
}

/// The board has no power button yet: a guest that could be asked would be asked here, and the power go off when it has
/// not ended in time.
Result<json> HostedMachine::stop(ControlCall& call) {
  call.then = [this, &connection = call.connection] {
    machine_->power_off();
    connection.finish();
  };
  return json::object();
}

Result<json> HostedMachine::resize(const ControlRequest& request) {
  const auto columns = request.number("columns", 1, 0xffff), rows = request.number("rows", 1, 0xffff);
  if (!columns) return columns.failure();
  if (!rows) return rows.failure();
  machine_->resize_console(std::uint16_t(*columns), std::uint16_t(*rows));
  return json::object();
}

Result<json> HostedMachine::attach(ControlCall& call) {
  if (!console_)
    return error("the machine '{}' runs in the foreground: its console is where it was started", record_.name);
  if (call.request.arguments.contains("columns"))
    if (auto resized = resize(call.request); !resized) return resized;
  call.then = [this, &connection = call.connection] { console_->attach(connection); };
  return json::object();
}

void HostedMachine::set_state(MachineState state) {
  status_.state = state;
  entry_.set_status(status_);
}

void HostedMachine::print_line(const std::string& line) {
  const auto whole = "\r\n" + line + "\r\n";
  console_->output(std::as_bytes(std::span(whole)));
}

Result<MachineOutcome> HostedMachine::run() {
  auto outcome = machine_->run();
  server_->stop();
  std::lock_guard guard(server_->lock());
  if (console_) {
    // A process in the background has nobody else to tell.
    if (!outcome) print_line("doppel: " + outcome.message());
    console_->finish();
  }
  status_ = {.state = MachineState::exited, .exit_status = outcome ? outcome->status : 2};
  return outcome;
}

HostedMachine::~HostedMachine() {
  if (server_) server_->stop();
  machine_.reset();
  if (server_) {
    std::lock_guard guard(server_->lock());
    if (console_ && record_.remove) console_->clear_log();
    signals_.reset();
  }
  status_.state = MachineState::exited;
  status_.gone = !ran_;
  entry_.set_status(status_);
}

}  // namespace doppel
