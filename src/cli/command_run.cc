#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "api/hosted_machine.h"
#include "base/clock.h"
#include "cli/cache_folder.h"
#include "cli/command.h"
#include "cli/detached_process.h"
#include "cli/image_store.h"
#include "cli/named_machines.h"
#include "cli/snapshot_folder.h"
#include "cli/statistics_text.h"
#include "machine/byte_size.h"
#include "machine/machine.h"

namespace doppel {
namespace {

struct RunOptions {
  std::string image, memory = "2G", network = "user", mac, engine = Engine::supported() ? "optimizing" : "interpreter",
                     clock = "host", code_cache, code_cache_size = "256M";
  std::vector<std::string> disks, ports, dumps;
  bool snapshot = false, no_sandbox = false, statistics = false;
  std::string name, from;
  std::optional<SavedMachine> saved;  // --from
  bool detach = false, remove = false, console_given = false;
  bool bare = false;  // a kernel or firmware in the place of an image
  MachineConfig config;
};

/// Nothing is opened for a run that does not come to translating.
Result<void> apply_code_cache(RunOptions& o) {
  auto& c = o.config;
  const auto size = parse_byte_size(o.code_cache_size);
  if (!size) return size.failure();
  if (*size < (16ULL << 20) || *size > (1ULL << 30))
    return error("--code-cache-size is {}, and must be 16M to 1G", o.code_cache_size);
  c.code_cache = c.code_store.limit = *size;
  if (o.code_cache == "none" || o.engine == "interpreter" || !c.dump_dtb.empty()) return {};
  c.code_store.must = !o.code_cache.empty();
  c.code_store.folder = o.code_cache;
  if (!c.code_store.must) use_code_cache(c);
  return {};
}

Result<void> apply_name(RunOptions& o) {
  if (o.detach && o.console_given && o.config.console == "stdio")
    return error("--detach leaves the terminal: leave --console stdio away, and use doppel attach");
  if (o.detach && o.statistics)
    return error("--stats prints at the end, when nobody looks at a detached machine: use doppel stats");
  if (o.remove && o.name.empty() && !o.detach) return error("--rm is for machines with a --name");
  if (!o.name.empty() && !sound_machine_name(o.name))
    return error("'{}' is no name for a machine: use letters, digits, '.', '_' and '-'", printable_text(o.name));
  return {};
}

/// The machine is the snapshot's; what belongs to this run stays.
Result<void> apply_snapshot(RunOptions& o) {
  auto saved = load_snapshot(o.from);
  if (!saved) return saved.failure();
  o.saved = *std::move(saved);
  auto config = o.saved->config;
  const auto& run = o.config;
  for (auto& disk : config.disks) disk.snapshot |= o.snapshot;
  config.console = run.console, config.ports = run.ports, config.engine = run.engine, config.sandbox = run.sandbox;
  config.code_cache = run.code_cache, config.code_store = run.code_store, config.reports = run.reports;
  if (!config.ports.empty() && config.network != NetworkKind::user)
    return error("--publish needs the host's network, and the machine of the snapshot '{}' has another", o.from);
  o.config = std::move(config);
  return {};
}

/// Brings the pages that were hot from the snapshot while the machine is made and begins. Its thread comes before the
/// sandbox.
std::jthread prefetch(const RunOptions& o) {
  if (!o.saved) return {};
  return std::jthread([snapshot = o.saved->snapshot](const std::stop_token& stop) { snapshot->prefetch(stop); });
}

Result<void> apply(RunOptions& o) {
  auto& c = o.config;
  const auto memory = parse_byte_size(o.memory);
  if (!memory) return memory.failure();
  c.memory = *memory;
  if (auto applied = apply_code_cache(o); !applied) return applied;
  c.network = o.network == "none" ? NetworkKind::none : o.network == "peer" ? NetworkKind::peer : NetworkKind::user;
  if (!o.mac.empty()) {
    const auto mac = parse_mac_address(o.mac);
    if (!mac) return mac.failure();
    c.mac = *mac;
  }
  c.clock = o.clock == "host" ? ClockKind::host : ClockKind::instructions;
  c.engine = o.engine == "interpreter" ? EngineKind::interpreter
             : o.engine == "fast"      ? EngineKind::fast
                                       : EngineKind::optimizing;
  c.sandbox = !o.no_sandbox;
  for (const auto& text : o.ports) {
    auto port = parse_published_port(text);
    if (!port) return port.failure();
    c.ports.push_back(*port);
  }
  if (!c.ports.empty() && c.network != NetworkKind::user)
    return error("--publish needs the host's network: leave --net {} away", o.network);
  for (const auto& text : o.dumps) {
    auto listing = parse_listing_spec(text);
    if (!listing) return listing.failure();
    c.reports.listings.push_back(*listing);
  }
  for (const auto& text : o.disks) {
    auto disk = parse_disk_spec(text);
    if (!disk) return disk.failure();
    c.disks.push_back(*disk);
  }
  if (!o.from.empty()) {
    if (auto found = apply_snapshot(o); !found) return found;
    return apply_name(o);
  }
  o.bare = !c.kernel.empty() || !c.firmware.empty();
  if (!o.image.empty() && o.bare)
    return error("an image brings its own kernel: give either an image or --kernel and --firmware");
  if (!o.bare) {
    if (auto found = use_image(o.image, c); !found) return found;
  }
  if (o.snapshot)
    for (auto& disk : c.disks) disk.snapshot = true;
  return apply_name(o);
}

int dump_device_tree(const Machine& machine, const std::string& path) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "wb"), std::fclose);
  const auto& tree = machine.device_tree();
  if (!file || std::fwrite(tree.data(), 1, tree.size(), file.get()) != tree.size() || std::fflush(file.get()) != 0)
    return complain(fmt::format("cannot write the device tree to {}: {}", path, std::strerror(errno)));
  return 0;
}

