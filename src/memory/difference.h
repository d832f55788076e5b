#pragma once
// What one state of a memory has that another has not, small enough to keep a million of them: machines that stand
// still are kept so.
#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"

namespace doppel {

/// The bytes of `image` that differ from `base`, an image of the same size, packed. Costs what lies in layers that only
/// one of them has; where they have none together, all of memory.
std::vector<std::byte> pack_difference(const MemoryImage& image, const MemoryImage& base);

/// Makes of a memory that holds what was `base` then what was `image`. Reads hostile bytes: what they say is not
/// written outside of the memory, and a failure (one sentence) leaves it half done.
Result<void> apply_difference(std::span<const std::byte> packed, GuestMemory& memory);

/// The same for bytes that are much like others, for instance records of a machine's state.
std::vector<std::byte> pack_bytes(std::span<const std::byte> bytes, std::span<const std::byte> like);
Result<std::vector<std::byte>> unpack_bytes(std::span<const std::byte> packed, std::span<const std::byte> like);

}  // namespace doppel
