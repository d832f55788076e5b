#pragma once
// Types in the binary format (core specification, 5.3) that are no defined ones.
#include <span>
#include <string_view>
#include <vector>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/types.h"

namespace doppel::wasm {

/// What type indices mean at a place in a module.
struct TypeSpace {
  std::span<const TypeId> types;
  std::uint32_t group = 0;  ///< of the recursive group that is being read, whose types come next: how many
  TypeSpace() = default;
  TypeSpace(const std::vector<TypeId>& types, std::uint32_t group = 0) : types(types), group(group) {}
};

/// A type index that is in range; its failure is "unknown type". Inside a recursive group it may be of_group().
HeapType read_type_index(ByteReader& in, const TypeSpace& space);
/// 5.3.4; fails with "malformed heap type" or as read_type_index() does. Of a failed reader: func.
HeapType read_heap_type(ByteReader& in, const TypeSpace& space);
/// 5.3.5; fails with "malformed reference type" too.
ValueType read_reference_type(ByteReader& in, const TypeSpace& space);
/// 5.3.6; fails with "malformed value type" too. Of a failed reader: i32.
ValueType read_value_type(ByteReader& in, const TypeSpace& space);
/// 5.3.7: value types, i8 and i16.
ValueType read_storage_type(ByteReader& in, const TypeSpace& space);
/// The byte in front of what may be mutable; fails with "malformed mutability".
bool read_mutability(ByteReader& in);

/// Fails since no type of the kind wanted begins with the next byte. Codes of types are negative numbers in LEB128 of 7
/// bits (5.3.1), so what goes on after a byte is too long.
void no_type(ByteReader& in, std::string_view message);

/// Whether a type can begin with the byte, as the type that a block may have does (5.4.1): else it is empty or an
/// index.
bool begins_value_type(std::uint8_t byte);

}  // namespace doppel::wasm
