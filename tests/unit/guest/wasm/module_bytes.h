#pragma once
// Modules in the binary format, put together by hand (core specification, 5.5).
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "guest/wasm/module.h"

namespace doppel::wasm {

using Bytes = std::vector<std::uint8_t>;

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// An unsigned number in LEB128.
inline Bytes leb(std::uint64_t value) {
  Bytes bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(std::uint8_t(value | 0x80));
  bytes.push_back(std::uint8_t(value));
  return bytes;
}

/// Bytes behind their number.
inline Bytes sized(const Bytes& content) { return leb(content.size()) + content; }
inline Bytes name(std::string_view text) { return sized(Bytes(text.begin(), text.end())); }

/// Entries behind their number.
inline Bytes list(std::initializer_list<Bytes> entries) {
  Bytes bytes = leb(entries.size());
  for (const Bytes& entry : entries) bytes = std::move(bytes) + entry;
  return bytes;
}

enum class Section : std::uint8_t {
  custom,
  type,
  import,
  function,
  table,
  memory,
  global,
  export_,
  start,
  element,
  code,
  data,
  data_count,
  tag
};

inline Bytes section(Section id, const Bytes& content) { return Bytes{std::uint8_t(id)} + sized(content); }
inline Bytes section(Section id, std::initializer_list<Bytes> entries) { return section(id, list(entries)); }

inline Bytes module_of(std::initializer_list<Bytes> sections) {
  Bytes bytes = {0, 'a', 's', 'm', 1, 0, 0, 0};
  for (const Bytes& s : sections) bytes = std::move(bytes) + s;
  return bytes;
}

inline std::variant<Module, ModuleError> parse(Bytes bytes) {
  return parse_module(std::make_shared<const Bytes>(std::move(bytes)));
}

/// What is wrong with a module, its bodies aside: "malformed: …" or "invalid: …"; empty if nothing is.
inline std::string fault(Bytes bytes) {
  const auto parsed = parse(std::move(bytes));
  const auto* module = std::get_if<Module>(&parsed);
  const auto error = module ? validate_module(*module) : std::get<ModuleError>(parsed);
  return error ? (error->malformed ? "malformed: " : "invalid: ") + error->message : "";
}

// What many modules have.
inline const Bytes void_type = {0x60, 0, 0}, empty_body = {2, 0, 0x0b};
inline const Bytes i32_zero = {0x41, 0, 0x0b}, i64_zero = {0x42, 0, 0x0b};

}  // namespace doppel::wasm
