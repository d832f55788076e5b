#include "guest/wasm/text/type_syntax.h"

#include <algorithm>
#include <span>

namespace doppel::wasm::text {

namespace {

std::optional<std::uint8_t> code_of(std::string_view word, std::span<const TypeWord> words) {
  const auto found = std::ranges::find(words, word, &TypeWord::text);
  if (found == words.end()) return {};
  return found->code;
}

std::optional<TypeCode> keyword_type(std::string_view word, std::span<const TypeWord> numbers) {
  if (const auto code = code_of(word, numbers)) return TypeCode{*code, 0};
  const auto reference = std::ranges::find(reference_words, word);
  if (reference == std::end(reference_words)) return {};
  const auto heap = heap_words[reference - std::begin(reference_words)].code;
  return TypeCode{TypeCode::nullable_reference, abstract_heap(heap)};
}

constexpr std::span<const TypeWord> values = std::span(number_words).first(value_words);

TypeCode any_type(Assembly& assembly, std::span<const TypeWord> numbers) {
  auto& cursor = assembly.cursor;
  if (cursor.take_open("ref")) {
    const bool nullable = cursor.take_keyword("null");
    const auto heap = heap_type(assembly);
    cursor.close();
    return {nullable ? TypeCode::nullable_reference : TypeCode::reference, heap};
  }
  const auto type = cursor.at(TokenKind::keyword) ? keyword_type(cursor.spelling(), numbers) : std::nullopt;
  if (!type) {
    cursor.unexpected();
    return {};
  }
  cursor.take();
  return *type;
}

void parameters(Assembly& assembly, ParameterNames names, std::vector<TypeCode>& types) {
  auto& cursor = assembly.cursor;
  IndexSpace nowhere{"local", "local"};
  auto& space = names.space != nullptr ? *names.space : nowhere;
  if (names.allowed && cursor.at(TokenKind::identifier)) {
    assembly.bind(space);
    types.push_back(value_type(assembly));
  } else {
    while (at_value_type(cursor)) {
      names.allowed ? assembly.bind(space) : space.add();
      types.push_back(value_type(assembly));
    }
  }
  cursor.close();
}

/// The types of a function are as the inline ones, if there are any.
void check_inline(Assembly& assembly, const Token& token, std::uint32_t type, const Signature& inline_signature) {
  if (assembly.cursor.failed() || inline_signature.empty()) return;
  if (type >= assembly.types.size())
    assembly.cursor.fail_at(token, "unknown type");
  else if (const auto& definition = assembly.types[type];
           definition.form != DefinedType::Form::func || definition.signature != inline_signature)
    assembly.cursor.fail_at(token, "inline function type");
}

}  // namespace

bool at_value_type(const Cursor& cursor) {
  if (cursor.at(TokenKind::keyword)) return keyword_type(cursor.spelling(), values).has_value();
  return cursor.at_open("ref");
}

TypeCode value_type(Assembly& assembly) { return any_type(assembly, values); }

TypeCode reference_type(Assembly& assembly) { return any_type(assembly, {}); }

std::int64_t heap_type(Assembly& assembly) {
  auto& cursor = assembly.cursor;
  if (cursor.at(TokenKind::keyword)) {
    if (const auto code = code_of(cursor.spelling(), heap_words)) {
      cursor.take();
      return abstract_heap(*code);
    }
    cursor.unexpected();
    return 0;
  }
  return assembly.index(assembly.type_space);
}

void global_type(Assembly& assembly, Encoder& out) {
  const bool is_mutable = assembly.cursor.take_open("mut");
  value_type(assembly).encode(out);
  if (is_mutable) assembly.cursor.close();
  out.byte(is_mutable);
}

Signature signature(Assembly& assembly, ParameterNames names) {
  auto& cursor = assembly.cursor;
  Signature s;
  while (cursor.take_open("param")) parameters(assembly, names, s.parameters);
  while (cursor.take_open("result")) parameters(assembly, {}, s.results);
  return s;
}

std::uint32_t type_use(Assembly& assembly, ParameterNames names) {
  auto& cursor = assembly.cursor;
  const auto token = cursor.peek();
  if (!cursor.take_open("type")) return assembly.implicit_type(signature(assembly, names));
  const auto type = assembly.index(assembly.type_space);
  cursor.close();
  const auto s = signature(assembly, names);
  // What is in the wrong order is that, whatever else is wrong.
  if (cursor.at_open("type") || cursor.at_open("param") || cursor.at_open("result")) {
    cursor.take();
    cursor.unexpected();
  }
  check_inline(assembly, token, type, s);
  if (s.empty() && names.space != nullptr && type < assembly.types.size())
    names.space->add(std::uint32_t(assembly.types[type].signature.parameters.size()));
  return type;
}

void block_type(Assembly& assembly, Encoder& out) {
  auto& cursor = assembly.cursor;
  if (cursor.at_open("type")) return out.signed_leb(type_use(assembly, {}));
  const auto s = signature(assembly, {});
  if (!s.parameters.empty() || s.results.size() > 1)
    out.signed_leb(assembly.implicit_type(s));
  else if (s.results.empty())
    out.byte(0x40);
  else
    s.results[0].encode(out);
}

}  // namespace doppel::wasm::text
