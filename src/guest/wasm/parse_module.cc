#include <fmt/format.h>

#include <array>
#include <numeric>
#include <utility>

#include "guest/wasm/body_form.h"
#include "guest/wasm/module_parse.h"

namespace doppel::wasm {
namespace {

constexpr std::uint32_t magic = 0x6d736100, version = 1;
constexpr std::uint8_t custom_section = 0;

// By id (5.5.2); `place` is its turn in a module.
struct SectionRow {
  std::uint8_t place;
  void (*read)(ModuleParse&);
};
constexpr std::array<SectionRow, 14> sections = {{
    {0, nullptr},  // custom sections, which come anywhere
    {1, read_type_section},
    {2, read_import_section},
    {3, read_function_section},
    {4, read_table_section},
    {5, read_memory_section},
    {7, read_global_section},
    {8, read_export_section},
    {9, read_start_section},
    {10, read_element_section},
    {12, read_code_section},
    {13, read_data_section},
    {11, read_data_count_section},
    {6, read_tag_section},
}};

void read_header(ByteReader& in) {
  if (in.fixed32() != magic && !in.failed()) in.fail_at(0, "magic header not detected");
  if (in.fixed32() != version && !in.failed()) in.fail_at(4, "unknown binary version");
}

void read_custom_section(ModuleParse& parse, std::uint32_t end) {
  CustomSection section{.name = std::string(parse.in.name()), .bytes = {}};
  if (parse.in.failed()) return;
  if (parse.in.offset() > end) return parse.in.fail_at(end, "unexpected end");
  section.bytes = {parse.in.offset(), end};
  parse.in.skip(section.bytes.size());
  parse.module.custom.push_back(std::move(section));
}

// `turn` is the place of the section before.
void read_section(ModuleParse& parse, unsigned& turn) {
  ByteReader& in = parse.in;
  const std::uint32_t at = in.offset();
  const std::uint8_t id = in.byte();
  if (id >= sections.size()) return in.fail_at(at, "malformed section id");
  if (id != custom_section && sections[id].place <= turn)
    return in.fail_at(at, "unexpected content after last section");
  const std::uint32_t size = in.u32(), begin = in.offset();
  if (size > in.left() && !in.failed()) in.fail("length out of bounds");
  if (in.failed()) return;
  if (id == custom_section) return read_custom_section(parse, begin + size);
  turn = sections[id].place;
  sections[id].read(parse);
  if (!in.failed() && in.offset() != begin + size) in.fail_at(begin, "section size mismatch");
}

void check_lengths(ModuleParse& parse) {
  const Module& module = parse.module;
  if (parse.function_types != parse.bodies) parse.in.fail("function and code section have inconsistent lengths");
  if (module.data_count.value_or(std::uint32_t(module.data.size())) != module.data.size())
    parse.in.fail("data count and data section have inconsistent lengths");
}

void order_exports(Module& module) {
  module.exports_by_name.resize(module.exports.size());
  std::iota(module.exports_by_name.begin(), module.exports_by_name.end(), 0U);
  std::ranges::sort(module.exports_by_name, {},
                    [&](std::uint32_t n) -> std::string_view { return module.exports[n].name; });
}

ModuleError first_error(const ModuleParse& parse) {
  // Where a body is longer than it says, what comes behind makes no sense; the body does not either.
  if (parse.bodies > 0 && parse.in.failure_offset() >= parse.module.code.end)
    if (auto in_body = find_malformed_body(parse.module)) return *in_body;
  return {parse.in.malformed(), parse.in.failure_offset(), parse.in.message()};
}

}  // namespace

std::uint32_t ModuleParse::count(std::uint32_t most, std::string_view what) {
  const std::uint32_t n = in.u32();
  if (n > in.left() && !in.failed()) in.fail("unexpected end of section or function");
  if (n > most) in.refuse(fmt::format("too many {}: {}, of at most {}", what, n, most));
  return in.failed() ? 0 : n;
}

std::variant<Module, ModuleError> parse_module(std::shared_ptr<const std::vector<std::uint8_t>> bytes) {
  if (bytes->size() > limits::module_bytes)
    return ModuleError{.message = fmt::format("the module is too large: of at most {} bytes", limits::module_bytes)};
  ModuleParse parse{.in = {bytes->data(), 0, std::uint32_t(bytes->size())}, .module = {}};
  parse.module.bytes = std::move(bytes);
  read_header(parse.in);
  for (unsigned turn = 0; !parse.in.at_end();) read_section(parse, turn);
  check_lengths(parse);
  if (parse.in.failed()) return first_error(parse);
  order_exports(parse.module);
  return std::move(parse.module);
}

}  // namespace doppel::wasm
