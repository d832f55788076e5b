#pragma once
// The text format (core specification, chapter 6): modules in it become modules in the binary format, so that
// everything else reads only that.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace doppel::wasm::text {

/// What is wrong with a text, where (from 1), beginning as the specification's tests say it, e.g. "unknown operator".
struct TextError {
  std::uint32_t line = 0, column = 0;
  std::string message;
};

/// Where in the text an instruction or a field of the module came from, ordered by `offset`.
struct SourcePlace {
  std::uint32_t offset = 0;  ///< in the binary module
  std::uint32_t line = 0, column = 0;
};

struct AssembledModule {
  std::vector<std::uint8_t> bytes;
  std::vector<SourcePlace> places;
};

/// `text` is a module: `(module …)` or only its fields. Identifiers go into a name section, `(@custom …)` into custom
/// sections and
/// `(@metadata.code.branch_hint …)` into that one.
std::variant<AssembledModule, TextError> assemble(std::string_view text);

}  // namespace doppel::wasm::text
