// Guest programs compute what real hardware computes, in every rounding mode, flags included: arithmetic is compared
// with the host's FPU and with exact integers, on random operands that crowd around the corners.
#include "guest/riscv64/floating_point.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>

#include "unit/guest/riscv64/float_operands.h"
#include "unit/guest/riscv64/float_reference.h"

namespace doppel::riscv64 {
namespace {

/// A result and the flags it raised.
template <typename Bits>
struct Outcome {
  Bits bits;
  unsigned flags;
  bool operator==(const Outcome&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
    return out << std::hex << "0x" << uint64_t(outcome.bits) << " flags 0x" << outcome.flags << std::dec;
  }
};

class HostPath {
 public:
  explicit HostPath(bool enabled) { set_host_floating_point(enabled); }
  ~HostPath() { set_host_floating_point(true); }
};

/// Runs operation(flags) by the soft path and by the host path, with NX clear and set before; all must agree.
template <typename Bits, typename Operation>
Outcome<Bits> run(Operation operation) {
  Outcome<Bits> soft{}, host{}, sticky{};
  sticky.flags = kInexact;
  {
    const HostPath off(false);
    soft.bits = operation(soft.flags);
  }
  host.bits = operation(host.flags);
  sticky.bits = operation(sticky.flags);
  EXPECT_EQ(host, soft) << "the host path differs from the soft path";
  EXPECT_EQ(sticky, (Outcome<Bits>{soft.bits, soft.flags | kInexact})) << "the host path differs once NX is set";
  return soft;
}

template <typename Format>
struct HostNumber;
template <>
struct HostNumber<SingleFormat> {
  using Type = float;
};
template <>
struct HostNumber<DoubleFormat> {
  using Type = double;
};

struct HostRounding {
  Rounding guest;
  int host;
};
constexpr HostRounding kHostRoundings[] = {{Rounding::rne, FE_TONEAREST},
                                           {Rounding::rtz, FE_TOWARDZERO},
                                           {Rounding::rdn, FE_DOWNWARD},
                                           {Rounding::rup, FE_UPWARD}};

unsigned host_flags() {
  const int raised = std::fetestexcept(FE_ALL_EXCEPT);
  return ((raised & FE_INEXACT) != 0 ? kInexact : 0) | ((raised & FE_UNDERFLOW) != 0 ? kUnderflow : 0) |
         ((raised & FE_OVERFLOW) != 0 ? kOverflow : 0) | ((raised & FE_DIVBYZERO) != 0 ? kDivideByZero : 0) |
         ((raised & FE_INVALID) != 0 ? kInvalid : 0);
}

/// operation(x, y, z) on the host in a rounding mode. The operands and the result are volatile to keep the compiler
/// from moving the arithmetic out of the mode.
template <typename To, typename From, typename Operation>
Outcome<typename To::Bits> on_host(int rounding, Operation operation, typename From::Bits a, typename From::Bits b,
                                   typename From::Bits c) {
  using Source = typename HostNumber<From>::Type;
  volatile Source x = std::bit_cast<Source>(a), y = std::bit_cast<Source>(b), z = std::bit_cast<Source>(c);
  std::fesetround(rounding);
  std::feclearexcept(FE_ALL_EXCEPT);
  volatile typename HostNumber<To>::Type result = operation(x, y, z);
  const unsigned flags = host_flags();
  std::fesetround(FE_TONEAREST);
  const typename HostNumber<To>::Type value = result;
  const auto bits = std::bit_cast<typename To::Bits>(value);
  const bool nan = typename To::Bits(bits & ~To::kSign) > To::kInfinity;
  return {nan ? To::kCanonicalNan : bits, flags};
}

constexpr int kRounds = 60000;

/// Compares guest(a, b, c, rm, flags) with host(x, y, z) in the four modes the host has.
template <typename To, typename From, typename Guest, typename Host>
void compare_with_host(uint64_t salt, Guest guest, Host host) {
  Operands<From> operands(salt);
  for (const auto& rounding : kHostRoundings) {
    for (int i = 0; i < kRounds; ++i) {
      const auto a = operands.next(), b = operands.next(), c = operands.next();
      const auto actual =
          run<typename To::Bits>([&](unsigned& flags) { return guest(a, b, c, rounding.guest, flags); });
      const auto expected = on_host<To, From>(rounding.host, host, a, b, c);
      EXPECT_EQ(actual, expected);
      ASSERT_FALSE(testing::Test::HasFailure()) << std::hex << "operands 0x" << uint64_t{a} << " 0x" << uint64_t{b}
                                                << " 0x" << uint64_t{c} << " mode " << int(rounding.guest);
    }
  }
}

/// Infinity times zero plus a quiet NaN is invalid on RISC-V; x86 does not say so.
template <typename Format>
bool is_infinity_times_zero(typename Format::Bits a, typename Format::Bits b) {
  const auto x = typename Format::Bits(a & ~Format::kSign), y = typename Format::Bits(b & ~Format::kSign);
  return (x == Format::kInfinity && y == 0) || (y == Format::kInfinity && x == 0);
}

template <typename Format>
class AgainstHost : public testing::Test {};
using HostFormats = testing::Types<SingleFormat, DoubleFormat>;
TYPED_TEST_SUITE(AgainstHost, HostFormats);

TYPED_TEST(AgainstHost, add) {
  compare_with_host<TypeParam, TypeParam>(
      1, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::add(a, b, rm, f); },
      [](auto x, auto y, auto) { return x + y; });
}

TYPED_TEST(AgainstHost, sub) {
  compare_with_host<TypeParam, TypeParam>(
      2, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::sub(a, b, rm, f); },
      [](auto x, auto y, auto) { return x - y; });
}

