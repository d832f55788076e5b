// Definitions of types (core specification, 6.4.5 and 6.4.6).
#include "guest/wasm/text/assembly.h"
#include "guest/wasm/text/type_syntax.h"

namespace doppel::wasm::text {

namespace {

constexpr std::uint8_t recursive = 0x4e, open_subtype = 0x50, final_subtype = 0x4f, structure = 0x5f, array = 0x5e;

class TypeAssembler {
 public:
  explicit TypeAssembler(Assembly& assembly) : assembly_(assembly), cursor_(assembly.cursor) {}

  /// The cursor stands behind `(type`.
  void lone_type() {
    Encoder& out = assembly_.entry(SectionKind::type, cursor_.peek());
    definition(out, true);
  }
  /// Behind `(rec`.
  void group();

 private:
  void definition(Encoder& out, bool alone);
  bool subtype(Encoder& out);
  void composite(Encoder& out, TypeDefinition& type);
  void fields(Encoder& out, TypeDefinition& type);
  void storage_type(Encoder& out);

  Assembly& assembly_;
  Cursor& cursor_;
};

void TypeAssembler::group() {
  Encoder types;
  std::uint32_t count = 0;
  const auto token = cursor_.peek();
  const auto first = std::uint32_t(assembly_.types.size());
  for (; cursor_.take_open("type"); count++) definition(types, false);
  cursor_.close();
  if (cursor_.failed()) return;
  Encoder& out = assembly_.entry(SectionKind::type, token);
  if (count != 1) {
    out.byte(recursive);
    out.unsigned_leb(count);
  } else if (const auto& only = assembly_.types[first];
             only.form == DefinedType::Form::func && types.bytes[0] == 0x60) {
    assembly_.note_signature(only.signature, first);
  }
  out.raw(types.bytes);
}

void TypeAssembler::definition(Encoder& out, bool alone) {
  if (cursor_.at(TokenKind::identifier)) cursor_.take();
  const auto index = std::uint32_t(assembly_.types.size());
  TypeDefinition type;
  bool plain = true;
  if (cursor_.take_open("sub")) {
    plain = subtype(out);
    composite(out, type);
    cursor_.close();
  } else {
    composite(out, type);
  }
  cursor_.close();
  if (alone && plain && type.form == DefinedType::Form::func) assembly_.note_signature(type.signature, index);
  assembly_.types.push_back(std::move(type));
}

/// Whether it says no more than that the type is final.
bool TypeAssembler::subtype(Encoder& out) {
  const bool final = cursor_.take_keyword("final");
  Encoder supers;
  std::uint32_t count = 0;
  for (; cursor_.at_index(); count++) supers.unsigned_leb(assembly_.index(assembly_.type_space));
  if (final && count == 0) return true;
  out.byte(final ? final_subtype : open_subtype);
  out.unsigned_leb(count);
  out.raw(supers.bytes);
  return false;
}

void TypeAssembler::composite(Encoder& out, TypeDefinition& type) {
  if (cursor_.take_open("func")) {
    type.signature = signature(assembly_, {.allowed = true, .space = nullptr});
    type.signature.encode(out);
  } else if (cursor_.take_open("struct")) {
    type.form = DefinedType::Form::struct_;
    out.byte(structure);
    fields(out, type);
  } else if (cursor_.take_open("array")) {
    type.form = DefinedType::Form::array;
    out.byte(array);
    storage_type(out);
  } else {
    return cursor_.at(TokenKind::open) ? (cursor_.take(), cursor_.unexpected()) : cursor_.unexpected();
  }
  cursor_.close();
}

void TypeAssembler::fields(Encoder& out, TypeDefinition& type) {
  Encoder all;
  while (cursor_.take_open("field")) {
    if (cursor_.at(TokenKind::identifier)) {
      assembly_.bind(type.fields);
      storage_type(all);
    } else {
      while (!cursor_.at(TokenKind::close) && !cursor_.at_end()) {
        assembly_.bind(type.fields);
        storage_type(all);
      }
    }
    cursor_.close();
  }
  out.unsigned_leb(type.fields.count());
  out.raw(all.bytes);
}

void TypeAssembler::storage_type(Encoder& out) {
  const bool is_mutable = cursor_.take_open("mut");
  bool packed = false;
  for (const auto& word : std::span(number_words).subspan(value_words)) {
    if (!cursor_.take_keyword(word.text)) continue;
    out.byte(word.code);
    packed = true;
    break;
  }
  if (!packed) value_type(assembly_).encode(out);
  if (is_mutable) cursor_.close();
  out.byte(is_mutable);
}

}  // namespace

void assemble_types(Assembly& assembly) {
  auto& cursor = assembly.cursor;
  const auto begin = cursor.position();
  TypeAssembler types(assembly);
  while (cursor.at(TokenKind::open)) {
    if (cursor.take_open("type")) {
      types.lone_type();
    } else if (cursor.take_open("rec")) {
      types.group();
    } else {
      cursor.take();
      cursor.skip_group();
    }
  }
  cursor.move_to(begin);
}

}  // namespace doppel::wasm::text