MachineRecord record_of(const RunOptions& o) {
  const auto& c = o.config;
  return {.name = o.name,
          .created_ns = wall_clock_ns(),
          .what = !o.from.empty()     ? "snapshot " + o.from
                  : !o.image.empty()  ? o.image
                  : !o.bare           ? std::string(default_image)
                  : !c.kernel.empty() ? c.kernel
                                      : c.firmware,
          .memory = c.memory,
          .cpus = c.cpus,
          .background = o.detach && !o.console_given,
          .remove = o.remove};
}

Result<int> run_named(const RunOptions& options, const std::function<void()>& running) {
  const auto folder = RuntimeFolder::open();
  if (!folder) return folder.failure();
  const auto hot = prefetch(options);
  auto hosted = HostedMachine::create(*folder, record_of(options), options.config, running,
                                      options.saved ? &options.saved->image : nullptr);
  if (!hosted) return hosted.failure();
  const auto outcome = (*hosted)->run();
  if (!outcome) return outcome.failure();
  if (options.statistics) print_statistics(stderr, (*hosted)->machine().statistics());
  return outcome->status;
}

int run_in_background(RunOptions& options) {
  const auto folder = RuntimeFolder::open();
  if (!folder) return complain(folder.message());
  if (options.name.empty()) options.name = made_up_name(*folder);
  const auto parent = ::getpid();
  const int status = run_detached([&](const std::function<void()>& running) { return run_named(options, running); });
  if (status == 0 && ::getpid() == parent) print(stdout, "{}\n", options.name);
  return status;
}

int run(RunOptions& options) {
  if (auto applied = apply(options); !applied) return complain(applied.message());
  const bool runs = options.config.dump_dtb.empty();
  if (runs && options.detach) return run_in_background(options);
  if (runs && !options.name.empty()) {
    const auto status = run_named(options, {});
    return status ? *status : complain(status.message());
  }
  const auto hot = prefetch(options);
  auto machine =
      options.saved ? Machine::create(options.config, options.saved->image) : Machine::create(options.config);
  if (!machine) return complain(machine.message());
  if (options.saved) (*machine)->become(options.config.identity);
  if (!options.config.dump_dtb.empty()) return dump_device_tree(**machine, options.config.dump_dtb);
  const auto outcome = (*machine)->run();
  if (!outcome) return complain(outcome.message());
  if (options.statistics) print_statistics(stderr, (*machine)->statistics());
  return outcome->status;
}

}  // namespace

