#include "guest/wasm/text/constant.h"

#include "guest/wasm/text/literal.h"

namespace doppel::wasm::text {

namespace {

bool is_number(TokenKind kind) {
  return kind == TokenKind::natural || kind == TokenKind::integer || kind == TokenKind::floating;
}

constexpr VectorShape shapes[] = {{"i8x16", 8, false},  {"i16x8", 16, false}, {"i32x4", 32, false},
                                  {"i64x2", 64, false}, {"f32x4", 32, true},  {"f64x2", 64, true}};

}  // namespace

bool at_number(const Cursor& cursor) { return is_number(cursor.peek().kind); }

std::uint64_t integer_constant(Cursor& cursor, unsigned bits) {
  if (!at_number(cursor) || cursor.at(TokenKind::floating)) {
    cursor.unexpected();
    return 0;
  }
  const auto token = cursor.take();
  const auto value = parse_integer(cursor.spelling(token), bits);
  if (!value) cursor.fail_at(token, "constant out of range");
  return value.value_or(0);
}

std::uint64_t float_constant(Cursor& cursor, unsigned bits) {
  if (!at_number(cursor)) {
    cursor.unexpected();
    return 0;
  }
  const auto token = cursor.take();
  std::optional<std::uint64_t> value;
  if (bits == 64)
    value = parse_f64(cursor.spelling(token));
  else
    value = parse_f32(cursor.spelling(token));
  if (!value) cursor.fail_at(token, "constant out of range");
  return value.value_or(0);
}

const VectorShape* vector_shape(Cursor& cursor) {
  for (const auto& shape : shapes)
    if (cursor.take_keyword(shape.word)) return &shape;
  cursor.unexpected();
  return nullptr;
}

std::uint64_t lane_constant(Cursor& cursor, const VectorShape& shape) {
  return shape.floating ? float_constant(cursor, shape.lane_bits) : integer_constant(cursor, shape.lane_bits);
}

bool check_lane_count(Cursor& cursor, unsigned count, std::string_view message) {
  unsigned n = 0;
  while (n <= count && is_number(cursor.peek(n).kind)) n++;
  if (n == count) return true;
  // What stands where a lane should may be no token at all.
  if (const auto kind = cursor.peek(n).kind; kind == TokenKind::reserved || kind == TokenKind::keyword) {
    cursor.move_to(cursor.position() + n);
    cursor.unexpected();
  }
  cursor.fail(std::string(message));
  return false;
}

std::array<std::uint8_t, 16> vector_constant(Cursor& cursor) {
  std::array<std::uint8_t, 16> bytes{};
  const auto* shape = vector_shape(cursor);
  if (shape == nullptr || !check_lane_count(cursor, shape->lanes(), "wrong number of lane literals")) return bytes;
  for (unsigned lane = 0; lane < shape->lanes(); lane++)
    store_lane(bytes, lane, shape->lane_bits / 8U, lane_constant(cursor, *shape));
  return bytes;
}

void store_lane(std::array<std::uint8_t, 16>& bytes, unsigned lane, unsigned lane_bytes, std::uint64_t value) {
  for (unsigned n = 0; n < lane_bytes; n++) bytes[lane * lane_bytes + n] = std::uint8_t(value >> 8 * n);
}

}  // namespace doppel::wasm::text
