#pragma once
// Many copies of one machine, one job each, on a few workers.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "snapshot/parked_machine.h"
#include "snapshot/worker.h"

namespace doppel {

/// Workers for machines like the image, that run; see Worker. With MachineConfig::sandbox the process confines itself
/// when all of them do, and starts no more threads.
Result<std::vector<std::unique_ptr<Worker>>> make_workers(const MachineConfig& config, const MachineImage& image,
                                                          unsigned count);

/// What one machine did.
struct FleetResult {
  enum class End : std::uint8_t { done, failed, ended, late };  // ended: the guest switched itself off
  End end = End::failed;
  int status = 0;         // of its command, or of the guest that ended
  std::string output;     // what it printed behind its command
  double seconds = 0;     // from the copy to the answer
  std::size_t bytes = 0;  // that it takes parked; 0 where it was dropped
};

struct FleetOptions {
  std::size_t machines = 1;
  std::string command;                // for a shell on the console; {} is the machine's number, from 1 on
  std::chrono::seconds patience{60};  // for each
  bool park = false;                  // keep all of them until the last is done
  bool keep_output = true;            // in the results; else only `done` is told of it
};

/// Has copies of what was captured, at whose console a shell waits, run a command each; results by number less one.
/// `done` is told of each on the thread of a worker, one at a time.
std::vector<FleetResult> run_fleet(std::vector<std::unique_ptr<Worker>>& workers,
                                   const std::shared_ptr<const MachineImage>& image, const FleetOptions& options,
                                   const std::function<void(std::size_t number, const FleetResult&)>& done);

}  // namespace doppel
