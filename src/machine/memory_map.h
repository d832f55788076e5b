#pragma once
// Where everything is in the RISC-V board's physical address space: the map of QEMU's `virt` machine, so that firmware
// and kernels made for it run unmodified, and vmgenid in a gap of it. One table; the bus, the device tree and the SBI
// read it.
#include <array>
#include <cstdint>
#include <string_view>

namespace doppel {

/// One region of the board. `irq` is the PLIC source, 0 for none.
struct MapEntry {
  std::string_view name;
  std::uint64_t base;
  std::uint64_t size;  // bytes that the bus gives to the device
  std::uint32_t irq;
};

inline constexpr std::uint64_t dram_base = 0x8000'0000;
inline constexpr unsigned max_harts = 32;
inline constexpr std::uint64_t timebase_frequency = 10'000'000;  // ticks of mtime and `time` a second
inline constexpr std::uint32_t uart_clock_frequency = 3'686'400;
inline constexpr unsigned plic_sources = 95;  // sources 1 to 95
inline constexpr unsigned virtio_slots = 8;
/// A virtio slot's registers; the rest of its 4 KiB window is empty.
inline constexpr std::uint64_t virtio_register_size = 0x200;

inline constexpr MapEntry test_finisher_map{"test", 0x10'0000, 0x1000, 0};
inline constexpr MapEntry rtc_map{"rtc", 0x10'1000, 0x1000, 11};
inline constexpr MapEntry vmgenid_map{"vmgenid", 0x10'2000, 0x1000, 12};
inline constexpr MapEntry clint_map{"clint", 0x200'0000, 0x1'0000, 0};
inline constexpr MapEntry plic_map{"plic", 0xc00'0000, 0x60'0000, 0};
inline constexpr MapEntry uart_map{"serial", 0x1000'0000, 0x100, 10};

/// Slot `slot` (below virtio_slots) of virtio over mmio.
constexpr MapEntry virtio_map(unsigned slot) {
  return {"virtio_mmio", 0x1000'1000 + std::uint64_t{slot} * 0x1000, 0x1000, 1 + slot};
}

/// Every device region of the board in ascending order; DRAM begins at dram_base.
inline constexpr std::array<MapEntry, 6 + virtio_slots> board_map = {
    test_finisher_map, rtc_map,       vmgenid_map,   clint_map,     plic_map,      uart_map,      virtio_map(0),
    virtio_map(1),     virtio_map(2), virtio_map(3), virtio_map(4), virtio_map(5), virtio_map(6), virtio_map(7)};

/// True when regions are in ascending order, apart from each other and below DRAM.
constexpr bool board_map_is_sound() {
  std::uint64_t end = 0;
  for (const MapEntry& entry : board_map) {
    if (entry.base < end || entry.size == 0 || entry.irq > plic_sources) return false;
    end = entry.base + entry.size;
  }
  return end <= dram_base;
}
static_assert(board_map_is_sound());

}  // namespace doppel
