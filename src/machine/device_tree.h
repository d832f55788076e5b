#pragma once
// The flattened device tree of the board, compatible with the one of QEMU's `virt` machine.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/boot.h"

namespace doppel {

/// Everything that differs between two machines' device trees; the rest is in memory_map.h.
struct BoardDescription {
  unsigned harts = 1;  // 1 to max_harts
  std::uint64_t memory_base = 0;
  std::uint64_t memory_size = 0;  // bytes
  /// Extension names as riscv,isa-extensions wants them, in canonical order: "i", "m", …, "zicbom", ….
  std::vector<std::string> isa_extensions = {};
  unsigned mmu_bits = 48;               // 39, 48 or 57
  std::uint32_t cache_block_size = 64;  // bytes, of Zicbom, Zicbop and Zicboz
  std::string bootargs = {};
  std::optional<AddressRange> initrd = {};
  std::vector<std::byte> rng_seed = {};  // empty: none
  std::optional<std::uint64_t> kaslr_seed = {};
  std::vector<unsigned> virtio_slots = {};  // those that exist, each below virtio_slots
  /// The machine begins in M-mode: with a CLINT, and with M-mode contexts in the PLIC. Without, Doppel's SBI has the
  /// timer and the interrupts between harts, and the PLIC's M contexts go nowhere.
  bool machine_mode = false;
};

/// The "rv64imafdc_zicsr_…" string of a list of extensions.
std::string isa_string(const std::vector<std::string>& extensions);

/// The tree as a blob. A description out of its ranges is an error.
Result<std::vector<std::byte>> make_device_tree(const BoardDescription& board);

/// A user's own tree, checked whole, with /chosen changed to what was asked for (as QEMU does): `bootargs` when not
/// empty, and the initrd's place. `path` is for messages. The blob may be hostile.
Result<std::vector<std::byte>> patch_device_tree(std::span<const std::byte> blob, std::string_view path,
                                                 const std::string& bootargs, std::optional<AddressRange> initrd);

}  // namespace doppel
