#include "guest/wasm/text/name_section.h"

#include <algorithm>

#include "guest/wasm/byte_reader.h"

namespace doppel::wasm::text {

namespace {

/// Null also if there are several.
const CustomSection* find_custom(const Module& module, std::string_view name) {
  if (std::ranges::count(module.custom, name, &CustomSection::name) != 1) return nullptr;
  return &*std::ranges::find(module.custom, name, &CustomSection::name);
}

NameMap read_name_map(ByteReader& in) {
  NameMap names;
  for (auto count = in.u32(); count > 0 && !in.failed(); count--) {
    const auto index = in.u32();
    const auto name = in.name();
    if (!in.failed()) names[index] = name;
  }
  return names;
}

std::map<std::uint32_t, NameMap> read_indirect_map(ByteReader& in) {
  std::map<std::uint32_t, NameMap> names;
  for (auto count = in.u32(); count > 0 && !in.failed(); count--) {
    const auto index = in.u32();
    names[index] = read_name_map(in);
  }
  return names;
}

void read_subsection(NameSection& section, NameKind kind, ByteReader in) {
  switch (kind) {
    case NameKind::module:
      section.module = in.name();
      break;
    case NameKind::locals:
    case NameKind::labels:
    case NameKind::fields:
      section.inner[std::size_t(kind)] = read_indirect_map(in);
      break;
    default:
      section.names[std::size_t(kind)] = read_name_map(in);
  }
}

}  // namespace

const NameMap& NameSection::of(NameKind kind, std::uint32_t within) const {
  static const NameMap none;
  const auto& maps = inner[std::size_t(kind)];
  const auto found = maps.find(within);
  return found == maps.end() ? none : found->second;
}

NameSection read_name_section(const Module& module) {
  NameSection section;
  const auto* custom = find_custom(module, "name");
  if (custom == nullptr) return section;
  section.present = true;
  ByteReader in(module.bytes->data(), custom->bytes.begin, custom->bytes.end);
  while (!in.at_end()) {
    const auto id = in.byte();
    const auto size = in.u32(), begin = in.offset();
    if (in.skip(size) == nullptr && size > 0) break;
    if (id < std::uint8_t(NameKind::count))
      read_subsection(section, NameKind(id), ByteReader(module.bytes->data(), begin, begin + size));
  }
  return section;
}

BranchHints read_branch_hints(const Module& module) {
  BranchHints hints;
  const auto* custom = find_custom(module, "metadata.code.branch_hint");
  if (custom == nullptr) return hints;
  ByteReader in(module.bytes->data(), custom->bytes.begin, custom->bytes.end);
  for (auto functions = in.u32(); functions > 0 && !in.failed(); functions--) {
    auto& of_function = hints[in.u32()];
    for (auto count = in.u32(); count > 0 && !in.failed(); count--) {
      const auto offset = in.u32();
      if (in.u32() != 1) return {};
      of_function[offset] = in.byte();
    }
  }
  return in.failed() || !in.at_end() ? BranchHints() : hints;
}

}  // namespace doppel::wasm::text
