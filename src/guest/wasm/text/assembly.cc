#include "guest/wasm/text/assembly.h"

#include <fmt/format.h>

namespace doppel::wasm::text {

Assembly::Assembly(const TokenList& list, std::uint32_t begin, std::uint32_t end)
    : cursor(list, begin, end), annotations(list, begin, end) {}

Encoder& Assembly::entry(SectionKind kind, const Token& token) {
  auto& s = section(kind);
  auto place = cursor.list().place(token.offset);
  place.offset = s.content.size();
  s.places.push_back(place);
  s.count++;
  return s.content;
}

void Assembly::bind(IndexSpace& space) {
  space.add();
  const auto token = cursor.peek();
  if (token.kind == TokenKind::identifier && !space.identify(cursor.identifier()))
    cursor.fail_at(token, fmt::format("duplicate {} {}", space.word(), cursor.spelling(token)));
  const auto* annotation = annotations.take(cursor.position(), "name");
  if (annotation == nullptr) return;
  space.name(annotated_name(cursor, *annotation));
  if (const auto* second = annotations.take(cursor.position(), "name"))
    fail_annotation(cursor, *second, fmt::format("multiple {}", space.word()));
}

std::uint32_t Assembly::index(const IndexSpace& space) {
  if (!cursor.at(TokenKind::identifier)) return std::uint32_t(cursor.natural(32));
  const auto token = cursor.peek();
  if (const auto found = space.find(cursor.identifier())) return *found;
  cursor.fail_at(token, fmt::format("unknown {} {}", space.noun(), cursor.spelling(token)));
  return 0;
}

std::uint32_t Assembly::implicit_type(const Signature& signature) {
  Encoder key;
  signature.encode(key);
  const auto [found, is_new] = signatures_.emplace(key.bytes, type_space.count());
  if (is_new) {
    type_space.add();
    types.push_back({DefinedType::Form::func, signature, IndexSpace{"field", "field"}});
    entry(SectionKind::type, cursor.peek()).raw(key.bytes);
  }
  return found->second;
}

void Assembly::note_signature(const Signature& signature, std::uint32_t index) {
  Encoder key;
  signature.encode(key);
  signatures_.emplace(std::move(key.bytes), index);
}

std::optional<ExternKind> extern_kind(std::string_view word) {
  constexpr std::string_view words[] = {"func", "table", "memory", "global", "tag"};
  for (std::size_t n = 0; n < std::size(words); n++)
    if (words[n] == word) return ExternKind(n);
  return {};
}

}  // namespace doppel::wasm::text
