#pragma once
#include <array>
#include <cstdint>

#include "guest/riscv64/privileged.h"

namespace doppel::riscv64 {

inline constexpr unsigned pmp_entries = 16;

/// Everything architectural of one hart: what a snapshot keeps, and nothing else. A plain record; registers have the
/// manual's names.
struct HartState {
  std::array<std::uint64_t, 33> x{};  // x[32] is where writes to x0 go; it is never read
  std::array<std::uint64_t, 32> f{};
  std::uint64_t pc = 0;
  std::uint64_t steps = 0;  // instructions executed, those that trapped included, up to the start of the current run
  std::uint64_t unretired = 0;  // of these, those that trapped
  std::uint64_t hartid = 0;
  std::uint8_t privilege = std::uint8_t(Privilege::machine);
  std::uint8_t waiting = 0;  // for an interrupt: 1 in WFI, 2 suspended through the SBI
  std::uint8_t fflags = 0, frm = 0;
  std::uint32_t unused = 0;

  std::uint64_t mstatus = status::uxl64 | status::sxl64;
  std::uint64_t medeleg = 0, mideleg = 0, mie = 0;
  std::uint64_t mip = 0;  // only the bits that software writes: SSIP, STIP, SEIP
  std::uint64_t mtvec = 0, mcounteren = 0, mscratch = 0, mepc = 0, mcause = 0, mtval = 0;
  std::uint64_t menvcfg = 0;
  std::uint64_t cycle_offset = 0, instret_offset = 0;  // mcycle - steps, minstret - retired
  std::uint64_t mtimecmp = ~0ULL;                      // as the ACLINT last told
  std::array<std::uint8_t, pmp_entries> pmpcfg{};
  std::array<std::uint64_t, pmp_entries> pmpaddr{};

  std::uint64_t stvec = 0, scounteren = 0, sscratch = 0, sepc = 0, scause = 0, stval = 0, satp = 0, senvcfg = 0;
  std::uint64_t stimecmp = ~0ULL;
};

}  // namespace doppel::riscv64
