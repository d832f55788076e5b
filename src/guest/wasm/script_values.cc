#include "guest/wasm/script_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "guest/wasm/float_numeric.h"

namespace doppel::wasm {
namespace {

using text::ScriptValue;

/// 4.3.3: a NaN whose payload is only its top bit, or one that has its top bit among others.
template <typename F>
bool is_nan_of_kind(ScriptValue::Nan kind, numeric::BitsOf<F> bits) {
  constexpr auto canonical = numeric::bits_of(numeric::fabs(numeric::default_nan<F>()));
  const auto magnitude = numeric::bits_of(numeric::fabs(std::bit_cast<F>(bits)));
  return kind == ScriptValue::Nan::canonical ? magnitude == canonical : (magnitude & canonical) == canonical;
}

template <typename F>
bool lane_matches(const ScriptValue& expected, std::size_t lane, Cell actual) {
  using Bits = numeric::BitsOf<F>;
  Bits wanted = 0, found = 0;
  std::memcpy(&wanted, reinterpret_cast<const char*>(&expected.cell) + lane * sizeof(F), sizeof(F));
  std::memcpy(&found, reinterpret_cast<const char*>(&actual) + lane * sizeof(F), sizeof(F));
  if (expected.lanes[lane] == ScriptValue::Nan::none) return wanted == found;
  return is_nan_of_kind<F>(expected.lanes[lane], found);
}

bool float_matches(const ScriptValue& expected, Cell actual) {
  for (std::size_t n = 0; n < expected.lanes.size(); n++) {
    const bool matched = expected.lane_bytes == sizeof(float) ? lane_matches<float>(expected, n, actual)
                                                              : lane_matches<double>(expected, n, actual);
    if (!matched) return false;
  }
  return true;
}

bool reference_matches(const ScriptValue& expected, Reference actual) {
  constexpr std::uint64_t tag = 3, host = 2;
  switch (expected.pattern) {
    case ScriptValue::ReferencePattern::exact:
      return actual == expected.cell.reference();
    case ScriptValue::ReferencePattern::any_null:
      return actual.is_null();
    case ScriptValue::ReferencePattern::any_function:
      return !actual.is_null() && (actual.bits & tag) == 0;
    case ScriptValue::ReferencePattern::any_extern:
      return (actual.bits & tag) == host;
    case ScriptValue::ReferencePattern::any_other:
      return false;  // there are no objects of the guest
  }
  return false;
}

}  // namespace

bool matches(const ScriptValue& expected, Cell actual) {
  if (!expected.either.empty())
    return std::ranges::any_of(expected.either, [&](const ScriptValue& one) { return matches(one, actual); });
  if (expected.type.is_reference()) return reference_matches(expected, actual.reference());
  const bool floats = expected.lane_bytes == sizeof(float) || expected.lane_bytes == sizeof(double);
  return expected.lanes.empty() || !floats ? expected.cell == actual : float_matches(expected, actual);
}

bool matches(std::span<const ScriptValue> expected, std::span<const Cell> actual) {
  return std::ranges::equal(expected, actual, [](const ScriptValue& one, Cell value) { return matches(one, value); });
}

std::string spelling(std::span<const Cell> values) {
  std::string text;
  for (const Cell value : values) text += fmt::format(" {:016x}{:016x}", value.high, value.low);
  return "[" + text + " ]";
}

std::string spelling(std::span<const ScriptValue> values) {
  std::string text;
  for (const ScriptValue& value : values) {
    if (!value.either.empty())
      text += " either " + spelling(value.either);
    else
      text += fmt::format(" {} {:016x}{:016x}", spelling(value.type), value.cell.high, value.cell.low);
    if (std::ranges::any_of(value.lanes, [](auto nan) { return nan != ScriptValue::Nan::none; })) text += " (a NaN)";
  }
  return "[" + text + " ]";
}

}  // namespace doppel::wasm
