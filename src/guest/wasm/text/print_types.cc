#include <fmt/format.h>

#include <algorithm>

#include "guest/wasm/text/printed_module.h"
#include "guest/wasm/text/type_code.h"

namespace doppel::wasm::text {

namespace {

constexpr std::uint8_t recursive = 0x4e, open_subtype = 0x50, final_subtype = 0x4f, function = 0x60, structure = 0x5f,
                       array = 0x5e;

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

std::vector<std::string> value_types(const PrintedModule& printed, ByteReader& in) {
  std::vector<std::string> types;
  for (auto count = in.u32(); count > 0 && !in.failed(); count--) types.push_back(print_value_type(printed, in));
  return types;
}

std::string field_type(const PrintedModule& printed, ByteReader& in) {
  const auto type = print_value_type(printed, in);
  return in.byte() != 0 ? fmt::format("(mut {})", type) : type;
}

std::string fields(const PrintedModule& printed, ByteReader& in, const Identifiers& names) {
  std::string text;
  const auto count = in.u32();
  for (std::uint32_t n = 0; n < count && !in.failed(); n++) {
    const auto binding = names.binding(n);
    // An annotation alone would name the first of a list.
    text += fmt::format(" (field{}{} {})", binding.empty() ? "" : " ", binding, field_type(printed, in));
  }
  return text;
}

std::string composite(PrintedModule& printed, ByteReader& in, std::uint8_t form, std::uint32_t index) {
  PrintedType type;
  std::string text;
  if (form == function) {
    type.is_function = true;
    type.parameters = value_types(printed, in);
    type.results = value_types(printed, in);
    text = fmt::format("(func{})", print_signature(type, nullptr));
  } else if (form == structure) {
    text = fmt::format("(struct{})", fields(printed, in, printed.fields[index]));
  } else if (form == array) {
    text = fmt::format("(array {})", field_type(printed, in));
  } else {
    in.fail("malformed definition type");
  }
  printed.types.push_back(std::move(type));
  return text;
}

void print_type(PrintedModule& printed, ByteReader& in, std::uint8_t form) {
  const auto index = std::uint32_t(printed.types.size());
  const auto binding = printed.of(NameKind::types).binding(index);
  printed.text += fmt::format("(type {} ", binding.empty() ? fmt::format("(;{};)", index) : binding);
  if (form == open_subtype || form == final_subtype) {
    printed.text += form == final_subtype ? "(sub final" : "(sub";
    for (auto count = in.u32(); count > 0 && !in.failed(); count--)
      printed.text += " " + printed.reference(NameKind::types, in.u32());
    printed.text += " " + composite(printed, in, in.byte(), index) + ")";
  } else {
    printed.text += composite(printed, in, form, index);
  }
  printed.text += ")\n";
}

}  // namespace

std::string print_heap_type(const PrintedModule& printed, ByteReader& in) {
  const auto code = in.s33();
  for (const auto& word : heap_words)
    if (abstract_heap(word.code) == code) return std::string(word.text);
  if (code < 0) in.fail("malformed heap type");
  return printed.reference(NameKind::types, std::uint32_t(code));
}

std::string print_reference(const PrintedModule& printed, ByteReader& in, bool nullable) {
  return fmt::format("(ref {}{})", nullable ? "null " : "", print_heap_type(printed, in));
}

std::string print_value_type(const PrintedModule& printed, ByteReader& in) {
  const auto code = in.byte();
  if (code == TypeCode::reference || code == TypeCode::nullable_reference)
    return print_reference(printed, in, code == TypeCode::nullable_reference);
  for (const auto& word : number_words)
    if (word.code == code) return std::string(word.text);
  for (std::size_t n = 0; n < std::size(heap_words); n++)
    if (heap_words[n].code == code) return std::string(reference_words[n]);
  in.fail("malformed value type");
  return {};
}

std::string print_signature(const PrintedType& type, const Identifiers* names) {
  std::string text;
  bool named = false;
  for (std::uint32_t n = 0; n < type.parameters.size() && names != nullptr; n++) named |= !names->binding(n).empty();
  for (std::uint32_t n = 0; n < type.parameters.size() && named; n++) {
    const auto binding = names->binding(n);
    text += fmt::format(" (param{}{} {})", binding.empty() ? "" : " ", binding, type.parameters[n]);
  }
  if (!named && !type.parameters.empty()) text += fmt::format(" (param {})", joined(type.parameters));
  if (!type.results.empty()) text += fmt::format(" (result {})", joined(type.results));
  return text;
}

void print_types(PrintedModule& printed, ByteReader& in) {
  for (auto count = in.u32(); count > 0 && !in.failed(); count--) {
    const auto form = in.byte();
    if (form != recursive) {
      printed.text += "  ";
      print_type(printed, in, form);
      continue;
    }
    printed.text += "  (rec\n";
    for (auto types = in.u32(); types > 0 && !in.failed(); types--) {
      printed.text += "    ";
      print_type(printed, in, in.byte());
    }
    printed.text += "  )\n";
  }
}

}  // namespace doppel::wasm::text