TYPED_TEST(AgainstHost, mul) {
  compare_with_host<TypeParam, TypeParam>(
      3, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::mul(a, b, rm, f); },
      [](auto x, auto y, auto) { return x * y; });
}

TYPED_TEST(AgainstHost, div) {
  compare_with_host<TypeParam, TypeParam>(
      4, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::div(a, b, rm, f); },
      [](auto x, auto y, auto) { return x / y; });
}

TYPED_TEST(AgainstHost, sqrt) {
  compare_with_host<TypeParam, TypeParam>(
      5, [](auto a, auto, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::sqrt(a, rm, f); },
      [](auto x, auto, auto) { return std::sqrt(x); });
}

TYPED_TEST(AgainstHost, fma) {
  if (!__builtin_cpu_supports("fma")) GTEST_SKIP() << "the host has no fused multiply-add";
  compare_with_host<TypeParam, TypeParam>(
      6,
      [](auto a, auto b, auto c, Rounding rm, unsigned& f) {
        if (!is_infinity_times_zero<TypeParam>(a, b)) return FloatingPoint<TypeParam>::fma(a, b, c, rm, f);
        constexpr auto kOne = decltype(a)(decltype(a){TypeParam::kBias} << TypeParam::kFractionBits);
        return FloatingPoint<TypeParam>::fma(kOne, kOne, c, rm, f);
      },
      [](auto x, auto y, auto z) {
        const bool skipped = (std::isinf(x) && y == 0) || (std::isinf(y) && x == 0);
        return skipped ? std::fma(decltype(x){1}, decltype(x){1}, z) : std::fma(x, y, z);
      });
}

TEST(AgainstHost, narrowing) {
  compare_with_host<SingleFormat, DoubleFormat>(
      7, [](auto a, auto, auto, Rounding rm, unsigned& f) { return f32::from_f64(a, rm, f); },
      [](double x, double, double) { return float(x); });
}

TEST(AgainstHost, widening) {
  compare_with_host<DoubleFormat, SingleFormat>(
      8, [](auto a, auto, auto, Rounding rm, unsigned& f) { return f64::from_f32(a, rm, f); },
      [](float x, float, float) { return double(x); });
}

