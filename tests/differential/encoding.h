#pragma once
// The rows of isa.inc as data, and instructions made from them.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "guest/riscv64/instruction.h"

namespace doppel::differential {

/// What a stream has to arrange before an instruction can run.
enum class Kind : std::uint8_t {
  plain,          // nothing
  floating,       // interesting operands in f registers
  memory,         // an address in a register
  cache_block,    // the same
  atomic,         // a naturally aligned address
  reserve,        // LR, with the SC that goes with it
  conditional,    // SC, with its LR
  branch,         // a target
  jump,           // a target
  jump_register,  // the address of a target in a register
  csr,            // one of the floating-point CSRs
  left_out,       // traps, or needs more than user mode
};

/// One row of isa.inc.
struct Row {
  std::string_view name;
  std::string_view pattern;  // a character a bit, most significant first: 32 or 16
  std::string_view layout;   // where the immediate's bits are
  bool is_signed;            // the immediate
  riscv64::Extension extension;
  Kind kind;
  std::uint32_t mask = 0, match = 0, ignored = 0;
  std::array<std::uint32_t, 26> fields{};  // the bits of each letter, in either case
  std::vector<std::uint32_t> not_zero;     // fields that must not be zero
  /// One bit of the immediate: its number, and where the encoding has it.
  struct Placed {
    unsigned number;
    std::uint32_t bit;
  };
  std::vector<Placed> immediate;
  bool compressed() const { return pattern.size() == 16; }
  unsigned length() const { return unsigned(pattern.size() / 8); }
  /// Bits of the field that `letter` (lower case) stands for.
  std::uint32_t field(char letter) const { return fields[std::size_t(letter - 'a')]; }
  /// A register field of three bits, which names registers 8 to 15.
  bool short_field(char letter) const;
};

/// Operands by isa.inc's letters.
struct Fields {
  unsigned d = 0, s = 0, t = 0, u = 0, m = 0, a = 0, l = 0;
  std::int64_t i = 0;
  std::uint32_t ignored = 0;  // what stands in bits that the instruction ignores
};

std::span<const Row> rows();
/// The row of this name, which must exist.
const Row& row_named(std::string_view name);
/// The encoding; nothing when a field that must not be zero is, or the bits mean an earlier row.
std::optional<std::uint32_t> encode(const Row& row, const Fields& fields);
/// The row that the bits belong to, or null.
const Row* row_of(std::uint32_t bits);
/// The immediate's value when its field holds these bits of a random number.
std::int64_t immediate_from(const Row& row, std::uint64_t random);

}  // namespace doppel::differential
