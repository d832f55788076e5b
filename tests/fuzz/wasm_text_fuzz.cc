// The reader of WebAssembly's text format on any text: no text may do more than be refused with a sentence, and what
// is valid is printed as text that means the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "guest/wasm/module.h"
#include "guest/wasm/text/assemble.h"
#include "guest/wasm/text/print.h"
#include "guest/wasm/text/script.h"

namespace {

using namespace doppel::wasm;

void require(bool condition) {
  if (!condition) std::abort();
}

void require_sentence(const text::TextError& error) {
  require(error.line > 0 && error.column > 0 && !error.message.empty());
}

/// The text of a module that is valid.
std::string printed(const text::AssembledModule& assembled) {
  const auto module = parse_module(std::make_shared<const std::vector<std::uint8_t>>(assembled.bytes));
  if (!std::holds_alternative<Module>(module) || validate(std::get<Module>(module))) return {};
  const auto text = text::print(std::get<Module>(module));
  require(std::holds_alternative<std::string>(text));
  return std::get<std::string>(text);
}

void check(const text::AssembledModule& assembled) {
  require(std::ranges::is_sorted(assembled.places, {}, &text::SourcePlace::offset));
  const auto first = printed(assembled);
  if (first.empty()) return;
  const auto again = text::assemble(first);
  require(std::holds_alternative<text::AssembledModule>(again));
  require(printed(std::get<text::AssembledModule>(again)) == first);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto made = text::assemble(input);
  if (const auto* error = std::get_if<text::TextError>(&made))
    require_sentence(*error);
  else
    check(std::get<text::AssembledModule>(made));
  if (const auto script = text::parse_script(input); const auto* error = std::get_if<text::TextError>(&script))
    require_sentence(*error);
  return 0;
}
