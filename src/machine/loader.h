#pragma once
// What a user gives as a kernel or as firmware, recognised and checked, as segments to be copied into guest memory.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace doppel {

/// Bytes that belong at one place of guest memory.
struct LoadSegment {
  std::uint64_t address;      // guest-physical, or from where boot puts the file when it is relocatable
  std::uint64_t file_offset;  // in LoadedKernel::contents
  std::uint64_t file_size;
  std::uint64_t memory_size;  // at least file_size; the rest is zeros
};

/// Addresses of the symbols that the host-target interface of bare-metal test programs uses.
struct HtifSymbols {
  std::optional<std::uint64_t> tohost, fromhost, begin_signature, end_signature;
  bool operator==(const HtifSymbols&) const = default;
};

enum class KernelKind : std::uint8_t {
  image,  // the RISC-V Image of Linux (Documentation/arch/riscv/boot-image-header.rst)
  elf,    // a 64-bit RISC-V ELF
  raw,    // bytes that begin with code
};

/// A kernel or firmware. Segments are in ascending order, do not overlap, and lie inside `contents`, or in `file` where
/// that is set: what needs no unpacking is copied from there when it is needed, and takes no memory of the host's.
struct LoadedKernel {
  std::string path = {};
  KernelKind kind = KernelKind::raw;
  std::vector<std::byte> contents = {};  // unpacked
  std::shared_ptr<const FileDescriptor> file = {};
  std::vector<LoadSegment> segments = {};
  bool relocatable = true;        // addresses count from where boot puts it
  std::uint64_t entry = 0;        // where a hart begins, by the same rule
  std::uint64_t text_offset = 0;  // image: where it wants to be, from the beginning of DRAM
  HtifSymbols symbols = {};       // elf: by the same rule as `entry`

  std::span<const std::byte> bytes(const LoadSegment& segment) const {
    return std::span(contents).subspan(segment.file_offset, segment.file_size);
  }
  /// The first address, and the one after the last.
  std::uint64_t low() const { return segments.front().address; }
  std::uint64_t high() const { return segments.back().address + segments.back().memory_size; }
};

struct LoadRules {
  std::uint64_t memory_size;  // of the guest in bytes: nothing may unpack to or span more
  bool allow_raw = false;     // a file of no known format is code, as the next stage of a firmware may be
};

/// Reads a whole file; `what` is its role in messages ("kernel"). Missing, unreadable, empty, no regular file and
/// larger than `memory_size` bytes are errors.
Result<std::vector<std::byte>> read_boot_file(std::string_view what, const std::string& path,
                                              std::uint64_t memory_size);

/// Reads all of `out` from a file's bytes at `offset` on; errors as above.
Result<void> read_part(const FileDescriptor& file, std::uint64_t offset, std::span<std::byte> out,
                       std::string_view what, std::string_view path);
/// The same by two threads where it is much; before the process is confined.
Result<void> read_part_by_two(const FileDescriptor& file, std::uint64_t offset, std::span<std::byte> out,
                              std::string_view what, std::string_view path);

/// Recognises an Image (with or without EFI stub), one packed by gzip or zstd, an EFI zboot file, and an ELF. The file
/// may be hostile. Errors name `path`, what was expected, and "truncated" where the file ends before what its headers
/// promise.
Result<LoadedKernel> parse_kernel(std::vector<std::byte> file, std::string_view path, const LoadRules& rules);

/// The same for a file, of which no more than its head is read if it is an Image that nothing packs.
Result<LoadedKernel> read_kernel(const std::string& path, const LoadRules& rules);

/// Firmware: an ELF, or else raw code for the beginning of DRAM.
Result<LoadedKernel> parse_firmware(std::vector<std::byte> file, std::string_view path, std::uint64_t memory_size);

}  // namespace doppel
