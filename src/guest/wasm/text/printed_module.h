#pragma once
// What the parts of the printer share.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "guest/wasm/byte_reader.h"
#include "guest/wasm/module.h"
#include "guest/wasm/text/label_scope.h"
#include "guest/wasm/text/name_section.h"
#include "guest/wasm/text/spelling.h"

namespace doppel::wasm::text {

/// A defined type as text.
struct PrintedType {
  bool is_function = false;
  std::vector<std::string> parameters, results;
};

struct PrintedModule {
  explicit PrintedModule(const Module& module);

  const Module& module;
  NameSection names;
  std::array<Identifiers, std::size_t(NameKind::count)> identifiers;
  std::map<std::uint32_t, Identifiers> fields;  ///< by type
  std::vector<PrintedType> types;
  std::string text;

  const Identifiers& of(NameKind kind) const { return identifiers[std::size_t(kind)]; }
  std::string reference(NameKind kind, std::uint32_t index) const { return of(kind).reference(index); }
};

// Types (5.3), read from the bytes of the module, whose indices they keep.
std::string print_heap_type(const PrintedModule& printed, ByteReader& in);
std::string print_value_type(const PrintedModule& printed, ByteReader& in);
/// `(ref null? ht)`.
std::string print_reference(const PrintedModule& printed, ByteReader& in, bool nullable);
/// ` (param …) (result …)` of a type; names are those of parameters, and may be null.
std::string print_signature(const PrintedType& type, const Identifiers* names);
/// The content of the type section; fills `types`.
void print_types(PrintedModule& printed, ByteReader& in);

/// What a body's instructions refer to besides the module.
struct BodyNames {
  Identifiers locals;
  const NameMap* labels = nullptr;
  std::map<std::uint32_t, std::uint8_t>* hints = nullptr;  ///< those printed are taken out
  std::uint32_t body_begin = 0;                            ///< where the locals begin, from which hints count
};
/// Instructions up to the final `end`, which is read too: one a line, or all in one.
void print_instructions(PrintedModule& printed, ByteReader& in, const BodyNames& names, bool lines);

}  // namespace doppel::wasm::text
