#pragma once
// The firmware of a hart: what takes its traps, logs them, and starts one segment after the other.
#include <vector>

#include "places.h"

namespace doppel::differential::engines {

/// How firmware starts a segment: five words in the hart's records.
struct Descriptor {
  U64 pc, status, satp, vector, enables;
};

struct Handlers {
  std::vector<std::uint32_t> code;  // for the hart's page of place::handlers
  U64 machine = 0, supervisor = 0;  // where their traps go; both may be vectored
  U64 next = 0, idle = 0;           // addresses: starts the next segment; waits for ever
};

/// A call of firmware with a7 = 0 starts the next segment; any other goes on behind it.
inline constexpr unsigned call_number_register = 17;
/// a0 and so on are free for programs; next wants this in x5 and x5 to x7 in the records.
inline constexpr U64 saved_x6 = 0, saved_x7 = 8, saved_x5 = 16, log_at = 24, descriptor_at = 32;
inline constexpr U64 supervisor_saved = 0x100;

const Handlers& handlers_of(unsigned hart);
inline constexpr U64 records_of(unsigned hart) { return place::records + hart * place::records_of_hart; }
/// Bits of mie that firmware needs to get a segment back that does not end.
inline constexpr U64 machine_external = 1 << 11;

}  // namespace doppel::differential::engines
