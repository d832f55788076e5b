#pragma once
// The fields of a module (core specification, 6.6).
#include <optional>
#include <string>

#include "guest/wasm/text/assembly.h"

namespace doppel::wasm::text {

class FieldAssembler {
 public:
  explicit FieldAssembler(Assembly& assembly) : assembly_(assembly), cursor_(assembly.cursor) {}
  /// Takes `(word …)`.
  void field();

 private:
  struct Handler;
  static const Handler handlers[];

  /// `(import "m" "n")` within a definition.
  struct InlineImport {
    std::string module, name;
  };
  struct LimitsText {
    std::uint64_t minimum = 0;
    std::optional<std::uint64_t> maximum;
    bool is64 = false, shared = false;
    std::optional<std::uint32_t> page_exponent;
  };

  // The cursor stands behind the word; the closing parenthesis is taken by field().
  void type_or_group();
  void import();
  void function();
  void table();
  void memory();
  void global();
  void tag();
  void export_();
  void start();
  void element();
  void data();

  // Parts of several.
  void skip_identifier();
  /// Takes inline exports, and the inline import if there is one.
  std::optional<InlineImport> abbreviations(ExternKind kind);
  Encoder& import_entry(const InlineImport& names, ExternKind kind);
  void check_no_definition(const Token& token);
  void define(ExternKind kind);
  bool address_type();
  LimitsText limits(bool is64);
  void encode_limits(Encoder& out, const LimitsText& limits);
  std::optional<std::uint32_t> page_size();
  void memory_type(Encoder& out, bool is64);
  void table_type(Encoder& out, bool is64);
  void external_type(ExternKind kind, Encoder& out);
  void export_entry(const std::string& name, ExternKind kind, std::uint32_t index);

  // Bodies and expressions.
  void body(IndexSpace& space, const Token& token);
  void locals(Encoder& out, IndexSpace& space);
  void expression(SectionKind section, Encoder& out);

  // Segments.
  struct ElementList {
    bool functions = false;  ///< by index; else expressions
    TypeCode type;
    std::uint32_t count = 0;
    Encoder items;
  };
  void offset(Encoder& out);
  ElementList element_list();
  void function_indices(ElementList& list);
  void function_references(ElementList& list);
  void element_expressions(ElementList& list);
  void encode_elements(Encoder& out, const ElementList& list);
  void inline_elements(std::uint32_t table, bool is64, TypeCode type, Encoder& table_out);
  void inline_data(std::uint32_t memory, bool is64, std::optional<std::uint32_t> page_exponent);
  void constant_zero(bool is64, Encoder& out);
  std::string strings();
  bool segment_target(ExternKind kind, std::uint32_t& index);

  Assembly& assembly_;
  Cursor& cursor_;
  std::array<std::uint32_t, 5> next_{};  ///< the index of what comes next of each kind
  std::optional<ExternKind> defined_;    ///< what was defined last; behind it may be no imports
};

}  // namespace doppel::wasm::text
