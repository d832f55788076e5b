#pragma once
// A module while it is being assembled: what its identifiers mean, its types, and the contents of its sections so far.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guest/wasm/module.h"
#include "guest/wasm/text/annotation_register.h"
#include "guest/wasm/text/assemble.h"
#include "guest/wasm/text/cursor.h"
#include "guest/wasm/text/encoder.h"
#include "guest/wasm/text/index_space.h"
#include "guest/wasm/text/type_code.h"

namespace doppel::wasm::text {

/// The sections in the order in which they lie in a module.
enum class SectionKind : std::uint8_t {
  type,
  import,
  function,
  table,
  memory,
  tag,
  global,
  export_,
  start,
  element,
  data_count,
  code,
  data,
  count
};

/// A section that is a vector.
struct Section {
  Encoder content;  ///< without the vector's length
  std::uint32_t count = 0;
  std::vector<SourcePlace> places;  ///< offsets in `content`
};

/// `(@custom "name" (before first) "bytes")`.
struct CustomText {
  std::string name, bytes;
  unsigned place = 0;  ///< it lies before the section of this number in SectionKind; SectionKind::count: after the last
};

struct BranchHint {
  std::uint32_t offset = 0;  ///< from the begin of the function's locals on
  std::uint8_t likely = 0;
};

/// What the name section and the branch hints tell of a function's body.
struct FunctionNotes {
  std::uint32_t function = 0;
  std::map<std::uint32_t, std::string> locals, labels;
  std::vector<BranchHint> hints;
};

class Assembly {
 public:
  /// Of the fields of a module that are the tokens [begin, end).
  Assembly(const TokenList& list, std::uint32_t begin, std::uint32_t end);

  Cursor cursor;
  AnnotationRegister annotations;
  std::string module_name;
  /// By ExternKind.
  std::array<IndexSpace, 5> externs{
      {{"function", "func"}, {"table", "table"}, {"memory", "memory"}, {"global", "global"}, {"tag", "tag"}}};
  IndexSpace type_space{"type", "type"}, elements{"elem segment", "elem"}, data{"data segment", "data"};
  std::vector<TypeDefinition> types;
  std::array<Section, std::size_t(SectionKind::count)> sections;
  std::vector<CustomText> customs;
  std::vector<FunctionNotes> notes;
  bool uses_data_count = false;

  IndexSpace& externs_of(ExternKind kind) { return externs[std::size_t(kind)]; }
  Section& section(SectionKind kind) { return sections[std::size_t(kind)]; }
  const Section& section(SectionKind kind) const { return sections[std::size_t(kind)]; }
  /// A further entry of a section, which began at the token; write it to what comes back.
  Encoder& entry(SectionKind kind, const Token& token);

  /// Takes the identifier of what is the next in `space`, if it has one, and its name from an annotation.
  void bind(IndexSpace& space);
  /// Takes an index, by number or by identifier.
  std::uint32_t index(const IndexSpace& space);
  std::uint32_t index(ExternKind kind) { return index(externs_of(kind)); }

  /// The index of the function type: the first that is equal, or a new one behind all others (6.4.7).
  std::uint32_t implicit_type(const Signature& signature);
  /// Says that a type in a group of its own is this function type, for implicit_type().
  void note_signature(const Signature& signature, std::uint32_t index);

 private:
  std::map<std::vector<std::uint8_t>, std::uint32_t> signatures_;
};

// The passes over a module's fields, in their order. After each the cursor may have failed.

/// Gives all identifiers their indices.
void declare_fields(Assembly& assembly);
/// Parses the definitions of types.
void assemble_types(Assembly& assembly);
/// Parses everything else.
void assemble_fields(Assembly& assembly);
/// What the sections make together, with custom sections between them.
AssembledModule join_sections(const Assembly& assembly);

/// The kind that the word of an external type means, e.g. "func".
std::optional<ExternKind> extern_kind(std::string_view word);

}  // namespace doppel::wasm::text
