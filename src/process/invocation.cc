#include "process/invocation.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace doppel {
namespace {

using wasm::ValueKind;

/// As two's complement of `bits` bits; nothing when it is no number or does not fit.
std::optional<std::uint64_t> parse_integer(std::string_view word, unsigned bits) {
  const bool negative = word.starts_with('-');
  if (negative || word.starts_with('+')) word.remove_prefix(1);
  const bool hexadecimal = word.starts_with("0x") || word.starts_with("0X");
  if (hexadecimal) word.remove_prefix(2);
  std::uint64_t value = 0;
  const auto* end = word.data() + word.size();
  const auto [stopped, problem] = std::from_chars(word.data(), end, value, hexadecimal ? 16 : 10);
  if (problem != std::errc() || stopped != end) return std::nullopt;
  const auto most = bits == 64 ? ~0ULL : (1ULL << bits) - 1;
  if (negative ? value > most / 2 + 1 : value > most) return std::nullopt;
  return (negative ? 0 - value : value) & most;
}

template <typename T>
std::optional<T> parse_float(std::string_view word) {
  const bool negative = word.starts_with('-');
  if (negative || word.starts_with('+')) word.remove_prefix(1);
  if (word.empty() || word[0] == '-') return std::nullopt;
  const bool hexadecimal = word.starts_with("0x") || word.starts_with("0X");
  if (hexadecimal) word.remove_prefix(2);
  T value = 0;
  const auto* end = word.data() + word.size();
  const auto [stopped, problem] =
      std::from_chars(word.data(), end, value, hexadecimal ? std::chars_format::hex : std::chars_format::general);
  if (problem != std::errc() || stopped != end) return std::nullopt;
  return negative ? -value : value;
}

std::string_view reference_text(wasm::Reference reference, wasm::HeapType heap) {
  if (reference.is_null()) return "null";
  const bool outside = heap.is_abstract() && heap.abstract() == wasm::AbstractHeap::extern_;
  return outside ? "extern" : "func";
}

}  // namespace

Result<wasm::Cell> parse_value(wasm::ValueType type, std::string_view word) {
  const auto wrong = [&] { return error("'{}' is no {}", word, wasm::spelling(type)); };
  switch (type.kind()) {
    case ValueKind::i32:
    case ValueKind::i64: {
      const auto value = parse_integer(word, type == wasm::i32 ? 32 : 64);
      if (!value) return wrong();
      return wasm::Cell::of_i64(*value);
    }
    case ValueKind::f32: {
      const auto value = parse_float<float>(word);
      if (!value) return wrong();
      return wasm::Cell::of_f32(*value);
    }
    case ValueKind::f64: {
      const auto value = parse_float<double>(word);
      if (!value) return wrong();
      return wasm::Cell::of_f64(*value);
    }
    default:
      return error("a {} cannot be given on the command line", wasm::spelling(type));
  }
}

std::string value_text(wasm::ValueType type, wasm::Cell value) {
  switch (type.kind()) {
    case ValueKind::i32:
      return fmt::format("{}", std::int32_t(value.i32()));
    case ValueKind::i64:
      return fmt::format("{}", std::int64_t(value.i64()));
    case ValueKind::f32:
      return fmt::format("{}", value.f32());
    case ValueKind::f64:
      return fmt::format("{}", value.f64());
    case ValueKind::v128:
      return fmt::format("0x{:016x}{:016x}", value.high, value.low);
    default:
      return std::string(reference_text(value.reference(), type.heap()));
  }
}

}  // namespace doppel
