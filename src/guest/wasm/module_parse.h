#pragma once
// What the readers of the sections share (core specification, 5.5). The reader is not bounded by the section's end:
// where the specification's own tests say what is wrong with sections that hold more or less than they say, they say it
// so.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/module.h"
#include "guest/wasm/read_types.h"

namespace doppel::wasm {

struct ModuleParse {
  ByteReader in;
  Module module;
  std::uint32_t group = 0;           ///< types of the recursive group that is being read
  std::uint32_t function_types = 0;  ///< entries of the function section
  std::uint32_t bodies = 0;          ///< of the code section

  TypeSpace types() const { return {module.types, group}; }
  /// The count in front of a list, of which each entry has at least a byte. "too many" `what` where they are more than
  /// `most`.
  std::uint32_t count(std::uint32_t most, std::string_view what);
  /// The type of a function, tag or import: the index of one that is there.
  TypeId type_id() { return read_type_index(in, types()).id(); }
  /// Of a function that is named outside of bodies (3.5.1, C.refs), if there is one of that index.
  void make_referable(std::uint32_t function) {
    if (function < module.functions.size()) module.functions[function].referable = true;
  }
};

/// A list's entries, each of which takes at least `least_bytes`, so that no more room is made than they can need.
template <typename Entry, typename Read>
void read_list(ModuleParse& parse, std::uint32_t count, std::uint32_t least_bytes, std::vector<Entry>& list,
               Read read) {
  list.reserve(list.size() + std::min(count, parse.in.left() / least_bytes));
  for (std::uint32_t n = 0; n < count && !parse.in.failed(); n++) list.push_back(read(parse));
}

/// Goes over a constant expression (5.4.9) without knowing more of it than where it ends; functions that it names
/// become referable.
ConstantExpression read_constant_expression(ModuleParse& parse);

TableType read_table_type(ModuleParse& parse);
MemoryType read_memory_type(ModuleParse& parse);
GlobalType read_global_type(ModuleParse& parse);
TagType read_tag_type(ModuleParse& parse);

// The content of a section each (5.5.4 to 5.5.16), without its size.
void read_type_section(ModuleParse& parse);
void read_import_section(ModuleParse& parse);
void read_function_section(ModuleParse& parse);
void read_table_section(ModuleParse& parse);
void read_memory_section(ModuleParse& parse);
void read_tag_section(ModuleParse& parse);
void read_global_section(ModuleParse& parse);
void read_export_section(ModuleParse& parse);
void read_start_section(ModuleParse& parse);
void read_element_section(ModuleParse& parse);
void read_data_count_section(ModuleParse& parse);
void read_code_section(ModuleParse& parse);
void read_data_section(ModuleParse& parse);

}  // namespace doppel::wasm
