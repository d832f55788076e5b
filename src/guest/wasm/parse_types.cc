// The type section (5.3.8 to 5.3.11, 5.5.4).
#include <fmt/format.h>

#include "guest/wasm/module_parse.h"

namespace doppel::wasm {
namespace {

constexpr std::uint8_t rec_code = 0x4e, final_sub_code = 0x4f, sub_code = 0x50, array_code = 0x5e, struct_code = 0x5f,
                       func_code = 0x60;

void read_values(ModuleParse& parse, std::uint32_t most, std::string_view what, std::vector<ValueType>& list) {
  read_list(parse, parse.count(most, what), 1, list, [](ModuleParse& p) { return read_value_type(p.in, p.types()); });
}

FieldType read_field(ModuleParse& parse) {
  FieldType field{.type = read_storage_type(parse.in, parse.types())};
  field.mutable_ = read_mutability(parse.in);
  return field;
}

void read_composite(ModuleParse& parse, DefinedType& type) {
  const std::uint8_t code = parse.in.peek();
  if (code < array_code || code > func_code) return no_type(parse.in, "malformed type definition");
  parse.in.byte();
  switch (code) {
    case func_code:
      type.form = DefinedType::Form::func;
      read_values(parse, limits::parameters, "parameters", type.parameters);
      return read_values(parse, limits::results, "results", type.results);
    case struct_code:
      type.form = DefinedType::Form::struct_;
      return read_list(parse, parse.count(limits::fields, "fields"), 2, type.fields, read_field);
    default:
      type.form = DefinedType::Form::array;
      return type.fields.push_back(read_field(parse));
  }
}

// The supertype that a type declares, which has to come before it (3.2.12).
void read_super(ModuleParse& parse, std::uint32_t place, DefinedType& type) {
  const std::uint32_t count = parse.count(1, "supertypes"), at = parse.in.offset();
  if (count == 0) return;
  const HeapType super = read_type_index(parse.in, parse.types());
  if (super.is_of_group() && super.place_in_group() >= place)
    return parse.in.refuse_at(at, "unknown type: a supertype has to come before its subtypes");
  type.super = super;
}

DefinedType read_subtype(ModuleParse& parse, std::uint32_t place) {
  DefinedType type;
  const std::uint8_t code = parse.in.peek();
  if (code == sub_code || code == final_sub_code) {
    parse.in.byte();
    type.final = code == final_sub_code;
    read_super(parse, place, type);
  }
  read_composite(parse, type);
  return type;
}

void read_group(ModuleParse& parse) {
  Module& module = parse.module;
  const bool rec = parse.in.peek() == rec_code;
  if (rec) parse.in.byte();
  parse.group = rec ? parse.count(limits::types, "types") : 1;
  std::vector<DefinedType> types;
  std::uint32_t place = 0;
  read_list(parse, parse.group, 2, types, [&](ModuleParse& p) { return read_subtype(p, place++); });
  parse.group = 0;
  if (parse.in.failed() || types.empty()) return;
  if (module.types.size() + types.size() > limits::types)
    return parse.in.refuse(fmt::format("too many types, of at most {}", limits::types));
  auto group = type_registry::intern(std::move(types));
  if (group == nullptr) return parse.in.refuse("too many types in all modules together");
  for (TypeId n = 0; n < group->types.size(); n++) module.types.push_back(group->first + n);
  module.groups.push_back(std::move(group));
}

}  // namespace

void read_type_section(ModuleParse& parse) {
  const std::uint32_t groups = parse.count(limits::types, "types");  // each has at least two bytes
  parse.module.types.reserve(groups);
  parse.module.groups.reserve(groups);
  for (std::uint32_t n = 0; n < groups && !parse.in.failed(); n++) read_group(parse);
}

}  // namespace doppel::wasm