TYPED_TEST(AgainstHost, comparisons) {
  using F = FloatingPoint<TypeParam>;
  using Number = typename HostNumber<TypeParam>::Type;
  Operands<TypeParam> operands(9);
  for (int i = 0; i < kRounds; ++i) {
    const auto a = operands.next(), b = operands.next();
    const auto x = std::bit_cast<Number>(a), y = std::bit_cast<Number>(b);
    const auto signalling = [](auto bits) {
      return
          typename TypeParam::Bits(bits & ~TypeParam::kSign) > TypeParam::kInfinity && (bits & TypeParam::kQuiet) == 0;
    };
    const unsigned quiet_flags = signalling(a) || signalling(b) ? kInvalid : 0;
    const unsigned signalling_flags = std::isnan(x) || std::isnan(y) ? kInvalid : 0;
    unsigned eq = 0, lt = 0, le = 0, ltq = 0, leq = 0;
    ASSERT_EQ(F::eq(a, b, eq), x == y);
    ASSERT_EQ(F::lt(a, b, lt), x < y);
    ASSERT_EQ(F::le(a, b, le), x <= y);
    ASSERT_EQ(F::ltq(a, b, ltq), x < y);
    ASSERT_EQ(F::leq(a, b, leq), x <= y);
    ASSERT_EQ(eq | ltq << 8 | leq << 16, quiet_flags * 0x10101);
    ASSERT_EQ(lt | le << 8, signalling_flags * 0x101);
  }
}

// Of the rounding modes, RMM is not the host's; of the formats, half is not. Exact integers judge those, and all
// others.

template <typename Format>
class AgainstExact : public testing::Test {};
using AllFormats = testing::Types<HalfFormat, SingleFormat, DoubleFormat>;
TYPED_TEST_SUITE(AgainstExact, AllFormats);

/// Compares guest(a, b, c, rm, flags) with the rounded exact(a, b, c), on numbers that are finite and not zero.
template <typename To, typename From, typename Guest, typename Reference>
void compare_with_exact(uint64_t salt, Guest guest, Reference exact) {
  Operands<From> operands(salt);
  for (int i = 0; i < 12000; ++i) {
    const auto a = operands.next_nonzero_finite(), b = operands.next_nonzero_finite();
    const auto c = operands.next_nonzero_finite();
    const Exact value = exact(a, b, c);
    for (const Rounding rm : kRoundings) {
      const auto actual = run<typename To::Bits>([&](unsigned& flags) { return guest(a, b, c, rm, flags); });
      Outcome<typename To::Bits> expected{rm == Rounding::rdn ? To::kSign : typename To::Bits{0}, 0};
      if (value.top() >= 0) expected.bits = reference_round<To>(value, rm, expected.flags);
      EXPECT_EQ(actual, expected);
      ASSERT_FALSE(testing::Test::HasFailure()) << std::hex << "operands 0x" << uint64_t{a} << " 0x" << uint64_t{b}
                                                << " 0x" << uint64_t{c} << " mode " << int(rm);
    }
  }
}

TYPED_TEST(AgainstExact, add) {
  compare_with_exact<TypeParam, TypeParam>(
      11, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::add(a, b, rm, f); },
      [](auto a, auto b, auto) { return Exact::of<TypeParam>(a) + Exact::of<TypeParam>(b); });
}

TYPED_TEST(AgainstExact, mul) {
  compare_with_exact<TypeParam, TypeParam>(
      12, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::mul(a, b, rm, f); },
      [](auto a, auto b, auto) { return reference_product<TypeParam>(a, b); });
}

TYPED_TEST(AgainstExact, div) {
  compare_with_exact<TypeParam, TypeParam>(
      13, [](auto a, auto b, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::div(a, b, rm, f); },
      [](auto a, auto b, auto) { return reference_quotient<TypeParam>(a, b); });
}

TYPED_TEST(AgainstExact, sqrt) {
  using Bits = typename TypeParam::Bits;
  const auto magnitude = [](Bits a) { return Bits(a & ~TypeParam::kSign); };
  compare_with_exact<TypeParam, TypeParam>(
      14,
      [&](auto a, auto, auto, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::sqrt(magnitude(a), rm, f); },
      [&](auto a, auto, auto) { return reference_root<TypeParam>(magnitude(a)); });
}

