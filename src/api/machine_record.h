#pragma once
// What a machine's folder says about it: machine.json, written once, and its status, which changes.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace doppel {

/// machine.json. Texts hold printable characters only, whatever the file had.
struct MachineRecord {
  static constexpr std::uint64_t known_version = 1;
  std::string name = {};
  std::int64_t created_ns = 0;  // wall clock, since 1970
  std::int32_t process = 0;     // the machine's process by its own word; trusted only while its lock is held
  std::string what = {};        // image, kernel or firmware
  std::uint64_t memory = 0;     // bytes
  unsigned cpus = 0;
  bool background = false;  // its console is kept: it has a log, and can be attached to
  bool remove = false;      // nothing is left of it when it has ended
  /// Files of its disks that keep what is written, by MachineConfig::disks; empty for the others. Absolute.
  std::vector<std::string> disks = {};
};

/// Where a machine is in its life. `died`: its process ended without a word.
enum class MachineState : std::uint8_t { starting, running, paused, exited, died };

struct MachineStatus {
  MachineState state = MachineState::starting;
  int exit_status = 0;  // exited
  bool gone = false;    // exited, and to be removed by whoever sees it
};

std::string record_text(const MachineRecord& record);
/// Hostile bytes are an error; fields that are not known are left alone.
Result<MachineRecord> parse_record(std::string_view text);

/// One line of a fixed length, so that it can be written over in place.
std::string status_text(const MachineStatus& status);
/// `alive`: the machine's lock is held. What cannot be read, or contradicts the lock, follows from the lock.
MachineStatus parse_status(std::string_view text, bool alive);
/// "running", "exited (2)" …
std::string describe(const MachineStatus& status);

/// Letters, digits, '.', '_' and '-', not beginning with '.' or '-', at most 64.
bool sound_machine_name(std::string_view name);
/// The text with anything but printable ASCII replaced by '?', and cut at 4096 characters.
std::string printable_text(std::string_view text);

}  // namespace doppel
