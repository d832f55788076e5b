#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>

#include "api/console_log.h"
#include "cli/named_machines.h"

namespace doppel {
namespace {

struct LogOptions {
  std::string name;
  bool follow = false;
  std::optional<std::uint64_t> tail;
};

/// False when nobody reads any more.
bool put(std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto count = ::write(STDOUT_FILENO, data.data(), data.size());
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) data = data.subspan(std::size_t(count));
  }
  return true;
}

std::string so_far(ConsoleLogReader& log) {
  std::string text;
  log.read([&](std::span<const std::byte> piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return text;
}

/// Waits until one of the log's files changes, or the process ends. What waits already is taken in one go.
void wait_for_more(const FileDescriptor& changes, const FileDescriptor& process, bool& ended) {
  pollfd ready[] = {{changes.get(), POLLIN, 0}, {process.get(), POLLIN, 0}};
  if (::poll(ready, 2, -1) < 0) return;
  ended = ready[1].revents != 0;
  char events[4096];
  if (ready[0].revents) [[maybe_unused]]
    const auto taken = ::read(changes.get(), events, sizeof events);
}

Result<FileDescriptor> watch_log(const MachineEntry& machine) {
  FileDescriptor changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  for (const char* name : console_log_names) {
    const auto path = fmt::format("/proc/self/fd/{}/{}", machine.folder(), name);
    if (!changes || ::inotify_add_watch(changes.get(), path.c_str(), IN_MODIFY) < 0)
      return error("cannot follow the log of '{}': {}", machine.name(), std::strerror(errno));
  }
  return changes;
}

Result<void> follow(const MachineEntry& machine, ConsoleLogReader& log) {
  const auto process = machine.process();
  if (!process) return {};  // it has ended since
  const auto changes = watch_log(machine);
  if (!changes) return changes.failure();
  bool read = true, ended = false;
  const auto pass_on = [&](std::span<const std::byte> piece) { read = read && put(piece); };
  while (read && !ended) {
    log.read(pass_on);
    if (read) wait_for_more(*changes, *process, ended);
  }
  log.read(pass_on);
  return {};
}

Result<void> print_log(const MachineEntry& machine, const LogOptions& options) {
  const auto& record = machine.record();
  if (!record) return record.failure();
  if (!record->background)
    return error("the machine '{}' keeps no log: its console is where it was started with doppel run", machine.name());
  auto log = ConsoleLogReader::open(machine.folder());
  if (!log) return log.failure();
  std::signal(SIGPIPE, SIG_IGN);
  const auto text = so_far(*log);
  const auto shown = options.tail ? last_lines(text, *options.tail) : std::string_view(text);
  if (!put(std::as_bytes(std::span(shown))) || !options.follow) return {};
  return follow(machine, *log);
}

}  // namespace

void add_logs(CLI::App& program, Action& action) {
  auto options = std::make_shared<LogOptions>();
  auto* verb = program.add_subcommand("logs", "Print what a machine in the background has printed on its console");
  verb->add_option("NAME", options->name, "The machine")->required();
  verb->add_flag("-f,--follow", options->follow, "Go on until the machine ends");
  verb->add_option("--tail", options->tail, "Begin with the last N lines")->type_name("N");
  verb->footer("The last 8 to 16 MiB are kept.");
  verb->callback([options, &action] {
    action = [options] {
      return for_each_machine({options->name}, [options](const RuntimeFolder&, const MachineEntry& machine) {
        return print_log(machine, *options);
      });
    };
  });
}

}  // namespace doppel
