#pragma once
// Random user-mode instruction streams.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "encoding.h"
#include "random.h"

namespace doppel::differential {

/// Where a program has what (see program.h). All below 2 GiB, so that LUI and ADDI make any address.
namespace place {
inline constexpr std::uint64_t text = 0x10000000;  // a slot a stream
inline constexpr std::uint64_t slot_size = 0x2000;
inline constexpr unsigned slots = 4096;
inline constexpr std::uint64_t data = 0x14000000;
inline constexpr std::uint64_t pool = 0x14001000;  // pages of operands, each 2 KiB to either side of its address
inline constexpr unsigned pool_pages = 16;
inline constexpr std::uint64_t scratch = 0x14014e00;  // what streams load and store: a page ends in its middle
inline constexpr std::uint64_t scratch_size = 0x400;
inline constexpr std::uint64_t registers_size = 65 * 8;               // x0 to x31, f0 to f31, fcsr
inline constexpr std::uint64_t registers = scratch - registers_size;  // at the end, for the report
inline constexpr std::uint64_t seeds = 0x14018000;  // registers and scratch memory to begin with, a stream
inline constexpr std::uint64_t seed_size = 0x800;
}  // namespace place

/// One instruction; where `fix` says so, its immediate depends on where things are.
struct Coded {
  const Row* row;
  Fields fields;
  std::uint32_t bits = 0;
};

/// An immediate that linking fills in: target - address of instruction `anchor` + addend.
struct Fix {
  unsigned at = 0;      // which instruction of the item
  unsigned anchor = 0;  // which instruction's address is subtracted
  std::int64_t addend = 0;
  bool inside = false;  // the target is instruction `target` of this item, else the item `target` after this one
  unsigned target = 0;
};

/// Instructions that make sense only together: what shrinking removes as a whole.
struct Item {
  std::vector<Coded> code;
  std::vector<Fix> fixes;
};

struct Stream {
  std::uint64_t seed = 0;
  unsigned slot = 0;   // where in a program it goes
  unsigned spill = 1;  // the x register that the stream ends without: its last value is not compared
  std::array<std::uint64_t, 32> x{}, f{};
  std::uint64_t fcsr = 0;
  std::vector<std::uint64_t> scratch;
  std::vector<Item> items;
};

/// The stream that a seed stands for, about `instructions` long (at most 250), for one slot of a program (0 to 4095).
Stream make_stream(std::uint64_t seed, unsigned slot, unsigned instructions);

/// The stream's instructions placed at `address`, with all immediates filled in.
std::vector<Coded> link(const Stream& stream, std::uint64_t address);

std::uint64_t bytes_of(const std::vector<Coded>& code);
/// An instruction of this row; its fields must be encodable.
Coded make(std::string_view name, const Fields& fields);

}  // namespace doppel::differential
