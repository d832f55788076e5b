#pragma once
// A static RISC-V Linux program made of streams: each begins with its own registers and scratch memory, and at its end
// writes what became of them to the standard output.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "stream.h"

namespace doppel::differential {

/// Bytes that go to one address.
struct Segment {
  std::uint64_t address;
  std::vector<std::byte> bytes;
  bool code;
};

struct Program {
  std::uint64_t entry = 0;
  std::vector<Segment> segments;
};

/// Bytes that a stream writes: x0 to x31 (0 for its spill register), f0 to f31, fcsr, the scratch memory.
inline constexpr std::uint64_t report_size = place::registers_size + place::scratch_size;

/// The streams one after the other, by ascending slots, then exit. `seed` picks the pool of operands. With
/// `without_zicbom` NOPs stand in for cbo.inval, cbo.clean and cbo.flush, which change nothing that a program sees.
Program make_program(std::span<const Stream> streams, std::uint64_t seed, bool without_zicbom = false);
/// As an ELF file.
std::vector<std::byte> elf_file(const Program& program);

/// The stream's own instructions where the program has them, with addresses.
struct Placed {
  std::uint64_t address;
  Coded instruction;
};
std::vector<Placed> placed(const Stream& stream);

/// The first difference between two reports of a stream as a sentence; empty when they are the same.
std::string difference(const Stream& stream, std::span<const std::byte> expected, std::span<const std::byte> got);

}  // namespace doppel::differential
