#pragma once
// A module (core specification, 2.5) as parse_module() makes it: what its sections say, with the bodies of functions
// and the constant expressions left in its bytes, where whoever needs them decodes them.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "guest/wasm/types.h"

namespace doppel::wasm {

/// A stretch of the module's bytes.
struct ByteRange {
  std::uint32_t begin = 0, end = 0;
  std::uint32_t size() const { return end - begin; }
};

/// Of a memory in pages, of a table in elements (2.3.11).
struct Limits {
  std::uint64_t minimum = 0;
  std::optional<std::uint64_t> maximum;
  bool is64 = false;    ///< addresses are i64
  bool shared = false;  ///< for threads; refused until they are there
  bool operator==(const Limits&) const = default;
};
struct MemoryType {
  Limits limits;
  std::uint8_t page_shift = 16;  ///< 16, or 0 with custom page sizes
  bool operator==(const MemoryType&) const = default;
};
struct TableType {
  Limits limits;
  ValueType element;
  bool operator==(const TableType&) const = default;
};
struct GlobalType {
  ValueType type;
  bool mutable_ = false;
  bool operator==(const GlobalType&) const = default;
};
struct TagType {
  TypeId type = 0;
  bool operator==(const TagType&) const = default;
};

enum class ExternKind : std::uint8_t { function, table, memory, global, tag };
std::string_view spelling(ExternKind kind);

/// `index` counts in the index space of the kind, where imports come first.
struct Import {
  std::string module, name;
  ExternKind kind = ExternKind::function;
  std::uint32_t index = 0;
};
struct Export {
  std::string name;
  ExternKind kind = ExternKind::function;
  std::uint32_t index = 0;
};

/// A constant expression with its final `end`.
using ConstantExpression = ByteRange;

struct Function {
  TypeId type = 0;
  ByteRange body;          ///< locals and code, without its size; empty for an imported one
  bool referable = false;  ///< ref.func may name it (3.5.1, C.refs)
};
struct Table {
  TableType type;
  std::optional<ConstantExpression> initial;  ///< what its elements begin as; else null
};
struct Global {
  GlobalType type;
  ConstantExpression initial;  ///< not of an imported one
};

enum class SegmentMode : std::uint8_t { active, passive, declarative };
struct ElementSegment {
  SegmentMode mode = SegmentMode::passive;
  std::uint32_t table = 0;
  ConstantExpression offset;
  ValueType type;
  std::vector<std::uint32_t> functions;         ///< either these
  std::vector<ConstantExpression> expressions;  ///< or these
  bool by_expression = false;
  std::uint32_t size() const { return std::uint32_t(by_expression ? expressions.size() : functions.size()); }
};
struct DataSegment {
  SegmentMode mode = SegmentMode::passive;
  std::uint32_t memory = 0;
  ConstantExpression offset;
  ByteRange bytes;
};

struct CustomSection {
  std::string name;
  ByteRange bytes;
};

/// What is longer is refused; the specification leaves limits to implementations (A.2).
namespace limits {
inline constexpr std::uint32_t module_bytes = 1U << 30, types = 1'000'000, functions = 1'000'000, imports = 1'000'000,
                               exports = 1'000'000, globals = 1'000'000, segments = 1'000'000, tables = 100'000,
                               memories = 1'000, parameters = 1'000, results = 1'000, fields = 10'000, locals = 50'000,
                               body_bytes = 7'654'321, table_elements = 10'000'000, nesting = 10'000'000;
}  // namespace limits

struct Module {
  std::shared_ptr<const std::vector<std::uint8_t>> bytes;
  std::vector<std::shared_ptr<const TypeGroup>> groups;  ///< keeps what `types` numbers alive
  std::vector<TypeId> types;
  std::vector<Import> imports;
  std::vector<Function> functions;  ///< this and what follows: imported ones first
  std::vector<Table> tables;
  std::vector<MemoryType> memories;
  std::vector<Global> globals;
  std::vector<TagType> tags;
  std::uint32_t imported_functions = 0, imported_tables = 0, imported_memories = 0, imported_globals = 0,
                imported_tags = 0;
  std::vector<Export> exports;
  std::vector<std::uint32_t> exports_by_name;  ///< their numbers, in the order of their names: for find_export()
  std::optional<std::uint32_t> start;
  std::vector<ElementSegment> elements;
  std::vector<DataSegment> data;
  std::optional<std::uint32_t> data_count;
  std::vector<CustomSection> custom;
  ByteRange code;  ///< the code section's content

  std::span<const std::uint8_t> range(ByteRange r) const { return std::span(*bytes).subspan(r.begin, r.size()); }
  const Export* find_export(std::string_view name) const;
};

/// Whether something is wrong with a module's form (assert_malformed) or with what it means (assert_invalid).
struct ModuleError {
  bool malformed = false;
  std::uint32_t offset = 0;  ///< the byte of the module where it was noticed
  std::string message;       ///< begins as the specification's tests say it, e.g. "type mismatch"
  /// One sentence with the offset.
  Error error() const;
};

/// Parses everything but the bodies of functions. What it gives has indices in range where the sections say so, but is
/// not validated.
std::variant<Module, ModuleError> parse_module(std::shared_ptr<const std::vector<std::uint8_t>> bytes);

/// Validates everything but the bodies of functions (3.4).
std::optional<ModuleError> validate_module(const Module& module);

/// Validates the body of a function of the module's own.
std::optional<ModuleError> validate_function(const Module& module, std::uint32_t function);

/// All of it, in the order in which it lies in the module.
std::optional<ModuleError> validate(const Module& module);

}  // namespace doppel::wasm