TYPED_TEST(AgainstExact, fma) {
  compare_with_exact<TypeParam, TypeParam>(
      15,
      [](auto a, auto b, auto c, Rounding rm, unsigned& f) { return FloatingPoint<TypeParam>::fma(a, b, c, rm, f); },
      [](auto a, auto b, auto c) { return reference_product<TypeParam>(a, b) + Exact::of<TypeParam>(c); });
}

TYPED_TEST(AgainstExact, conversions_to_all_formats) {
  const auto from = []<typename To>(auto a, Rounding rm, unsigned& f) {
    if constexpr (sizeof(a) == 2) return FloatingPoint<To>::from_f16(a, rm, f);
    if constexpr (sizeof(a) == 4) return FloatingPoint<To>::from_f32(a, rm, f);
    if constexpr (sizeof(a) == 8) return FloatingPoint<To>::from_f64(a, rm, f);
  };
  const auto value = [](auto a, auto, auto) { return Exact::of<TypeParam>(a); };
  const auto compare = [&]<typename To>(uint64_t salt) {
    compare_with_exact<To, TypeParam>(
        salt, [&](auto a, auto, auto, Rounding rm, unsigned& f) { return from.template operator()<To>(a, rm, f); },
        value);
  };
  compare.template operator()<HalfFormat>(16);
  compare.template operator()<SingleFormat>(17);
  compare.template operator()<DoubleFormat>(18);
}

TYPED_TEST(AgainstExact, from_integers) {
  using F = FloatingPoint<TypeParam>;
  using Bits = typename TypeParam::Bits;
  Operands<TypeParam> operands(19);
  for (int i = 0; i < 12000; ++i) {
    // Integers of every length, many of them round.
    const uint64_t length = operands.raw() % 64, zeros = operands.raw() % 64;
    uint64_t raw = (operands.raw() >> length) & (~uint64_t{0} << zeros);
    if (i % 7 == 0) raw = -raw;
    for (const Rounding rm : kRoundings) {
      const auto check = [&](bool negative, uint64_t magnitude, auto operation) {
        Outcome<Bits> expected{};
        if (magnitude != 0) expected.bits = reference_round<TypeParam>({negative, magnitude, 0}, rm, expected.flags);
        EXPECT_EQ(run<Bits>(operation), expected) << std::hex << "integer 0x" << raw << " mode " << int(rm);
      };
      const auto i64 = int64_t(raw);
      const auto i32 = int32_t(raw);
      check(i64 < 0, i64 < 0 ? -raw : raw, [&](unsigned& f) { return F::from_i64(i64, rm, f); });
      check(i32 < 0, uint64_t(std::abs(int64_t{i32})), [&](unsigned& f) { return F::from_i32(i32, rm, f); });
      check(false, raw, [&](unsigned& f) { return F::from_u64(raw, rm, f); });
      check(false, uint32_t(raw), [&](unsigned& f) { return F::from_u32(uint32_t(raw), rm, f); });
      ASSERT_FALSE(testing::Test::HasFailure());
    }
  }
}

/// FCVT to an integer type, from an exact value (Unprivileged ISA 20.7).
template <typename Integer>
Outcome<Integer> reference_integer(const Exact& value, Rounding rm) {
  using Limits = std::numeric_limits<Integer>;
  const Cut cut = cut_at(value, Exact::kUnit, rm);
  const Wide limit = value.negative() ? Wide(-__int128{Limits::min()}) : Wide{uint64_t(Limits::max())};
  // `kept` holds 64 bits only.
  const bool beyond = value.top() >= Exact::kUnit + 64 || cut.kept > limit;
  if (beyond) return {value.negative() ? Limits::min() : Limits::max(), kInvalid};
  return {Integer(value.negative() ? -cut.kept : cut.kept), cut.inexact ? kInexact : 0};
}

