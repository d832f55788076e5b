#pragma once
// Texts assembled for tests, which compare bytes as hexadecimal digits.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "guest/wasm/module.h"
#include "guest/wasm/text/assemble.h"

namespace doppel::wasm::text {

inline AssembledModule assembled(std::string_view text) {
  auto made = assemble(text);
  if (const auto* error = std::get_if<TextError>(&made)) {
    ADD_FAILURE() << error->line << ":" << error->column << ": " << error->message << " in\n" << text;
    return {};
  }
  return std::get<AssembledModule>(std::move(made));
}

inline std::string hex(std::span<const std::uint8_t> bytes) { return fmt::format("{:02x}", fmt::join(bytes, " ")); }

/// What follows the header of the module, without names.
inline std::string bytes_of(std::string_view text) {
  constexpr std::size_t header = 8;
  const auto module = assembled(text);
  return module.bytes.size() < header ? "" : hex(std::span(module.bytes).subspan(header));
}

/// The instructions of the only function's body, behind its locals; nothing of the module may follow the code section.
inline std::string body_of(std::string_view instructions, std::string_view before = "") {
  const auto text = fmt::format("{} (func {})", before, instructions);
  auto made = std::make_shared<const std::vector<std::uint8_t>>(assembled(text).bytes);
  const auto module = parse_module(made);
  if (!std::holds_alternative<Module>(module)) return std::get<ModuleError>(module).message;
  const auto& parsed = std::get<Module>(module);
  return hex(parsed.range(parsed.functions.back().body).subspan(1));
}

/// "line:column message" of a text that is wrong.
inline std::string error_of(std::string_view text) {
  const auto made = assemble(text);
  const auto* error = std::get_if<TextError>(&made);
  if (error == nullptr) return "no error";
  return fmt::format("{}:{} {}", error->line, error->column, error->message);
}

}  // namespace doppel::wasm::text
