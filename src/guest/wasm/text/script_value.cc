#include "guest/wasm/text/script_value.h"

#include <algorithm>

#include "guest/wasm/text/constant.h"
#include "guest/wasm/text/type_code.h"

namespace doppel::wasm::text {

namespace {

using Pattern = ScriptValue::ReferencePattern;

constexpr ValueType anyref = ValueType::reference(AbstractHeap::any, true);

/// By the order of heap_words.
constexpr AbstractHeap heaps[] = {AbstractHeap::func,     AbstractHeap::nofunc,  AbstractHeap::extern_,
                                  AbstractHeap::noextern, AbstractHeap::any,     AbstractHeap::eq,
                                  AbstractHeap::i31,      AbstractHeap::struct_, AbstractHeap::array,
                                  AbstractHeap::none,     AbstractHeap::exn,     AbstractHeap::noexn};
static_assert(std::size(heaps) == std::size(heap_words));

struct Scalar {
  std::string_view word;
  ValueType type;
  unsigned bits;
  bool floating;
};
constexpr Scalar scalars[] = {{"i32.const", i32, 32, false},
                              {"i64.const", i64, 64, false},
                              {"f32.const", f32, 32, true},
                              {"f64.const", f64, 64, true}};

/// References that are any of a kind; `(ref.extern)` and `(ref.func)` are such a pattern only without a number.
struct ReferenceWord {
  std::string_view word;
  ValueType type;
  Pattern pattern;
};
constexpr ReferenceWord reference_patterns[] = {
    {"ref.func", ValueType::reference(AbstractHeap::func, false), Pattern::any_function},
    {"ref.extern", ValueType::reference(AbstractHeap::extern_, false), Pattern::any_extern},
    {"ref.any", ValueType::reference(AbstractHeap::any, false), Pattern::any_other},
    {"ref.eq", ValueType::reference(AbstractHeap::eq, false), Pattern::any_other},
    {"ref.i31", ValueType::reference(AbstractHeap::i31, false), Pattern::any_other},
    {"ref.struct", ValueType::reference(AbstractHeap::struct_, false), Pattern::any_other},
    {"ref.array", ValueType::reference(AbstractHeap::array, false), Pattern::any_other},
    {"ref.exn", ValueType::reference(AbstractHeap::exn, false), Pattern::any_other},
};

/// `nan:canonical` and `nan:arithmetic`, if one comes next.
ScriptValue::Nan take_nan(Cursor& cursor) {
  if (cursor.take_keyword("nan:canonical")) return ScriptValue::Nan::canonical;
  if (cursor.take_keyword("nan:arithmetic")) return ScriptValue::Nan::arithmetic;
  return ScriptValue::Nan::none;
}

ScriptValue scalar(Cursor& cursor, const Scalar& s) {
  ScriptValue value;
  value.type = s.type;
  value.lane_bytes = std::uint8_t(s.bits / 8);
  if (!s.floating) {
    value.cell.low = integer_constant(cursor, s.bits);
    return value;
  }
  value.lanes = {take_nan(cursor)};
  if (value.lanes[0] == ScriptValue::Nan::none) value.cell.low = float_constant(cursor, s.bits);
  return value;
}

ScriptValue vector(Cursor& cursor) {
  ScriptValue value;
  value.type = v128;
  const auto* shape = vector_shape(cursor);
  if (shape == nullptr) return value;
  value.lane_bytes = std::uint8_t(shape->lane_bits / 8);
  for (unsigned lane = 0; lane < shape->lanes(); lane++) {
    const auto nan = shape->floating ? take_nan(cursor) : ScriptValue::Nan::none;
    if (shape->floating) value.lanes.push_back(nan);
    if (nan != ScriptValue::Nan::none) continue;
    const auto bits = lane_constant(cursor, *shape);
    const auto position = lane * shape->lane_bits;
    (position < 64 ? value.cell.low : value.cell.high) |= bits << position % 64;
  }
  return value;
}

/// `(ref.null ht)`; without the type, or with one that the script cannot know, null of any type.
ScriptValue null_reference(Cursor& cursor) {
  ScriptValue value;
  value.type = anyref;
  value.pattern = Pattern::any_null;
  for (std::size_t n = 0; n < std::size(heap_words); n++) {
    if (!cursor.take_keyword(heap_words[n].text)) continue;
    value.type = ValueType::reference(heaps[n], true);
    value.pattern = Pattern::exact;
  }
  if (cursor.at_index()) cursor.take();
  return value;
}

ScriptValue host_reference(Cursor& cursor, ValueType type) {
  ScriptValue value;
  value.type = type;
  value.cell = Cell::of(Reference::host(std::uint32_t(cursor.natural(32))));
  return value;
}

std::optional<ScriptValue> constant(Cursor& cursor) {
  for (const auto& s : scalars)
    if (cursor.take_keyword(s.word)) return scalar(cursor, s);
  if (cursor.take_keyword("v128.const")) return vector(cursor);
  if (cursor.take_keyword("ref.null")) return null_reference(cursor);
  if (cursor.take_keyword("ref.host")) return host_reference(cursor, anyref);
  if (cursor.at_keyword("ref.extern") && cursor.peek(1).kind == TokenKind::natural) {
    cursor.take();
    return host_reference(cursor, externref);
  }
  return {};
}

std::optional<ScriptValue> reference_pattern(Cursor& cursor) {
  for (const auto& r : reference_patterns) {
    if (!cursor.take_keyword(r.word)) continue;
    ScriptValue value;
    value.type = r.type;
    value.pattern = r.pattern;
    if (r.pattern == Pattern::any_other) value.other = r.word;
    if (cursor.at_index()) cursor.take();
    return value;
  }
  return {};
}

/// `( … )`, anything but `either`; kinds of references only as a pattern.
ScriptValue one_value(Cursor& cursor, bool pattern) {
  cursor.expect(TokenKind::open);
  auto value = constant(cursor);
  if (!value && pattern) value = reference_pattern(cursor);
  if (!value) cursor.unexpected();
  cursor.close();
  return value ? std::move(*value) : ScriptValue();
}

}  // namespace

ScriptValue argument_value(Cursor& cursor) {
  const auto token = cursor.peek();
  auto value = one_value(cursor, false);
  const bool unknown_nan = std::ranges::any_of(value.lanes, [](auto nan) { return nan != ScriptValue::Nan::none; });
  if (unknown_nan) cursor.fail_at(token, "unexpected token: a NaN that is passed needs all its bits");
  return value;
}

ScriptValue expected_value(Cursor& cursor) {
  if (!cursor.take_open("either")) return one_value(cursor, true);
  ScriptValue value;
  while (cursor.at(TokenKind::open)) value.either.push_back(one_value(cursor, true));
  if (value.either.empty()) cursor.unexpected();
  cursor.close();
  if (!value.either.empty()) value.type = value.either[0].type;
  return value;
}

}  // namespace doppel::wasm::text