TYPED_TEST(AgainstExact, to_integers_and_rounding) {
  using F = FloatingPoint<TypeParam>;
  using Bits = typename TypeParam::Bits;
  Operands<TypeParam> operands(20);
  for (int i = 0; i < 20000; ++i) {
    auto a = operands.next_nonzero_finite();
    if (i % 2 != 0) {  // Around the ends of the integer types, and halves.
      const auto biased = std::min<uint64_t>(TypeParam::kBias - 2 + operands.raw() % 70, TypeParam::kMaxExponent - 1);
      a = Bits((a & (TypeParam::kSign | TypeParam::kFractionMask)) | Bits(biased << TypeParam::kFractionBits));
    }
    const Exact value = Exact::of<TypeParam>(a);
    SCOPED_TRACE(testing::Message() << std::hex << "operand 0x" << uint64_t{a});
    for (const Rounding rm : kRoundings) {
      EXPECT_EQ(run<int32_t>([&](unsigned& f) { return F::to_i32(a, rm, f); }), reference_integer<int32_t>(value, rm));
      EXPECT_EQ(run<uint32_t>([&](unsigned& f) { return F::to_u32(a, rm, f); }),
                reference_integer<uint32_t>(value, rm));
      EXPECT_EQ(run<int64_t>([&](unsigned& f) { return F::to_i64(a, rm, f); }), reference_integer<int64_t>(value, rm));
      EXPECT_EQ(run<uint64_t>([&](unsigned& f) { return F::to_u64(a, rm, f); }),
                reference_integer<uint64_t>(value, rm));

      Outcome<Bits> rounded{a, 0};
      if (value.top() < Exact::kUnit + 63) {  // Larger numbers are integers in every format.
        const Cut cut = cut_at(value, Exact::kUnit, rm);
        unsigned none = 0;
        rounded.bits = Bits(a & TypeParam::kSign);
        if (cut.kept != 0) rounded.bits = reference_round<TypeParam>({value.negative(), cut.kept, 0}, rm, none);
        rounded.flags = cut.inexact ? kInexact : 0;
      }
      EXPECT_EQ(run<Bits>([&](unsigned& f) { return F::roundnx(a, rm, f); }), rounded);
      EXPECT_EQ(run<Bits>([&](unsigned& f) { return F::round(a, rm, f); }), (Outcome<Bits>{rounded.bits, 0}));
    }
    const auto modulo = int32_t(uint32_t(value.window(Exact::kUnit)) * (value.negative() ? -1U : 1U));
    EXPECT_EQ(run<int32_t>([&](unsigned& f) { return F::to_i32_mod(a, f); }),
              (Outcome<int32_t>{modulo, reference_integer<int32_t>(value, Rounding::rtz).flags}));
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

// A guest busy with ordinary arithmetic would be several times slower without the host's.
TYPED_TEST(AgainstHost, ordinary_arithmetic_runs_on_the_host_and_can_be_kept_from_it) {
  using F = FloatingPoint<TypeParam>;
  const auto batch = [](unsigned flags) {
    const uint64_t before = host_floating_point_operations();
    const auto three = F::from_i32(3, Rounding::rne, flags), eight = F::from_u64(8, Rounding::rne, flags);
    const auto root = F::sqrt(F::mul(three, three, Rounding::rne, flags), Rounding::rne, flags);
    F::add(root, eight, Rounding::rne, flags);
    F::sub(root, eight, Rounding::rne, flags);
    F::div(three, eight, Rounding::rne, flags);
    F::fma(three, eight, eight, Rounding::rne, flags);
    if constexpr (sizeof(three) == 4) f64::from_f32(three, Rounding::rne, flags);
    if constexpr (sizeof(three) == 8) f32::from_f64(three, Rounding::rne, flags);
    return host_floating_point_operations() - before;
  };
  const uint64_t expected = __builtin_cpu_supports("fma") ? 9 : 8;
  EXPECT_EQ(batch(0), expected);
  EXPECT_EQ(batch(kInexact), expected);
  const HostPath off(false);
  EXPECT_EQ(batch(kInexact), 0U);
}

}  // namespace
}  // namespace doppel::riscv64
