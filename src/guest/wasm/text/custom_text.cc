#include "guest/wasm/text/custom_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "guest/wasm/byte_reader.h"

namespace doppel::wasm::text {

namespace {

constexpr unsigned behind_all = unsigned(SectionKind::count);

/// In the order of SectionKind.
constexpr std::string_view section_words[] = {"type",   "import", "func", "table",     "memory", "tag", "global",
                                              "export", "start",  "elem", "datacount", "code",   "data"};

/// The number of the section before which `(before w)` or `(after w)` lies.
std::optional<unsigned> place_of(std::string_view word, bool after) {
  if (word == (after ? "last" : "first")) return after ? behind_all : 0;
  const auto found = std::ranges::find(section_words, word);
  if (found == std::end(section_words)) return {};
  return unsigned(found - std::begin(section_words)) + unsigned(after);
}

/// `(before w)` or `(after w)`; an error sentence, or empty.
std::string_view placement(Cursor& inside, CustomText& custom) {
  inside.take();
  const bool after = inside.at_keyword("after");
  if (!after && !inside.at_keyword("before")) return "malformed placement";
  inside.take();
  if (!inside.at(TokenKind::keyword)) return "malformed section kind";
  const auto place = place_of(inside.spelling(), after);
  if (!place) return "malformed section kind";
  custom.place = *place;
  inside.take();
  if (!inside.at(TokenKind::close)) return "unexpected token";
  inside.take();
  return {};
}

std::string_view parse_custom(Cursor& inside, CustomText& custom) {
  custom.place = behind_all;
  if (!inside.at(TokenKind::string)) return "missing section name";
  custom.name = inside.string();
  if (!is_utf8(custom.name)) return "malformed UTF-8 encoding";
  if (inside.at(TokenKind::open))
    if (const auto error = placement(inside, custom); !error.empty()) return error;
  while (inside.at(TokenKind::string)) custom.bytes += inside.string();
  return inside.at_end() ? std::string_view() : "unexpected token";
}

/// One subsection of the name section.
void subsection(Encoder& out, unsigned id, const Encoder& content) {
  if (content.bytes.empty()) return;
  out.byte(id);
  out.sized(content.bytes);
}

Encoder name_map(const std::map<std::uint32_t, std::string>& names) {
  Encoder out;
  if (names.empty()) return out;
  out.unsigned_leb(names.size());
  for (const auto& [index, name] : names) {
    out.unsigned_leb(index);
    out.sized(name);
  }
  return out;
}

/// Names within the things of one kind, each with a map that is not empty.
class IndirectNameMap {
 public:
  void add(std::uint32_t index, const std::map<std::uint32_t, std::string>& names) {
    if (names.empty()) return;
    entries_.unsigned_leb(index);
    entries_.raw(name_map(names).bytes);
    count_++;
  }
  Encoder encoded() const {
    Encoder out;
    if (count_ == 0) return out;
    out.unsigned_leb(count_);
    out.raw(entries_.bytes);
    return out;
  }

 private:
  Encoder entries_;
  std::uint32_t count_ = 0;
};

}  // namespace

void take_custom_texts(Assembly& assembly) {
  auto& cursor = assembly.cursor;
  for (const auto* annotation : assembly.annotations.take_all(cursor.position(), "custom")) {
    auto inside = Cursor::over(cursor.list(), *annotation);
    CustomText custom;
    if (const auto error = parse_custom(inside, custom); !error.empty())
      return fail_annotation(cursor, *annotation, error);
    assembly.customs.push_back(std::move(custom));
  }
}

void check_annotations(Assembly& assembly) {
  const auto* annotation = assembly.annotations.left();
  if (annotation == nullptr || assembly.cursor.failed()) return;
  if (annotation->id == "metadata.code.branch_hint")
    return fail_annotation(assembly.cursor, *annotation, "not in a function");
  assembly.cursor.fail_at(annotation->offset, fmt::format("misplaced @{} annotation", annotation->id));
}

Encoder name_section(const Assembly& assembly) {
  Encoder out, module;
  if (!assembly.module_name.empty()) module.sized(assembly.module_name);
  IndirectNameMap locals, labels, fields;
  for (const auto& note : assembly.notes) {
    locals.add(note.function, note.locals);
    labels.add(note.function, note.labels);
  }
  for (std::uint32_t n = 0; n < assembly.types.size(); n++) fields.add(n, assembly.types[n].fields.names());
  const auto externs = [&](ExternKind kind) { return name_map(assembly.externs[std::size_t(kind)].names()); };
  subsection(out, 0, module);
  subsection(out, 1, externs(ExternKind::function));
  subsection(out, 2, locals.encoded());
  subsection(out, 3, labels.encoded());
  subsection(out, 4, name_map(assembly.type_space.names()));
  subsection(out, 5, externs(ExternKind::table));
  subsection(out, 6, externs(ExternKind::memory));
  subsection(out, 7, externs(ExternKind::global));
  subsection(out, 8, name_map(assembly.elements.names()));
  subsection(out, 9, name_map(assembly.data.names()));
  subsection(out, 10, fields.encoded());
  subsection(out, 11, externs(ExternKind::tag));
  return out;
}

Encoder branch_hint_section(const Assembly& assembly) {
  Encoder functions;
  std::uint32_t count = 0;
  for (const auto& note : assembly.notes) {
    if (note.hints.empty()) continue;
    count++;
    functions.unsigned_leb(note.function);
    functions.unsigned_leb(note.hints.size());
    for (const auto& hint : note.hints) {
      functions.unsigned_leb(hint.offset);
      functions.byte(1);
      functions.byte(hint.likely);
    }
  }
  Encoder out;
  if (count == 0) return out;
  out.unsigned_leb(count);
  out.raw(functions.bytes);
  return out;
}

}  // namespace doppel::wasm::text
