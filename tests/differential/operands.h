#pragma once
// Register contents that are worth trying.
#include <cstdint>

#include "random.h"

namespace doppel::differential {

/// Small numbers, the limits of every width, powers of two and their neighbours, anything.
std::uint64_t integer_operand(Random& random);
/// Numbers of the format that isa.inc's names end in: 'd', or 's' or 'h' in their NaN boxes.
std::uint64_t floating_operand(char format, Random& random);
/// A register of the F and D extensions: one of those, or a float that lacks its box.
std::uint64_t floating_operand(Random& random);

/// The contents of a page of operands: a quarter each of integers, floats and doubles, an eighth each of halves and
/// anything.
inline constexpr unsigned page_operands = 512;
std::uint64_t page_operand(unsigned index, Random& random);
/// Which operand of a page to take for a source of this format: 'x' is an integer. Now and then one of another.
unsigned choose_operand(char format, Random& random);

}  // namespace doppel::differential
