#pragma once
// Constants in instructions and scripts (core specification, 6.3.1, 6.5.9).
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "guest/wasm/text/cursor.h"

namespace doppel::wasm::text {

/// Whether a number of any kind comes next.
bool at_number(const Cursor& cursor);

/// An integer of `bits` bits, signed or unsigned, as these bits.
std::uint64_t integer_constant(Cursor& cursor, unsigned bits);
/// The bits of an f32 or f64.
std::uint64_t float_constant(Cursor& cursor, unsigned bits);

/// How a v128 is written: lanes of so many bits.
struct VectorShape {
  std::string_view word;
  std::uint8_t lane_bits;
  bool floating;
  unsigned lanes() const { return 128U / lane_bits; }
};
/// Takes the word of a shape; null and an error if there is none.
const VectorShape* vector_shape(Cursor& cursor);
std::uint64_t lane_constant(Cursor& cursor, const VectorShape& shape);

/// Whether just `count` numbers come next; else an error, which `message` says.
bool check_lane_count(Cursor& cursor, unsigned count, std::string_view message);

/// A v128 with its shape, as 16 bytes, the lowest first.
std::array<std::uint8_t, 16> vector_constant(Cursor& cursor);
void store_lane(std::array<std::uint8_t, 16>& bytes, unsigned lane, unsigned lane_bytes, std::uint64_t value);

}  // namespace doppel::wasm::text
