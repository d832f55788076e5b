#include "guest/riscv64/floating_point.h"

#include "guest/riscv64/float_arithmetic.h"
#include "guest/riscv64/float_comparison.h"
#include "guest/riscv64/float_conversion.h"
#include "guest/riscv64/float_host.h"

namespace doppel::riscv64 {

namespace {

template <typename To, typename From>
typename To::Bits convert(typename From::Bits a, Rounding rm, unsigned& flags) {
  if constexpr (host::kExists<To> && host::kExists<From>) {
    constexpr bool kWidens = To::kFractionBits >= From::kFractionBits;
    typename To::Bits result;
    const bool suits = kWidens || rm == Rounding::rne;
    if (suits && host::attempt([&] { return host::convert<To, From>(a, flags, result); })) return result;
  }
  return soft::convert<To, From>(a, rm, flags);
}

template <typename Format, typename Integer>
typename Format::Bits from_integer(Integer value, Rounding rm, unsigned& flags) {
  if constexpr (host::kExists<Format>) {
    typename Format::Bits result;
    if (host::attempt([&] { return host::from_integer<Format>(value, result); })) return result;
  }
  return soft::from_integer<Format>(value, rm, flags);
}

}  // namespace

void set_host_floating_point(bool enabled) { host::enabled_flag.store(enabled, std::memory_order_relaxed); }
uint64_t host_floating_point_operations() { return host::operations; }

template <typename Format>
auto FloatingPoint<Format>::add(Bits a, Bits b, Rounding rm, unsigned& flags) -> Bits {
  if constexpr (host::kExists<Format>) {
    Bits result;
    if (rm == Rounding::rne && host::attempt([&] { return host::add<Format>(a, b, flags, result); })) return result;
  }
  return soft::add<Format>(a, b, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::sub(Bits a, Bits b, Rounding rm, unsigned& flags) -> Bits {
  return add(a, Bits(b ^ Format::kSign), rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::mul(Bits a, Bits b, Rounding rm, unsigned& flags) -> Bits {
  if constexpr (host::kExists<Format>) {
    Bits result;
    if (rm == Rounding::rne && host::attempt([&] { return host::mul<Format>(a, b, flags, result); })) return result;
  }
  return soft::mul<Format>(a, b, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::div(Bits a, Bits b, Rounding rm, unsigned& flags) -> Bits {
  if constexpr (host::kExists<Format>) {
    Bits result;
    if (rm == Rounding::rne && host::attempt([&] { return host::div<Format>(a, b, flags, result); })) return result;
  }
  return soft::div<Format>(a, b, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::sqrt(Bits a, Rounding rm, unsigned& flags) -> Bits {
  if constexpr (host::kExists<Format>) {
    Bits result;
    if (rm == Rounding::rne && host::attempt([&] { return host::sqrt<Format>(a, flags, result); })) return result;
  }
  return soft::sqrt<Format>(a, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::fma(Bits a, Bits b, Bits c, Rounding rm, unsigned& flags) -> Bits {
  if constexpr (host::kExists<Format>) {
    Bits result;
    if (rm == Rounding::rne && host::attempt([&] { return host::fma<Format>(a, b, c, flags, result); })) return result;
  }
  return soft::fma<Format>(a, b, c, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::min(Bits a, Bits b, unsigned& flags) -> Bits {
  return soft::select<Format>(a, b, true, false, flags);
}

template <typename Format>
auto FloatingPoint<Format>::max(Bits a, Bits b, unsigned& flags) -> Bits {
  return soft::select<Format>(a, b, false, false, flags);
}

template <typename Format>
auto FloatingPoint<Format>::minm(Bits a, Bits b, unsigned& flags) -> Bits {
  return soft::select<Format>(a, b, true, true, flags);
}

template <typename Format>
auto FloatingPoint<Format>::maxm(Bits a, Bits b, unsigned& flags) -> Bits {
  return soft::select<Format>(a, b, false, true, flags);
}

template <typename Format>
bool FloatingPoint<Format>::eq(Bits a, Bits b, unsigned& flags) {
  return soft::ordered<Format>(a, b, false, flags) && soft::equal<Format>(a, b);
}

template <typename Format>
bool FloatingPoint<Format>::lt(Bits a, Bits b, unsigned& flags) {
  return soft::ordered<Format>(a, b, true, flags) && soft::less<Format>(a, b);
}

template <typename Format>
bool FloatingPoint<Format>::le(Bits a, Bits b, unsigned& flags) {
  return soft::ordered<Format>(a, b, true, flags) && !soft::less<Format>(b, a);
}

template <typename Format>
bool FloatingPoint<Format>::ltq(Bits a, Bits b, unsigned& flags) {
  return soft::ordered<Format>(a, b, false, flags) && soft::less<Format>(a, b);
}

template <typename Format>
bool FloatingPoint<Format>::leq(Bits a, Bits b, unsigned& flags) {
  return soft::ordered<Format>(a, b, false, flags) && !soft::less<Format>(b, a);
}

template <typename Format>
unsigned FloatingPoint<Format>::classify(Bits a) {
  return 1U << soft::class_number<Format>(a);
}

template <typename Format>
auto FloatingPoint<Format>::round(Bits a, Rounding rm, unsigned& flags) -> Bits {
  return soft::round_in_format<Format>(a, rm, flags, 0);
}

template <typename Format>
auto FloatingPoint<Format>::roundnx(Bits a, Rounding rm, unsigned& flags) -> Bits {
  return soft::round_in_format<Format>(a, rm, flags, kInexact);
}

template <typename Format>
auto FloatingPoint<Format>::from_i32(int32_t value, Rounding rm, unsigned& flags) -> Bits {
  return from_integer<Format>(value, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::from_u32(uint32_t value, Rounding rm, unsigned& flags) -> Bits {
  return from_integer<Format>(value, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::from_i64(int64_t value, Rounding rm, unsigned& flags) -> Bits {
  return from_integer<Format>(value, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::from_u64(uint64_t value, Rounding rm, unsigned& flags) -> Bits {
  return from_integer<Format>(value, rm, flags);
}

template <typename Format>
int32_t FloatingPoint<Format>::to_i32(Bits a, Rounding rm, unsigned& flags) {
  return soft::to_integer<int32_t, Format>(a, rm, flags);
}

template <typename Format>
uint32_t FloatingPoint<Format>::to_u32(Bits a, Rounding rm, unsigned& flags) {
  return soft::to_integer<uint32_t, Format>(a, rm, flags);
}

template <typename Format>
int64_t FloatingPoint<Format>::to_i64(Bits a, Rounding rm, unsigned& flags) {
  return soft::to_integer<int64_t, Format>(a, rm, flags);
}

template <typename Format>
uint64_t FloatingPoint<Format>::to_u64(Bits a, Rounding rm, unsigned& flags) {
  return soft::to_integer<uint64_t, Format>(a, rm, flags);
}

template <typename Format>
int32_t FloatingPoint<Format>::to_i32_mod(Bits a, unsigned& flags) {
  to_i32(a, Rounding::rtz, flags);
  return int32_t(soft::truncate_modulo<Format>(a));
}

template <typename Format>
auto FloatingPoint<Format>::from_f16(uint16_t a, Rounding rm, unsigned& flags) -> Bits {
  return convert<Format, HalfFormat>(a, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::from_f32(uint32_t a, Rounding rm, unsigned& flags) -> Bits {
  return convert<Format, SingleFormat>(a, rm, flags);
}

template <typename Format>
auto FloatingPoint<Format>::from_f64(uint64_t a, Rounding rm, unsigned& flags) -> Bits {
  return convert<Format, DoubleFormat>(a, rm, flags);
}

template struct FloatingPoint<HalfFormat>;
template struct FloatingPoint<SingleFormat>;
template struct FloatingPoint<DoubleFormat>;

namespace {

/// The finite constants, all of which a single holds; entry 1, the smallest normal number, differs in every format.
constexpr std::array<float, 30> kConstants = {-1.0F, 0.0F,   0x1p-16F, 0x1p-15F, 0x1p-8F, 0x1p-7F, 0.0625F, 0.125F,
                                              0.25F, .3125F, 0.375F,   0.4375F,  0.5F,    0.625F,  0.75F,   0.875F,
                                              1.0F,  1.25F,  1.5F,     1.75F,    2.0F,    2.5F,    3.0F,    4.0F,
                                              8.0F,  16.0F,  128.0F,   256.0F,   32768.F, 65536.F};

template <typename Format>
constexpr std::array<typename Format::Bits, 32> constants() {
  using Bits = typename Format::Bits;
  std::array<Bits, 32> table{};
  for (size_t i = 0; i < kConstants.size(); ++i) {
    unsigned flags = 0;
    table[i] = soft::convert<Format, SingleFormat>(std::bit_cast<uint32_t>(kConstants[i]), Rounding::rne, flags);
  }
  table[1] = Bits(Format::kFractionMask + 1);
  table[30] = Format::kInfinity;
  table[31] = Format::kCanonicalNan;
  return table;
}

}  // namespace

constinit const std::array<uint16_t, 32> f16_fli = constants<HalfFormat>();
constinit const std::array<uint32_t, 32> f32_fli = constants<SingleFormat>();
constinit const std::array<uint64_t, 32> f64_fli = constants<DoubleFormat>();

}  // namespace doppel::riscv64
