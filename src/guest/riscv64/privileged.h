#pragma once
// Names and bits of the privileged architecture (RISC-V Instruction Set Manual, Volume II, 20240411).
#include <cstdint>

namespace doppel::riscv64 {

enum class Privilege : std::uint8_t { user = 0, supervisor = 1, machine = 3 };

enum class Access : std::uint8_t { load, store, fetch };

/// Exception codes of mcause and scause (3.1.15, table 14).
enum class Cause : std::uint64_t {
  instruction_misaligned = 0,
  instruction_access_fault = 1,
  illegal_instruction = 2,
  breakpoint = 3,
  load_misaligned = 4,
  load_access_fault = 5,
  store_misaligned = 6,
  store_access_fault = 7,
  ecall_from_user = 8,
  ecall_from_supervisor = 9,
  ecall_from_machine = 11,
  instruction_page_fault = 12,
  load_page_fault = 13,
  store_page_fault = 15,
};

/// Bits of mip and mie, which are also the interrupt codes (3.1.9).
namespace interrupt {
inline constexpr unsigned ssi = 1, msi = 3, sti = 5, mti = 7, sei = 9, mei = 11, lcofi = 13;
inline constexpr std::uint64_t supervisor_bits = 1 << ssi | 1 << sti | 1 << sei;
inline constexpr std::uint64_t all_bits = supervisor_bits | 1 << msi | 1 << mti | 1 << mei;
inline constexpr std::uint64_t cause_flag = 1ULL << 63;
}  // namespace interrupt

/// Fields of mstatus and sstatus (3.1.6, 12.1.1).
namespace status {
inline constexpr std::uint64_t sie = 1 << 1, mie = 1 << 3, spie = 1 << 5, mpie = 1 << 7, spp = 1 << 8;
inline constexpr unsigned mpp_shift = 11, fs_shift = 13;
inline constexpr std::uint64_t mpp = 3ULL << mpp_shift, fs = 3ULL << fs_shift, mprv = 1 << 17, sum = 1 << 18,
                               mxr = 1 << 19;
inline constexpr std::uint64_t tvm = 1 << 20, tw = 1 << 21, tsr = 1 << 22, uxl64 = 2ULL << 32, sxl64 = 2ULL << 34,
                               sd = 1ULL << 63;
inline constexpr std::uint64_t machine_writable =
    sie | mie | spie | mpie | spp | mpp | fs | mprv | sum | mxr | tvm | tw | tsr;
inline constexpr std::uint64_t supervisor_writable = sie | spie | spp | fs | sum | mxr;
inline constexpr std::uint64_t supervisor_visible = supervisor_writable | 3ULL << 32 | sd;
}  // namespace status

/// Fields of menvcfg and senvcfg (3.1.18, 12.1.10).
namespace envcfg {
inline constexpr std::uint64_t fiom = 1, cbie = 3 << 4, cbcfe = 1 << 6, cbze = 1 << 7;
inline constexpr std::uint64_t adue = 1ULL << 61, pbmte = 1ULL << 62, stce = 1ULL << 63;
inline constexpr std::uint64_t supervisor_writable = fiom | cbie | cbcfe | cbze;
inline constexpr std::uint64_t machine_writable = supervisor_writable | adue | pbmte | stce;
}  // namespace envcfg

/// satp.MODE (12.1.11) and how many levels of page table it means.
enum class Paging : std::uint8_t { bare = 0, sv39 = 8, sv48 = 9, sv57 = 10 };
inline constexpr unsigned paging_levels(Paging mode) { return mode == Paging::bare ? 0 : 3 + (unsigned(mode) - 8); }

/// Bits of a page-table entry (12.4.1, chapters 13 Svnapot, 14 Svpbmt).
namespace pte {
inline constexpr std::uint64_t v = 1, r = 2, w = 4, x = 8, u = 16, g = 32, a = 64, d = 128;
inline constexpr std::uint64_t pbmt = 3ULL << 61, n = 1ULL << 63, reserved = 0x7fULL << 54;
inline constexpr std::uint64_t ppn_shift = 10, ppn_mask = (1ULL << 44) - 1;
}  // namespace pte

inline constexpr unsigned asid_bits = 16;
inline constexpr unsigned cache_block_bytes = 64;  // Zicbom, Zicboz, Zicbop and the reservation granule

}  // namespace doppel::riscv64
