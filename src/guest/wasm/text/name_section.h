#pragma once
// The custom sections that say what things are called and which branches are likely (core specification, 7.4.1; the
// proposal for branch hints).
#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "guest/wasm/module.h"

namespace doppel::wasm::text {

using NameMap = std::map<std::uint32_t, std::string>;

/// The subsections by their numbers.
enum class NameKind : std::uint8_t {
  module,
  functions,
  locals,
  labels,
  types,
  tables,
  memories,
  globals,
  elements,
  data,
  fields,
  tags,
  count
};

/// Names by what they are names of. What is malformed is left out, as such sections change nothing.
struct NameSection {
  bool present = false;  ///< there is one, and only one
  std::string module;
  std::array<NameMap, std::size_t(NameKind::count)> names;
  /// Locals, labels and fields, by function or type.
  std::array<std::map<std::uint32_t, NameMap>, std::size_t(NameKind::count)> inner;
  const NameMap& of(NameKind kind) const { return names[std::size_t(kind)]; }
  const NameMap& of(NameKind kind, std::uint32_t within) const;
};
NameSection read_name_section(const Module& module);

/// By function, by offset from the begin of its locals: whether the branch is likely.
using BranchHints = std::map<std::uint32_t, std::map<std::uint32_t, std::uint8_t>>;
/// Empty if it is malformed or not there, or there several times.
BranchHints read_branch_hints(const Module& module);

}  // namespace doppel::wasm::text
