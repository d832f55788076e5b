#pragma once
// Where snapshots are, and what a captured machine is for those that run it again.
#include <memory>
#include <string>
#include <vector>

#include "api/runtime_folder.h"
#include "snapshot/snapshot_store.h"
#include "snapshot/transfer.h"

namespace doppel {

/// $XDG_DATA_HOME/doppel/snapshots, or .local/share/doppel/snapshots in the home folder.
Result<SnapshotStore> open_snapshots(bool may_create);

/// A machine as it can be made again in this process.
struct SavedMachine {
  MachineConfig config;
  MachineImage image;
  std::shared_ptr<const Snapshot> snapshot;  // null: it came from a running machine
};

/// The snapshot of this name. An error says what snapshots there are.
Result<SavedMachine> load_snapshot(const std::string& name);

/// A running machine as it is at this moment; it stood still for `paused_ns` nanoseconds.
Result<ReceivedImage> capture_machine(const MachineEntry& machine, std::int64_t& paused_ns);
Result<SavedMachine> saved_machine(const ReceivedImage& received);

}  // namespace doppel
