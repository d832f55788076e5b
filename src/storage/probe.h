#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace doppel {

/// How many of a file's first bytes decide its format.
inline constexpr std::size_t probe_length = 512;

/// "qcow2", "overlay", the name of a format that Doppel does not read ("VMDK", "VDI", "VHDX", "VHD", "QED"), or "raw".
/// `start` may be shorter than probe_length.
std::string probe_format(std::span<const std::byte> start);

}  // namespace doppel
