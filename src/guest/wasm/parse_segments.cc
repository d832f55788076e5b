// Element segments, code and data (5.5.12 to 5.5.15).
#include <fmt/format.h>

#include "guest/wasm/module_parse.h"

namespace doppel::wasm {
namespace {

// The bits of an element segment's first number; the second says that a table is named, or in a passive one that it is
// only declared.
constexpr std::uint32_t passive_bit = 1, explicit_bit = 2, expressions_bit = 4, most_element_kind = 7;
constexpr ValueType function_reference = ValueType::reference(AbstractHeap::func, false);

std::uint32_t read_function_index(ModuleParse& parse) {
  const std::uint32_t function = parse.in.u32();
  parse.make_referable(function);
  return function;
}

void read_element_mode(ModuleParse& parse, std::uint32_t kind, ElementSegment& segment) {
  if (kind & passive_bit) {
    segment.mode = kind & explicit_bit ? SegmentMode::declarative : SegmentMode::passive;
    return;
  }
  segment.mode = SegmentMode::active;
  if (kind & explicit_bit) segment.table = parse.in.u32();
  segment.offset = read_constant_expression(parse);
}

// Only the kinds 0 and 4 leave out what their elements are.
void read_element_type(ModuleParse& parse, std::uint32_t kind, ElementSegment& segment) {
  const bool said = kind & (passive_bit | explicit_bit);
  segment.type = segment.by_expression ? funcref : function_reference;
  if (!said) return;
  if (segment.by_expression) {
    segment.type = read_reference_type(parse.in, parse.types());
  } else if (parse.in.byte() != 0) {
    parse.in.fail_at(parse.in.offset() - 1, "malformed element kind");
  }
}

ElementSegment read_element_segment(ModuleParse& parse) {
  ElementSegment segment;
  const std::uint32_t at = parse.in.offset(), kind = parse.in.u32();
  if (kind > most_element_kind) return parse.in.fail_at(at, "malformed elements segment kind"), segment;
  segment.by_expression = kind & expressions_bit;
  read_element_mode(parse, kind, segment);
  read_element_type(parse, kind, segment);
  const std::uint32_t size = parse.count(limits::table_elements, "elements in a segment");
  if (segment.by_expression) {
    read_list(parse, size, 2, segment.expressions, read_constant_expression);
  } else {
    read_list(parse, size, 1, segment.functions, read_function_index);
  }
  return segment;
}

DataSegment read_data_segment(ModuleParse& parse) {
  constexpr std::uint32_t active = 0, passive = 1, active_explicit = 2;
  DataSegment segment;
  const std::uint32_t at = parse.in.offset(), kind = parse.in.u32();
  if (kind > active_explicit) return parse.in.fail_at(at, "malformed data segment kind"), segment;
  segment.mode = kind == passive ? SegmentMode::passive : SegmentMode::active;
  if (kind == active_explicit) segment.memory = parse.in.u32();
  if (kind == active || kind == active_explicit) segment.offset = read_constant_expression(parse);
  const std::uint32_t size = parse.in.u32();
  segment.bytes.begin = parse.in.offset();
  parse.in.skip(size);
  segment.bytes.end = parse.in.offset();
  return segment;
}

// Only how long each is: what is in it is read by whoever needs it.
ByteRange read_body(ModuleParse& parse) {
  const std::uint32_t size = parse.in.u32(), begin = parse.in.offset();
  if (size > parse.in.left() && !parse.in.failed()) parse.in.fail("length out of bounds");
  if (size > limits::body_bytes)
    parse.in.refuse(
        fmt::format("the body of a function is too large: {} bytes, of at most {}", size, limits::body_bytes));
  if (parse.in.failed()) return {};  // nobody looks into it
  parse.in.skip(size);
  return {begin, parse.in.offset()};
}

}  // namespace

void read_element_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::segments, "element segments"), 3, parse.module.elements, read_element_segment);
}

void read_data_count_section(ModuleParse& parse) { parse.module.data_count = parse.in.u32(); }

void read_code_section(ModuleParse& parse) {
  Module& module = parse.module;
  module.code.begin = parse.in.offset();
  parse.bodies = parse.count(limits::functions, "functions");
  for (std::uint32_t n = 0; n < parse.bodies && !parse.in.failed(); n++) {
    const ByteRange body = read_body(parse);
    if (n < parse.function_types) module.functions[module.imported_functions + n].body = body;
  }
  module.code.end = parse.in.offset();
}

void read_data_section(ModuleParse& parse) {
  read_list(parse, parse.count(limits::segments, "data segments"), 2, parse.module.data, read_data_segment);
}

}  // namespace doppel::wasm
