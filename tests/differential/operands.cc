#include "operands.h"

#include <array>

namespace doppel::differential {

namespace {

/// An IEEE 754 format by the sizes of its fields.
struct Binary {
  unsigned exponent, fraction;
  std::uint64_t sign(bool negative) const { return std::uint64_t(negative) << (exponent + fraction); }
  std::uint64_t limit() const { return (1ULL << exponent) - 1; }
  std::uint64_t bias() const { return limit() >> 1; }
  std::uint64_t fraction_mask() const { return (1ULL << fraction) - 1; }
  std::uint64_t make(std::uint64_t e, std::uint64_t f) const { return e << fraction | (f & fraction_mask()); }
};
constexpr Binary binary16{5, 10}, binary32{8, 23}, binary64{11, 52};

std::uint64_t special(const Binary& b, Random& random) {
  const std::uint64_t half = b.bias() - 1, one = b.bias();
  const std::array list = {
      b.make(0, 0),
      b.make(0, 0),                                                 // zero
      b.make(0, 1),                                                 // the least subnormal
      b.make(0, b.fraction_mask()),                                 // the greatest subnormal
      b.make(1, 0),                                                 // the least normal
      b.make(b.limit() - 1, b.fraction_mask()),                     // the greatest finite
      b.make(b.limit(), 0),                                         // infinity
      b.make(b.limit(), 1),                                         // a signalling NaN
      b.make(b.limit(), 1ULL << (b.fraction - 1)),                  // the canonical NaN
      b.make(b.limit(), random.next() | 1ULL << (b.fraction - 1)),  // a quiet NaN with a payload
      b.make(half, 0),
      b.make(half, b.fraction_mask()),
      b.make(one, 0),
      b.make(one, 1),
      b.make(one, 1ULL << (b.fraction - 1)),      // 1.5
      b.make(one + 1, 1ULL << (b.fraction - 2)),  // 2.5
  };
  return random.pick(list);
}

/// 2 to the number of bits of an integer type, or close by: where conversions begin to saturate.
std::uint64_t near_integer_limit(const Binary& b, Random& random) {
  constexpr std::array<unsigned, 8> powers = {7, 8, 15, 16, 31, 32, 63, 64};
  const std::uint64_t exponent = b.bias() + (random.one_in(4) ? random.below(100) : random.pick(powers));
  if (exponent >= b.limit()) return special(b, random);
  return b.make(exponent, random.one_in(4) ? random.next() : 0) + random.below(5) - 2;
}

/// The product of two such is next to the least normal number, or to the greatest.
std::uint64_t root_of_limit(const Binary& b, Random& random) {
  const std::uint64_t few = random.below(3);
  const std::uint64_t fraction = random.one_in(3) ? random.next() : random.one_in(2) ? few : b.fraction_mask() - few;
  return b.make(b.bias() / 2 + random.below(3) + (random.one_in(4) ? b.bias() : 0), fraction);
}

std::uint64_t number(const Binary& b, Random& random) {
  const auto sign = b.sign(random.one_in(2));
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return sign | special(b, random);
    case 3:
    case 4:
      return sign | near_integer_limit(b, random);
    case 5:
      return sign | root_of_limit(b, random);
    case 6:
      return sign | b.make(b.bias() + random.below(2 * b.fraction) - b.fraction / 2, random.next());
    default:
      return sign | b.make(random.below(b.limit() + 1), random.next());
  }
}

}  // namespace

std::uint64_t integer_operand(Random& random) {
  constexpr std::array<std::uint64_t, 12> limits = {
      0,          1,          ~0ULL,       1ULL << 63, ~0ULL >> 1,         0x80000000,
      0x7fffffff, 0xffffffff, ~0ULL << 31, 0x8000,     0xffffffff80000001, 0xff};
  const unsigned shift = unsigned(random.below(64));
  switch (random.below(7)) {
    case 0:
    case 1:
      return random.pick(limits);
    case 2:
      return random.below(64) - 32;
    case 3:
      return (1ULL << shift) + random.below(3) - 1;
    case 4:
      return std::uint64_t(std::int64_t(std::int32_t(random.next())));
    case 5:
      return random.next() >> shift;
    default:
      return random.next();
  }
}

std::uint64_t floating_operand(char format, Random& random) {
  if (format == 'd') return number(binary64, random);
  return format == 's' ? ~0ULL << 32 | number(binary32, random) : ~0ULL << 16 | number(binary16, random);
}

std::uint64_t floating_operand(Random& random) {
  switch (random.below(8)) {
    case 0:
      return number(binary32, random) | (random.next() << 32 & ~(1ULL << 63));  // not boxed
    case 1:
      return ~0ULL << 32 | number(binary16, random);  // boxed as a float only
    case 2:
      return floating_operand('h', random);
    case 3:
    case 4:
      return floating_operand('s', random);
    default:
      return floating_operand('d', random);
  }
}

std::uint64_t page_operand(unsigned index, Random& random) {
  if (index < 128) return integer_operand(random);
  if (index < 256) return floating_operand('s', random);
  if (index < 384) return floating_operand('d', random);
  return index < 448 ? floating_operand('h', random) : floating_operand(random);
}

unsigned choose_operand(char format, Random& random) {
  if (random.one_in(10)) return unsigned(random.below(page_operands));
  switch (format) {
    case 's':
      return 128 + unsigned(random.below(128));
    case 'd':
      return 256 + unsigned(random.below(128));
    case 'h':
      return 384 + unsigned(random.below(64));
    default:
      return unsigned(random.below(128));
  }
}

}  // namespace doppel::differential
