#include "guest/wasm/text/fields.h"

#include <fmt/format.h>

#include <bit>

#include "guest/wasm/text/custom_text.h"
#include "guest/wasm/text/expression.h"
#include "guest/wasm/text/type_syntax.h"

namespace doppel::wasm::text {

struct FieldAssembler::Handler {
  std::string_view word;
  void (FieldAssembler::*parse)();
};
const FieldAssembler::Handler FieldAssembler::handlers[] = {
    {"type", &FieldAssembler::type_or_group}, {"rec", &FieldAssembler::type_or_group},
    {"import", &FieldAssembler::import},      {"func", &FieldAssembler::function},
    {"table", &FieldAssembler::table},        {"memory", &FieldAssembler::memory},
    {"global", &FieldAssembler::global},      {"tag", &FieldAssembler::tag},
    {"export", &FieldAssembler::export_},     {"start", &FieldAssembler::start},
    {"elem", &FieldAssembler::element},       {"data", &FieldAssembler::data},
};

void FieldAssembler::field() {
  if (!cursor_.expect(TokenKind::open)) return;
  for (const auto& handler : handlers) {
    if (!cursor_.take_keyword(handler.word)) continue;
    (this->*handler.parse)();
    cursor_.close();
    return;
  }
  cursor_.unexpected();
}

/// They have been assembled before; up to the closing parenthesis.
void FieldAssembler::type_or_group() {
  while (!cursor_.at(TokenKind::close) && !cursor_.at_end())
    if (cursor_.take().kind == TokenKind::open) cursor_.skip_group();
}

void FieldAssembler::skip_identifier() {
  if (cursor_.at(TokenKind::identifier)) cursor_.take();
}

// Imports and exports

void FieldAssembler::check_no_definition(const Token& token) {
  if (defined_)
    cursor_.fail_at(token, fmt::format("import after {} definition", assembly_.externs_of(*defined_).noun()));
}

void FieldAssembler::define(ExternKind kind) {
  next_[std::size_t(kind)]++;
  defined_ = kind;
}

Encoder& FieldAssembler::import_entry(const InlineImport& names, ExternKind kind) {
  next_[std::size_t(kind)]++;
  auto& out = assembly_.entry(SectionKind::import, cursor_.peek());
  out.sized(names.module);
  out.sized(names.name);
  out.byte(unsigned(kind));
  return out;
}

void FieldAssembler::import() {
  check_no_definition(cursor_.peek());
  InlineImport names;
  names.module = cursor_.name();
  names.name = cursor_.name();
  const auto kind = extern_kind(cursor_.word_after_open());
  if (!kind) {
    if (cursor_.at(TokenKind::open)) cursor_.take();
    return cursor_.unexpected();
  }
  cursor_.take();
  cursor_.take();
  skip_identifier();
  external_type(*kind, import_entry(names, *kind));
  cursor_.close();
}

void FieldAssembler::external_type(ExternKind kind, Encoder& out) {
  switch (kind) {
    case ExternKind::function:
      out.unsigned_leb(type_use(assembly_, {.allowed = true, .space = nullptr}));
      break;
    case ExternKind::table:
      table_type(out, address_type());
      break;
    case ExternKind::memory:
      memory_type(out, address_type());
      break;
    case ExternKind::global:
      global_type(assembly_, out);
      break;
    case ExternKind::tag:
      out.byte(0);
      out.unsigned_leb(type_use(assembly_, {.allowed = true, .space = nullptr}));
      break;
  }
}

void FieldAssembler::export_entry(const std::string& name, ExternKind kind, std::uint32_t index) {
  auto& out = assembly_.entry(SectionKind::export_, cursor_.peek());
  out.sized(name);
  out.byte(unsigned(kind));
  out.unsigned_leb(index);
}

void FieldAssembler::export_() {
  const auto name = cursor_.name();
  const auto kind = extern_kind(cursor_.word_after_open());
  if (!kind) {
    if (cursor_.at(TokenKind::open)) cursor_.take();
    return cursor_.unexpected();
  }
  cursor_.take();
  cursor_.take();
  export_entry(name, *kind, assembly_.index(*kind));
  cursor_.close();
}

std::optional<FieldAssembler::InlineImport> FieldAssembler::abbreviations(ExternKind kind) {
  skip_identifier();
  while (cursor_.take_open("export")) {
    export_entry(cursor_.name(), kind, next_[std::size_t(kind)]);
    cursor_.close();
  }
  const auto token = cursor_.peek();
  if (!cursor_.take_open("import")) return {};
  check_no_definition(token);
  InlineImport import;
  import.module = cursor_.name();
  import.name = cursor_.name();
  cursor_.close();
  return import;
}

// Tables, memories, globals, tags

bool FieldAssembler::address_type() {
  if (cursor_.take_keyword("i64")) return true;
  cursor_.take_keyword("i32");
  return false;
}

FieldAssembler::LimitsText FieldAssembler::limits(bool is64) {
  LimitsText limits;
  limits.is64 = is64;
  limits.minimum = cursor_.natural(64);
  if (cursor_.at(TokenKind::natural)) limits.maximum = cursor_.natural(64);
  return limits;
}

/// `(pagesize n)` as an exponent of two.
std::optional<std::uint32_t> FieldAssembler::page_size() {
  if (!cursor_.take_open("pagesize")) return {};
  const auto token = cursor_.peek();
  const auto bytes = cursor_.natural(64);
  if (!std::has_single_bit(bytes)) cursor_.fail_at(token, "invalid custom page size");
  cursor_.close();
  return std::uint32_t(std::countr_zero(bytes | 1ULL << 63));
}

void FieldAssembler::encode_limits(Encoder& out, const LimitsText& limits) {
  constexpr unsigned maximum = 1, shared = 2, is64 = 4, page = 8;
  out.byte((limits.maximum ? maximum : 0) | (limits.shared ? shared : 0) | (limits.is64 ? is64 : 0) |
           (limits.page_exponent ? page : 0));
  out.unsigned_leb(limits.minimum);
  if (limits.maximum) out.unsigned_leb(*limits.maximum);
  if (limits.page_exponent) out.unsigned_leb(*limits.page_exponent);
}

void FieldAssembler::memory_type(Encoder& out, bool is64) {
  auto type = limits(is64);
  type.shared = cursor_.take_keyword("shared");
  type.page_exponent = page_size();
  encode_limits(out, type);
}

void FieldAssembler::table_type(Encoder& out, bool is64) {
  const auto type = limits(is64);
  reference_type(assembly_).encode(out);
  encode_limits(out, type);
}

void FieldAssembler::table() {
  const auto token = cursor_.peek();
  const auto import = abbreviations(ExternKind::table);
  const bool is64 = address_type();
  if (import) return table_type(import_entry(*import, ExternKind::table), is64);
  const auto index = next_[std::size_t(ExternKind::table)];
  define(ExternKind::table);
  auto& out = assembly_.entry(SectionKind::table, token);
  if (!cursor_.at(TokenKind::natural)) {
    const auto type = reference_type(assembly_);
    return inline_elements(index, is64, type, out);
  }
  Encoder type;
  table_type(type, is64);
  const bool initialised = !cursor_.at(TokenKind::close);
  if (initialised) out.raw(std::string_view("\x40\0", 2));
  out.raw(type.bytes);
  if (initialised) expression(SectionKind::table, out);
}

void FieldAssembler::memory() {
  const auto token = cursor_.peek();
  const auto import = abbreviations(ExternKind::memory);
  const bool is64 = address_type();
  if (import) return memory_type(import_entry(*import, ExternKind::memory), is64);
  const auto index = next_[std::size_t(ExternKind::memory)];
  define(ExternKind::memory);
  auto& out = assembly_.entry(SectionKind::memory, token);
  if (cursor_.at(TokenKind::natural)) return memory_type(out, is64);
  inline_data(index, is64, page_size());
}

void FieldAssembler::global() {
  const auto token = cursor_.peek();
  const auto import = abbreviations(ExternKind::global);
  if (import) return global_type(assembly_, import_entry(*import, ExternKind::global));
  define(ExternKind::global);
  auto& out = assembly_.entry(SectionKind::global, token);
  global_type(assembly_, out);
  expression(SectionKind::global, out);
}

void FieldAssembler::tag() {
  const auto token = cursor_.peek();
  const auto import = abbreviations(ExternKind::tag);
  if (import) return external_type(ExternKind::tag, import_entry(*import, ExternKind::tag));
  define(ExternKind::tag);
  external_type(ExternKind::tag, assembly_.entry(SectionKind::tag, token));
}

void FieldAssembler::start() {
  auto& section = assembly_.section(SectionKind::start);
  if (section.count > 0) return cursor_.fail("multiple start sections");
  auto& out = assembly_.entry(SectionKind::start, cursor_.peek());
  out.unsigned_leb(assembly_.index(ExternKind::function));
}

// Functions

void FieldAssembler::function() {
  const auto token = cursor_.peek();
  const auto import = abbreviations(ExternKind::function);
  if (import) return external_type(ExternKind::function, import_entry(*import, ExternKind::function));
  IndexSpace locals{"local", "local"};
  const auto type = type_use(assembly_, {.allowed = true, .space = &locals});
  assembly_.entry(SectionKind::function, token).unsigned_leb(type);
  body(locals, token);
  define(ExternKind::function);
}

/// Equal types one after the other are one group of the binary format.
void FieldAssembler::locals(Encoder& out, IndexSpace& space) {
  std::vector<std::pair<TypeCode, std::uint32_t>> groups;
  const auto add = [&] {
    assembly_.bind(space);
    const auto type = value_type(assembly_);
    if (!groups.empty() && groups.back().first == type)
      groups.back().second++;
    else
      groups.emplace_back(type, 1);
  };
  while (cursor_.take_open("local")) {
    if (cursor_.at(TokenKind::identifier))
      add();
    else
      while (at_value_type(cursor_)) add();
    cursor_.close();
  }
  out.unsigned_leb(groups.size());
  for (const auto& [type, count] : groups) {
    out.unsigned_leb(count);
    type.encode(out);
  }
}

void FieldAssembler::body(IndexSpace& space, const Token& token) {
  Encoder code;
  FunctionNotes notes;
  notes.function = next_[std::size_t(ExternKind::function)];
  locals(code, space);
  ExpressionAssembler instructions(assembly_, space, code, &notes);
  instructions.all();
  auto& out = assembly_.entry(SectionKind::code, token);
  out.unsigned_leb(code.size());
  auto& places = assembly_.section(SectionKind::code).places;
  for (auto place : instructions.places()) {
    place.offset += out.size();
    places.push_back(place);
  }
  out.raw(code.bytes);
  notes.locals = space.names();
  if (!notes.locals.empty() || !notes.labels.empty() || !notes.hints.empty())
    assembly_.notes.push_back(std::move(notes));
}

void FieldAssembler::expression(SectionKind section, Encoder& out) {
  static const IndexSpace no_locals{"local", "local"};
  ExpressionAssembler instructions(assembly_, no_locals, out, nullptr);
  instructions.all();
  auto& places = assembly_.section(section).places;
  places.insert(places.end(), instructions.places().begin(), instructions.places().end());
}

void assemble_fields(Assembly& assembly) {
  FieldAssembler fields(assembly);
  auto& cursor = assembly.cursor;
  take_custom_texts(assembly);
  while (!cursor.at_end() && !cursor.at(TokenKind::close)) {
    fields.field();
    take_custom_texts(assembly);
  }
}

}  // namespace doppel::wasm::text
