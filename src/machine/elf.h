#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "machine/loader.h"

namespace doppel {

/// Parses a 64-bit little-endian RISC-V ELF that is executable or position-independent: its PT_LOAD segments by
/// physical address, its entry as a physical address, and the HTIF symbols of its symbol table if there is one. (System
/// V ABI, chapters 4 and 5.)
Result<LoadedKernel> parse_elf(std::vector<std::byte> file, std::string_view path, std::uint64_t memory_size);

}  // namespace doppel
