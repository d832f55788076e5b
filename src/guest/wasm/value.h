#pragma once
// Values at run time, and what can go wrong while code runs.
#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

#include "guest/wasm/types.h"

namespace doppel::wasm {

/// A reference in 64 bits, which means the same in every copy of a store: null, a function by its number in the store,
/// or what the host put there. The two lowest bits tell what comes later: objects of the guest, i31.
struct Reference {
  std::uint64_t bits = 0;
  static constexpr Reference null() { return {}; }
  static constexpr Reference function(std::uint32_t number) { return {(std::uint64_t{number} + 1) << 2}; }
  static constexpr Reference host(std::uint32_t value) { return {std::uint64_t{value} << 2 | 2}; }
  constexpr bool is_null() const { return bits == 0; }
  constexpr std::uint32_t function_number() const { return std::uint32_t(bits >> 2) - 1; }
  constexpr std::uint32_t host_value() const { return std::uint32_t(bits >> 2); }
  constexpr bool operator==(const Reference&) const = default;
};

/// Any value, its type being known otherwise: an i32 and an f32 are the low half of `low` (the rest is 0), a v128's
/// first byte is the lowest of `low`.
struct Cell {
  std::uint64_t low = 0, high = 0;
  static constexpr Cell of_i32(std::uint32_t v) { return {v, 0}; }
  static constexpr Cell of_i64(std::uint64_t v) { return {v, 0}; }
  static constexpr Cell of_f32(float v) { return {std::bit_cast<std::uint32_t>(v), 0}; }
  static constexpr Cell of_f64(double v) { return {std::bit_cast<std::uint64_t>(v), 0}; }
  static constexpr Cell of(Reference r) { return {r.bits, 0}; }
  constexpr std::uint32_t i32() const { return std::uint32_t(low); }
  constexpr std::uint64_t i64() const { return low; }
  constexpr float f32() const { return std::bit_cast<float>(std::uint32_t(low)); }
  constexpr double f64() const { return std::bit_cast<double>(low); }
  constexpr Reference reference() const { return {low}; }
  constexpr bool operator==(const Cell&) const = default;
};

enum class Trap : std::uint8_t {
#define TRAP(name, text) name,
#include "guest/wasm/traps.inc"
};
/// As the specification's tests say it, e.g. "integer divide by zero".
std::string_view spelling(Trap trap);

}  // namespace doppel::wasm