void add_run(CLI::App& program, Action& action) {
  auto options = std::make_shared<RunOptions>();
  auto& o = *options;
  auto& c = o.config;
  auto* verb = program.add_subcommand("run", "Run a machine: an image, or a kernel or firmware of your own");
  verb->add_option(
      "IMAGE", o.image,
      "An image by name (see doppel image ls); without one and without --kernel it is debian, made on first use");
  auto* from =
      verb->add_option("--from", o.from, "Run on from a snapshot (see doppel snapshot ls): the machine that it is of")
          ->type_name("SNAPSHOT");
  verb->add_option("--kernel", c.kernel, "A kernel: RISC-V Image, also packed by gzip, zstd or as EFI program, or ELF")
      ->type_name("FILE");
  verb->add_option("--initrd", c.initrd, "Its initial RAM disk")->type_name("FILE");
  verb->add_option("--append", c.append, "The kernel's command line")->type_name("TEXT");
  verb->add_option("--firmware", c.firmware,
                   "M-mode firmware, for instance OpenSBI or U-Boot; without it Doppel provides the SBI itself")
      ->type_name("FILE");
  verb->add_option("--dtb", c.dtb, "A device tree of your own instead of the generated one")->type_name("FILE");
  verb->add_option("--disk", o.disks, "A disk: FILE[,ro][,snapshot][,format=raw|qcow2]; may be given several times")
      ->type_name("DISK")
      ->expected(1)
      ->take_all();
  verb->add_flag("--snapshot", o.snapshot, "Throw away what the guest writes to its disks");
  verb->add_option("--memory", o.memory, "How much memory, for instance 512M")
      ->type_name("SIZE")
      ->capture_default_str();
  verb->add_option("--cpus", c.cpus, "How many processors, 1 to 32")->type_name("N")->capture_default_str();
  verb->add_option("--mmu", c.mmu, "Bits of virtual addresses that the processors offer")
      ->check(CLI::IsMember({39, 48, 57}))
      ->type_name("39|48|57")
      ->capture_default_str();
  verb->add_option("--net", o.network,
                   "The network: user (NAT to the host's, no root needed), peer (one computer inside this process that "
                   "echoes: runs with --clock instructions are repeatable) or none")
      ->check(CLI::IsMember({"user", "peer", "none"}))
      ->type_name("user|peer|none")
      ->capture_default_str();
  verb->add_option("--mac", o.mac, "The network card's address; by default 52:54:00:12:34:56")
      ->type_name("XX:XX:XX:XX:XX:XX");
  verb->add_option("--publish", o.ports,
                   "Make a port of the guest a port of this host: HOST:GUEST[/udp]; may be given several times")
      ->type_name("PORTS")
      ->expected(1)
      ->take_all();
  auto* console =
      verb->add_option("--console", c.console, "Where the guest's console goes: stdio, none, a file, or unix:PATH")
          ->type_name("WHERE")
          ->capture_default_str();
  verb->add_option("--name", o.name, "A name by which doppel ls, attach, stop and others find the machine")
      ->type_name("NAME");
  verb->add_flag("--detach", o.detach,
                 "Come back when the machine runs and leave it in the background; prints its name, made up without "
                 "--name");
  verb->add_flag("--rm", o.remove, "Leave nothing of the name and the log when the machine has ended");
  verb->add_option("--engine", o.engine, "What executes the guest's code")
      ->check(CLI::IsMember({"interpreter", "fast", "optimizing"}))
      ->type_name("interpreter|fast|optimizing")
      ->capture_default_str();
  verb->add_option(
          "--code-cache", o.code_cache,
          "Where translated code is kept for the next run: a folder, or none; by default code in doppel's part "
          "of your cache folder")
      ->type_name("DIR|none");
  verb->add_option("--code-cache-size", o.code_cache_size,
                   "Bytes of translated code that are kept in memory, and as many on disk, 16M to 1G")
      ->type_name("SIZE")
      ->capture_default_str();
  verb->add_flag("--perf-map", c.reports.perf_map, "Write /tmp/perf-PID.map: names of translated code for perf");
  verb->add_option("--jitdump", c.reports.jitdump, "Write jit-PID.dump there: translated code for perf inject")
      ->type_name("DIR");
  verb->add_option("--dump", o.dumps,
                   "Print what translations become that cover an address, virtual or physical, hexadecimal: "
                   "ir,asm=ADDRESS, or FIRST-LAST or all; may be given several times")
      ->type_name("WHAT=WHERE")
      ->expected(1)
      ->take_all();
  verb->add_option("--dump-to", c.reports.listing_file, "Print it there instead of on standard error")
      ->type_name("FILE");
  verb->add_option("--clock", o.clock,
                   "Guest time from the host's clock, or from counted instructions: then runs are repeatable")
      ->check(CLI::IsMember({"host", "instructions"}))
      ->type_name("host|instructions")
      ->capture_default_str();
  verb->add_option("--dump-dtb", c.dump_dtb, "Write the device tree to a file and do not run")->type_name("FILE");
  verb->add_option("--signature", c.signature, "Write a bare-metal test program's signature there at its end")
      ->type_name("FILE");
  verb->add_flag("--stats", o.statistics, "Print counters at the end");
  verb->add_flag("--no-sandbox", o.no_sandbox, "Do not confine this process before the guest runs");
  verb->footer(
      "On a terminal: Ctrl-A X leaves, Ctrl-A H shows help, Ctrl-A Ctrl-A types Ctrl-A.\n"
      "A WebAssembly program runs as doppel run FILE.wasm [ARGUMENT...]: see doppel run-program --help.\n"
      "The exit status is 0 when the guest powers off, its own code when a test program ends with one, and 2 for what "
      "cannot be done.");
  for (const char* fixed : {"IMAGE", "--kernel", "--initrd", "--append", "--firmware", "--dtb", "--disk", "--memory",
                            "--cpus", "--mmu", "--net", "--mac", "--clock", "--dump-dtb", "--signature"})
    from->excludes(verb->get_option(fixed));
  verb->callback([options, console, &action] {
    options->console_given = console->count() > 0;
    action = [options] { return run(*options); };
  });
}

}  // namespace doppel
