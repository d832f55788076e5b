#pragma once
// Types as the binary format has them, with indices of the module that is being made (core specification, 5.3).
#include <cstdint>
#include <string_view>
#include <vector>

#include "guest/wasm/text/encoder.h"
#include "guest/wasm/text/index_space.h"
#include "guest/wasm/types.h"

namespace doppel::wasm::text {

/// The type of a value or, with i8 and i16, of a field.
struct TypeCode {
  static constexpr std::uint8_t nullable_reference = 0x63, reference = 0x64;
  std::uint8_t code = 0;  ///< that of a number or vector, or one of the two above
  std::int64_t heap = 0;  ///< of a reference: a type's index or, negative, an abstract type
  bool is_reference() const { return code == reference || code == nullable_reference; }
  bool nullable() const { return code == nullable_reference; }
  bool operator==(const TypeCode&) const = default;
  void encode(Encoder& out) const;
};

/// A word that is a type: a number's, or of an abstract heap type.
struct TypeWord {
  std::string_view text;
  std::uint8_t code;
};
inline constexpr std::uint8_t code_of_func = 0x70;
/// i32 … v128; then i8 and i16, which are for fields only.
inline constexpr TypeWord number_words[] = {{"i32", 0x7f},  {"i64", 0x7e}, {"f32", 0x7d}, {"f64", 0x7c},
                                            {"v128", 0x7b}, {"i8", 0x78},  {"i16", 0x77}};
inline constexpr unsigned value_words = 5;
/// In the order of the words for nullable references to them, below.
inline constexpr TypeWord heap_words[] = {
    {"func", code_of_func}, {"nofunc", 0x73}, {"extern", 0x6f}, {"noextern", 0x72}, {"any", 0x6e}, {"eq", 0x6d},
    {"i31", 0x6c},          {"struct", 0x6b}, {"array", 0x6a},  {"none", 0x71},     {"exn", 0x69}, {"noexn", 0x74}};
inline constexpr std::string_view reference_words[] = {"funcref",  "nullfuncref", "externref", "nullexternref",
                                                       "anyref",   "eqref",       "i31ref",    "structref",
                                                       "arrayref", "nullref",     "exnref",    "nullexnref"};

/// The code of an abstract heap type as a heap type's number.
constexpr std::int64_t abstract_heap(std::uint8_t code) { return std::int64_t{code} - 0x80; }

/// Parameters and results of a function.
struct Signature {
  std::vector<TypeCode> parameters, results;
  bool operator==(const Signature&) const = default;
  bool empty() const { return parameters.empty() && results.empty(); }
  /// As a function type, with its 0x60.
  void encode(Encoder& out) const;
};

/// A defined type, as far as other parts of the text need it.
struct TypeDefinition {
  DefinedType::Form form = DefinedType::Form::func;
  Signature signature;
  IndexSpace fields{"field", "field"};
};

}  // namespace doppel::wasm::text
