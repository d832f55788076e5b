#pragma once
// A whole computer: the RISC-V board with its harts, memory and devices, and what runs it.
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "engine/engine.h"
#include "engine/translation_reports.h"
#include "guest/riscv64/hart.h"
#include "machine/image.h"
#include "machine/input.h"
#include "network/network.h"
#include "storage/disk.h"

namespace doppel {

/// What executes the guest's code.
enum class EngineKind : std::uint8_t { interpreter, fast, optimizing };

/// What is at the other end of the network cable.
enum class NetworkKind : std::uint8_t {
  none,  // there is no network card
  user,  // the host's network, by way of a user-mode stack
  peer,  // one computer that answers, inside this process; repeatable by the instruction clock
};
inline constexpr MacAddress default_mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/// What the process that a machine lives in does beside running it.
struct MachineHosting {
  bool serves_socket = false;  // the sandbox lets it accept clients of a socket that listens already
  /// Called by run() when the process's files are restricted and before its system calls are: threads that are started
  /// here are confined as the machine's own are.
  std::function<void()> start_threads;
  /// Called by run() when nothing can fail any more, before the guest's first instruction.
  std::function<void()> running;
};

/// What a user asks for. Paths that are empty are not given.
struct MachineConfig {
  std::string kernel, initrd, append, firmware, dtb;
  static constexpr std::size_t most_disks = 6;
  std::vector<DiskSpec> disks;        // at most so many
  std::uint64_t memory = 2ULL << 30;  // bytes
  unsigned cpus = 1;                  // 1 to 32
  unsigned mmu = 39;                  // bits of the largest virtual address space: 39, 48 or 57
  std::string identity = "0";         // what the guest reads from the port doppel.identity, one line
  NetworkKind network = NetworkKind::user;
  MacAddress mac = default_mac;
  std::vector<PublishedPort> ports;  // with NetworkKind::user
  std::string console = "stdio";     // stdio, none, unix:PATH, or a file for the output
  /// In the place of `console`: gets the guest's output, under the device lock. It must not wait, nor call the machine.
  /// Signals stay as they are then.
  std::function<void(std::span<const std::byte>)> console_output;
  ClockKind clock = ClockKind::host;
  EngineKind engine = EngineKind::optimizing;
  std::uint64_t code_cache = 256ULL << 20;  // bytes of translated code that are kept
  CodeStoreOptions code_store;              // where they are kept from run to run
  TranslationReports reports;
  /// When the guest has ended, it is told here with what run() would have given, on a thread of the machine's that must
  /// not wait, and run() does not come back before power_off(): the machine may take over another image and be resumed.
  std::function<void(const Result<int>& status)> ended;
  /// Told whenever all harts have come to wait for something, and no disk is at work; on a thread of the machine's that
  /// must not wait. Not by the instruction clock.
  std::function<void()> idle;
  bool sandbox = true;
  MachineHosting hosting;
  std::string dump_dtb;   // write the device tree there and do not run
  std::string signature;  // of a bare-metal ELF, written at its end
};

/// How a run ended.
struct MachineOutcome {
  int status = 0;  // the process's exit status
};

/// What `--stats` and `doppel stats` print.
struct MachineStatistics {
  double seconds = 0, seconds_waiting = 0;
  riscv64::HartCounters harts;  // all together
  std::optional<EngineCounters> engine;
  std::optional<CodeStoreCounters> code_store;
  unsigned cpus = 0;
  struct Place {
    std::uint64_t pc;
    char mode;  // 'U', 'S' or 'M'
  };
  std::vector<Place> places;                       // where each hart is, by number
  std::uint64_t balloon_pages = 0;                 // that the guest has put in its balloon
  std::uint64_t discarded_pages = 0;               // that it gave back, through the balloon or as free
  std::uint64_t dirty_pages = 0, memory_hash = 0;  // the hash only with ClockKind::instructions
};

class Machine {
 public:
  /// Opens, checks and connects everything and loads the guest; nothing runs yet. Errors are one sentence for the user.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config);
  /// The same as what was captured from a machine with the same configuration. Its kernel and other files are read when
  /// the guest reboots; files of disks are not opened: the image has its disks.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, const MachineImage& image);
  virtual ~Machine() = default;

