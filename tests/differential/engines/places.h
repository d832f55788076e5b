#pragma once
// Where the programs of this folder have what: physical memory, and the windows on it that page tables open. All
// addresses are such that LUI and ADDI make them.
#include <cstdint>

#include "memory/guest_memory.h"

namespace doppel::differential::engines {

using U64 = std::uint64_t;
using I64 = std::int64_t;

namespace place {

// Physical memory. Nothing that PMP entries of a program may cover lies behind what firmware needs, so that not even a
// top-of-range entry without a predecessor reaches it.
inline constexpr U64 ram = 0x2000'0000, ram_size = 0x10'0000;
inline constexpr U64 data = ram;
inline constexpr unsigned data_pages = 16;
inline constexpr U64 code = ram + 0x2'0000, twin = ram + 0x3'0000;  // a twin has other immediates in the same places
inline constexpr unsigned code_pages = 8;
inline constexpr U64 written = ram + 0x4'0000;   // a page of code that programs write themselves
inline constexpr U64 tables = ram + 0x8'0000;    // page tables, `tables_of_space` bytes an address space
inline constexpr U64 handlers = ram + 0xc'0000;  // trap handlers, a page a hart
inline constexpr U64 records = ram + 0xd'0000;   // what the handlers keep, `records_of_hart` bytes a hart
inline constexpr U64 tables_of_space = 0x8000, records_of_hart = 0x8000;
inline constexpr unsigned spaces = 4, harts = 2;

// In a hart's records. A log of traps is a page whose address has bit 12 clear in front of one that has it set.
inline constexpr U64 machine_log = 0x2000, supervisor_log = 0x4000, descriptors = 0x400;
/// A word that is not 0 while page tables are changed and not fenced yet.
inline constexpr U64 changing = 0x200;

inline constexpr U64 device = 0x3000'0000;  // one page
inline constexpr U64 device_acknowledge = 0, device_timer = 8, device_software = 16, device_plain = 0x100;

/// Of each page of code the bytes that hold data.
inline constexpr U64 code_data = 0x800, code_data_end = 0xa00, code_data_slack = 64;

// Tables of an address space.
inline constexpr U64 root = 0, middle = 0x1000, windows_table = 0x2000, identity_table = 0x3000, root48 = 0x4000,
                     root57 = 0x5000;

// Windows: offsets from low or high, one of which a program uses.
inline constexpr U64 low = 0x1000'0000, high = 0xffff'ffff'd000'0000;
inline constexpr U64 user_code = 0, user_alias = 0x1'0000, supervisor_code = 0x2'0000, supervisor_alias = 0x3'0000;
inline constexpr U64 user_write = 0x4'0000, supervisor_write = 0x5'0000;  // the code's pages, to write
inline constexpr U64 data_window = 0x8'0000;
inline constexpr unsigned data_window_pages = 32;
inline constexpr U64 napot = 0xa'0000;  // all data pages by one 64 KiB leaf
inline constexpr U64 user_written = 0xb'8000, supervisor_written = 0xb'a000;
inline constexpr U64 user_device = 0xb'c000, supervisor_device = 0xb'e000;
inline constexpr U64 tables_window = 0xc'0000;
inline constexpr U64 superpage = 0x40'0000;  // RAM's begin by one 2 MiB leaf
inline constexpr U64 unmapped = 0xf'0000, unmapped_table = 0x80'0000;

}  // namespace place
}  // namespace doppel::differential::engines
