#pragma once
// Puts firmware, kernel, initrd and device tree into guest memory, where QEMU's `virt` machine puts them.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/loader.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Guest-physical addresses from `start` up to but not including `end`; empty when they are equal.
struct AddressRange {
  std::uint64_t start = 0, end = 0;
  std::uint64_t size() const { return end - start; }
  bool overlaps(const AddressRange& other) const { return start < other.end && other.start < end; }
  bool operator==(const AddressRange&) const = default;
};

/// What to boot. The kernel, firmware and initrd belong to the caller and are only read during place(), so that a
/// machine that reboots places them again.
struct BootRequest {
  const LoadedKernel* kernel = nullptr;
  const LoadedKernel* firmware = nullptr;
  std::span<const std::byte> initrd = {};
  std::string initrd_path = {};
  bool confined = false;  // the process may not start threads any more
  /// Makes the device tree for an initrd at this place (none: empty range). Called twice; its size must not depend on
  /// where the initrd is, only on whether there is one.
  std::function<Result<std::vector<std::byte>>(std::optional<AddressRange> initrd)> make_device_tree;
};

/// How every hart begins: at `entry`, in M-mode or in S-mode, with a0 the hart's number, a1 `device_tree` and a2
/// `dynamic_info`. In S-mode Doppel's own SBI is below it and starts one hart only.
struct BootPlan {
  std::uint64_t entry = 0;
  bool machine_mode = false;
  std::uint64_t device_tree = 0;
  /// Where OpenSBI's struct fw_dynamic_info is (include/sbi/fw_dynamic.h), 0 without firmware.
  std::uint64_t dynamic_info = 0;
  AddressRange firmware, kernel, initrd;
  HtifSymbols symbols;  // of the kernel, guest-physical
};

/// True when the machine begins in M-mode: with firmware, or with a bare-metal ELF that talks to its host through
/// `tohost`.
bool boots_in_machine_mode(const BootRequest& request);

/// Places everything:
/// - firmware at the beginning of DRAM, or where its ELF says;
/// - an Image at DRAM plus its text offset, at least 2 MiB in and behind the firmware; a raw next stage and a
/// relocatable
///   ELF likewise; any other ELF where it says;
/// - the device tree at the end of the DRAM below 3 GiB, 2 MiB-aligned where there is room;
/// - the initrd directly below it, or above 3 GiB when that is the only room;
/// - fw_dynamic_info in a page of its own, since every hart reads it before Linux knows of any memory.
/// Fails with a sentence that names sizes when something does not fit or overlaps.
Result<BootPlan> place(const BootRequest& request, GuestMemory& memory);

}  // namespace doppel
