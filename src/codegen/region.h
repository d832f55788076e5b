#pragma once
// A region: hot blocks of one guest page that the optimizing generator compiles as one function, and what it makes of
// them. Both travel between the machine's process and the optimizer's as bytes.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "codegen/layout.h"
#include "ir/code.h"

namespace doppel {

/// How a region is left.
struct RegionExit {
  enum class Kind : std::uint8_t {
    link,      // to the code at byte `target` of the page
    separate,  // the same, without windows and never a region: what did not succeed here succeeds there
    jump,      // to the guest's pc
    leave,     // to the dispatcher, at the guest's pc
  };
  Kind kind = Kind::leave;
  std::uint16_t target = 0;
  bool operator==(const RegionExit&) const = default;
};

struct RegionRequest {
  std::uint64_t id = 0;
  GuestLayout layout;
  std::vector<ir::Code> blocks;  // the first is where the region is entered
};

/// Position-independent code whose only references are jumps to its exits.
struct RegionObject {
  struct Jump {
    std::uint32_t displacement;  // where its 32-bit displacement is, in bytes from the begin
    std::uint32_t exit;          // in `exits`
  };
  std::uint64_t id = 0;
  std::vector<std::byte> text;  // empty: it could not be compiled
  std::vector<Jump> jumps;
  std::vector<RegionExit> exits;
};

std::vector<std::byte> to_bytes(const RegionRequest& request);
std::vector<std::byte> to_bytes(const RegionObject& object);
/// Nothing where the bytes are not what to_bytes() makes.
std::optional<RegionRequest> request_from(std::span<const std::byte> bytes);
std::optional<RegionObject> object_from(std::span<const std::byte> bytes);

}  // namespace doppel
