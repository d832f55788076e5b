#pragma once
// Where a guest architecture's registers are: in host registers all the time, or in memory behind the state register.
#include <array>
#include <cstdint>

namespace doppel {

struct GuestLayout {
  static constexpr unsigned max_registers = 96;
  static constexpr std::uint8_t in_memory = 0xff;
  GuestLayout() { host.fill(in_memory); }

  // In bytes from the state register, which lies `begin` behind where the guest's state begins.
  std::int32_t begin = 0;
  std::array<std::int32_t, max_registers> offset{};
  std::array<std::uint8_t, max_registers> host;  // which of the pinned host registers, or in_memory
  unsigned registers = 0;
  std::int32_t pc = 0;         // the guest's pc
  std::int32_t execution = 0;  // ir::ExecutionState
  // The word that says that the floating-point state is dirty, by these bits: the highest is set only when all are.
  std::int32_t status = 0;
  std::array<std::uint32_t, 2> dirty_bits{};  // the low half and the high one
};

/// How many guest registers stay in host registers.
inline constexpr unsigned pinned_registers = 9;

}  // namespace doppel
