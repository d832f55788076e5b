#pragma once
// How names, strings and numbers are written in the text format.
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "guest/wasm/text/name_section.h"

namespace doppel::wasm::text {

/// In quotes, with escapes where a byte is no printable character of ASCII.
std::string quoted_string(std::string_view bytes);

/// `$name` or `$"name"`; the name is not empty and UTF-8.
std::string dollar_name(std::string_view name);

/// A number that is read as these bits, in as few digits as there may be.
std::string spell_f32(std::uint32_t bits);
std::string spell_f64(std::uint64_t bits);

/// The identifiers of the things in one index space. A name that another one has too, or that is empty, is no
/// identifier; it is kept as an annotation.
class Identifiers {
 public:
  Identifiers() = default;
  explicit Identifiers(const NameMap& names);
  /// As something refers to it: `$name` or its number.
  std::string reference(std::uint32_t index) const;
  /// As it is defined: `$name`, `(@name "…")`, or nothing.
  std::string binding(std::uint32_t index) const;
  bool has_identifier(std::uint32_t index) const { return identifiers_.contains(index); }

 private:
  std::map<std::uint32_t, std::string> identifiers_, annotations_;
};

}  // namespace doppel::wasm::text
