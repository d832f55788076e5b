#include "guest/wasm/read_types.h"

#include <fmt/format.h>

#include <array>
#include <optional>

namespace doppel::wasm {
namespace {

constexpr std::uint8_t reference_code = 0x64, nullable_reference_code = 0x63;
constexpr std::uint8_t first_heap_code = 0x69, last_heap_code = 0x74;
constexpr std::uint8_t i16_code = 0x77, i8_code = 0x78, first_number_code = 0x7b, last_number_code = 0x7f;

// By code, from the lowest (5.3.4).
using enum AbstractHeap;
constexpr std::array<AbstractHeap, last_heap_code - first_heap_code + 1> heaps = {
    exn, array, struct_, i31, eq, any, extern_, func, none, noextern, nofunc, noexn};
constexpr std::array<ValueType, last_number_code - first_number_code + 1> numbers = {
    ValueKind::v128, ValueKind::f64, ValueKind::f32, ValueKind::i64, ValueKind::i32};

constexpr bool is_heap_code(std::uint8_t code) { return code >= first_heap_code && code <= last_heap_code; }
constexpr bool is_number_code(std::uint8_t code) { return code >= first_number_code && code <= last_number_code; }

HeapType known_type(ByteReader& in, const TypeSpace& space, std::uint32_t index, std::uint32_t at) {
  if (index < space.types.size()) return HeapType::defined(space.types[index]);
  const std::uint64_t place = index - space.types.size();
  if (place < space.group) return HeapType::of_group(std::uint32_t(place));
  if (!in.failed()) in.refuse_at(at, fmt::format("unknown type {}", index));
  return {};
}

// A reference type, if the next byte begins one.
std::optional<ValueType> reference_type(ByteReader& in, const TypeSpace& space) {
  const std::uint8_t code = in.peek();
  if (is_heap_code(code)) {
    in.byte();
    return ValueType::reference(heaps[code - first_heap_code], true);
  }
  if (code != reference_code && code != nullable_reference_code) return std::nullopt;
  in.byte();
  return ValueType::reference(read_heap_type(in, space), code == nullable_reference_code);
}

}  // namespace

void no_type(ByteReader& in, std::string_view message) {
  if (in.byte() >= 0x80) in.fail("integer representation too long");
  if (!in.failed()) in.fail_at(in.offset() - 1, std::string(message));
}

HeapType read_type_index(ByteReader& in, const TypeSpace& space) {
  const std::uint32_t at = in.offset();
  return known_type(in, space, in.u32(), at);
}

HeapType read_heap_type(ByteReader& in, const TypeSpace& space) {
  const std::uint32_t at = in.offset();
  const std::uint8_t code = in.peek();
  const std::int64_t index = in.s33();
  if (is_heap_code(code)) return heaps[code - first_heap_code];
  if (index < 0) return in.fail_at(at, "malformed heap type"), HeapType{};
  return known_type(in, space, std::uint32_t(index), at);
}

ValueType read_reference_type(ByteReader& in, const TypeSpace& space) {
  if (const auto type = reference_type(in, space)) return *type;
  return no_type(in, "malformed reference type"), funcref;
}

ValueType read_value_type(ByteReader& in, const TypeSpace& space) {
  if (is_number_code(in.peek())) return numbers[in.byte() - first_number_code];
  if (const auto type = reference_type(in, space)) return *type;
  return no_type(in, "malformed value type"), i32;
}

ValueType read_storage_type(ByteReader& in, const TypeSpace& space) {
  const std::uint8_t code = in.peek();
  if (code != i8_code && code != i16_code) return read_value_type(in, space);
  in.byte();
  return code == i8_code ? ValueKind::i8 : ValueKind::i16;
}

bool read_mutability(ByteReader& in) {
  const std::uint8_t code = in.byte();
  if (code > 1) in.fail_at(in.offset() - 1, "malformed mutability");
  return code == 1;
}

bool begins_value_type(std::uint8_t byte) {
  return is_number_code(byte) || is_heap_code(byte) || byte == reference_code || byte == nullable_reference_code;
}

}  // namespace doppel::wasm