  /// Enters the sandbox (unless the config says no) and runs the guest to its end. Once.
  virtual Result<MachineOutcome> run() = 0;
  /// No hart executes from when pause() comes back until resume(), also where run() is called between them; a reboot
  /// that the guest has asked for is done by then. Any thread but a hart's.
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// The same, but does not wait until it is so. Any thread, also from inside console_output.
  virtual void pause_soon() = 0;
  /// Guest time in nanoseconds since the machine was made. While it is paused, or has ended.
  virtual std::int64_t guest_ns() = 0;
  /// Pauses when guest time reaches `guest_ns` nanoseconds since the machine was made; `then` is called on a thread of
  /// the machine's, which must not wait for anything.
  virtual void pause_when(std::int64_t guest_ns, std::function<void()> then) = 0;
  /// Makes what the guest has written to its disks durable, for those that keep it: what keep_disk() then need not wait
  /// for. Any thread, once run() has begun; the guest runs meanwhile.
  virtual void flush_disks() = 0;
  /// Disks, by their numbers in MachineConfig::disks, that keep what the guest writes in their files and have no
  /// overlay yet: before the machine is captured, keep_disk() gives them one. While it is paused.
  virtual std::vector<std::size_t> disks_without_overlay() = 0;
  /// The disk's file is from now on only read, by whoever likes, and what the guest flushes to the disk is durable in
  /// an overlay that is made in `file`, empty and open for writing, at `path` beside the disk's. While it is paused.
  virtual Result<void> keep_disk(std::size_t disk, FileDescriptor file, const std::string& path) = 0;
  /// The machine as it is, to go on from in others like it; while it is paused. Waits for what its disks are at. What
  /// was in the files of its disks is from now on only read, and what the guest writes goes to layers over it.
  virtual Result<MachineImage> capture() = 0;
  /// The pages of memory, by their numbers, that the harts used last: who goes on from an image wants them first. While
  /// it is paused, and before it is captured.
  virtual std::vector<std::uint32_t> hot_pages() = 0;
  /// Becomes what was captured from a machine with the same configuration; before run(), or paused. For its guest
  /// `elapsed_ns` nanoseconds have passed since. Hostile bytes are an error: the machine cannot be run then.
  virtual Result<void> take_over(MachineImage image, std::int64_t elapsed_ns = 0) = 0;
  /// In how many nanoseconds a hart can run, as far as timers tell: 0 is now, INT64_MAX never. While paused.
  virtual std::int64_t sleeps_ns() = 0;
  /// From now on it is another machine than the one that was captured, of this name: the guest hears of it by its
  /// vmgenid, whereupon it makes its random numbers anew, and reads the name from the port doppel.identity; its network
  /// card has another address (see set_mac()). By the
  /// instruction clock all that is new follows from the name. While paused.
  virtual void become(const std::string& identity) = 0;
  /// Gives the network card another address, if there is one: a driver that starts from now on reads it, one that runs
  /// goes on with the old one. Copies keep it. While it is paused.
  virtual void set_mac(const MacAddress& mac) = 0;
  /// Types on the guest's console; how many bytes it took. The others are to be typed again when the guest has read
  /// some. Any thread.
  virtual std::size_t type(std::span<const std::byte> keys) = 0;
  /// The console's size in characters. Any thread.
  virtual void resize_console(std::uint16_t columns, std::uint16_t rows) = 0;
  /// Asks the guest, through its memory balloon, to do with so many bytes of its memory. Any thread.
  virtual Result<void> set_memory_target(std::uint64_t bytes) = 0;
  /// Ends a run() under way as if the power went off. Any thread.
  virtual void power_off() = 0;
  /// Any thread but a hart's, once run() has begun; harts that run stand still for some microseconds. The memory's hash
  /// only after run().
  virtual MachineStatistics statistics() = 0;
  virtual const std::vector<std::byte>& device_tree() const = 0;
};

}  // namespace doppel
