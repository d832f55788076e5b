#pragma once
// MachineStatistics as JSON: between a machine's process and `doppel stats`, and for programs.
#include <nlohmann/json.hpp>

#include "machine/machine.h"

namespace doppel {

nlohmann::json statistics_json(const MachineStatistics& statistics);
/// The same back. What is missing or of another type is 0 or absent: another version of doppel may have written it.
MachineStatistics read_statistics(const nlohmann::json& json);

}  // namespace doppel
