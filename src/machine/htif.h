#pragma once
// The host's side of HTIF, the host-target interface that bare-metal RISC-V test programs talk to Spike with.
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/archive.h"
#include "base/result.h"
#include "machine/loader.h"
#include "memory/guest_memory.h"

namespace doppel {

/// One program's `tohost` and `fromhost`. A command in `tohost` is a device (bits 63-56), a command (55-48) and a
/// payload (47-0):
///
/// | device | command | payload |
/// |---|---|---|
/// | 0 system | 0 | bit 0 set: exit with payload >> 1; else the address of eight 64-bit words: a system call |
/// | 1 console | 0 read | answered with 0x100 + the byte when there is one |
/// | 1 console | 1 write | a byte; not answered |
///
/// Anything else is ignored, as Spike ignores it. Of the system calls there are write (to 1 and 2, both the console)
/// and exit; the others return -ENOSYS. Called under the device lock.
class Htif {
 public:
  using Console = std::function<void(std::span<const std::byte>)>;
  Htif(const HtifSymbols& symbols, Console console) : symbols_(symbols), console_(std::move(console)) {}

  /// Serves a command if `tohost` has one and delivers an answer if `fromhost` is free. Returns the exit code when the
  /// program ended. Does a bounded amount of work.
  std::optional<std::uint64_t> poll(GuestMemory& memory);
  /// A byte for the program to read.
  void type(std::byte key);

  void reset();
  void save(Writer& out) const;
  Result<void> restore(Reader& in);

 private:
  std::optional<std::uint64_t> serve(GuestMemory& memory, std::uint64_t command);
  std::optional<std::uint64_t> system_call(GuestMemory& memory, std::uint64_t words);
  std::uint64_t write_text(GuestMemory& memory, std::uint64_t file, std::uint64_t address, std::uint64_t length);
  void answer(std::uint64_t device, std::uint64_t command, std::uint64_t payload);
  void answer_reads();
  void deliver(GuestMemory& memory);

  HtifSymbols symbols_;
  Console console_;
  std::deque<std::uint64_t> answers_;  // for fromhost
  std::deque<std::byte> keys_;
  std::uint32_t waiting_reads_ = 0;
};

/// The memory between `begin_signature` and `end_signature` as Spike's +signature writes it with a granularity of 4:
/// 32-bit words in lower-case hex, one a line, the last one filled up with zeros.
Result<std::string> signature_text(GuestMemory& memory, const HtifSymbols& symbols);

/// Writes signature_text() to the file `path`.
Result<void> write_signature(GuestMemory& memory, const HtifSymbols& symbols, const std::string& path);

}  // namespace doppel
