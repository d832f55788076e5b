#include "guest/wasm/text/assemble.h"

#include "guest/wasm/text/assemble_tokens.h"
#include "guest/wasm/text/custom_text.h"

namespace doppel::wasm::text {

namespace {

constexpr std::string_view header("\0asm\1\0\0\0", 8);
/// By SectionKind: the number of each in the binary format (5.5.2).
constexpr std::uint8_t section_ids[] = {1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11};
static_assert(std::size(section_ids) == std::size_t(SectionKind::count));

void custom_section(Encoder& out, std::string_view name, std::string_view bytes) {
  out.byte(0);
  out.unsigned_leb(leb_size(name.size()) + name.size() + bytes.size());
  out.sized(name);
  out.raw(bytes);
}

void custom_section(Encoder& out, std::string_view name, const Encoder& content) {
  if (!content.bytes.empty())
    custom_section(out, name, {reinterpret_cast<const char*>(content.bytes.data()), content.bytes.size()});
}

void custom_sections_before(Encoder& out, const Assembly& assembly, unsigned place) {
  for (const auto& custom : assembly.customs)
    if (custom.place == place) custom_section(out, custom.name, custom.bytes);
}

/// Start and data count are no vectors: what is in them is one number.
void section(AssembledModule& module, Encoder& out, const Section& section, SectionKind kind) {
  if (section.count == 0) return;
  const bool vector = kind != SectionKind::start && kind != SectionKind::data_count;
  out.byte(section_ids[std::size_t(kind)]);
  out.unsigned_leb(section.content.size() + (vector ? leb_size(section.count) : 0));
  if (vector) out.unsigned_leb(section.count);
  for (auto place : section.places) {
    place.offset += out.size();
    module.places.push_back(place);
  }
  out.raw(section.content.bytes);
}

void add_data_count(Assembly& assembly) {
  if (!assembly.uses_data_count) return;
  auto& section = assembly.section(SectionKind::data_count);
  section.content.unsigned_leb(assembly.section(SectionKind::data).count);
  section.count = 1;
}

/// `(module $id?`, if the fields stand in that.
bool take_module_head(Assembly& assembly, ModulePlace place) {
  auto& cursor = assembly.cursor;
  if (!cursor.take_open("module")) return false;
  if (place == ModulePlace::script) cursor.take_keyword("definition");
  IndexSpace modules{"module", "module"};
  assembly.bind(modules);
  if (!modules.names().empty()) assembly.module_name = modules.names().begin()->second;
  return true;
}

}  // namespace

AssembledModule join_sections(const Assembly& assembly) {
  AssembledModule module;
  Encoder out;
  out.raw(header);
  for (unsigned n = 0; n < unsigned(SectionKind::count); n++) {
    custom_sections_before(out, assembly, n);
    const auto kind = SectionKind(n);
    if (kind == SectionKind::code) custom_section(out, "metadata.code.branch_hint", branch_hint_section(assembly));
    section(module, out, assembly.section(kind), kind);
  }
  custom_section(out, "name", name_section(assembly));
  custom_sections_before(out, assembly, unsigned(SectionKind::count));
  module.bytes = std::move(out.bytes);
  return module;
}

std::variant<AssembledModule, TextError> assemble_tokens(const TokenList& list, std::uint32_t begin, std::uint32_t end,
                                                         ModulePlace place) {
  Assembly assembly(list, begin, end);
  const bool parenthesised = take_module_head(assembly, place);
  declare_fields(assembly);
  assemble_types(assembly);
  assemble_fields(assembly);
  if (parenthesised) assembly.cursor.close();
  if (!assembly.cursor.failed() && (!assembly.cursor.at_end() || list.error)) assembly.cursor.unexpected();
  check_annotations(assembly);
  if (assembly.cursor.failed()) return *assembly.cursor.error();
  add_data_count(assembly);
  return join_sections(assembly);
}

std::variant<AssembledModule, TextError> assemble(std::string_view text) {
  const auto list = tokenize(text);
  return assemble_tokens(list, 0, std::uint32_t(list.tokens.size()) - 1, ModulePlace::text);
}

}  // namespace doppel::wasm::text
