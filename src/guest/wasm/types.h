#pragma once
// The types of WebAssembly 3.0 (core specification, 2.3 and 3.1). Defined types have one number in the whole process,
// so that equal types of different modules are the same number.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace doppel::wasm {

/// A defined type, unique by its structure: what TypeRegistry gave for it.
using TypeId = std::uint32_t;

/// The heap types that are not defined ones.
enum class AbstractHeap : std::uint8_t {
  func,
  nofunc,
  extern_,
  noextern,
  any,
  eq,
  i31,
  struct_,
  array,
  none,
  exn,
  noexn,
  count
};

enum class ValueKind : std::uint8_t {
  bottom,  ///< of the validator: any type at all
  i32,
  i64,
  f32,
  f64,
  v128,
  ref,
  i8,  ///< i8 and i16 are for fields only
  i16,
};

/// What a reference refers to: an abstract heap type or a defined type.
class HeapType {
 public:
  constexpr HeapType() = default;
  constexpr HeapType(AbstractHeap heap) : code_(std::uint32_t(heap)) {}
  static constexpr HeapType defined(TypeId id) { return HeapType(id + first_defined); }
  /// Of the recursive group that is being made: its nth type. TypeRegistry::intern() replaces it.
  static constexpr HeapType of_group(std::uint32_t n) { return HeapType(n + first_of_group); }
  constexpr bool is_defined() const { return code_ >= first_defined && code_ < first_of_group; }
  constexpr bool is_of_group() const { return code_ >= first_of_group; }
  constexpr bool is_abstract() const { return code_ < first_defined; }
  constexpr AbstractHeap abstract() const { return AbstractHeap(code_); }
  constexpr TypeId id() const { return code_ - first_defined; }
  constexpr std::uint32_t place_in_group() const { return code_ - first_of_group; }
  constexpr std::uint32_t code() const { return code_; }
  static constexpr HeapType from_code(std::uint32_t code) { return HeapType(code); }
  constexpr bool operator==(const HeapType&) const = default;

 private:
  static constexpr std::uint32_t first_defined = 16, first_of_group = 1U << 26;
  explicit constexpr HeapType(std::uint32_t code) : code_(code) {}
  std::uint32_t code_ = 0;
};
/// Types that a process may have at once.
inline constexpr std::uint32_t most_types = (1U << 26) - 16;

/// The type of a value, in 32 bits.
class ValueType {
 public:
  constexpr ValueType() = default;
  constexpr ValueType(ValueKind kind) : bits_(std::uint32_t(kind)) {}
  static constexpr ValueType reference(HeapType heap, bool nullable) {
    return ValueType(std::uint32_t(ValueKind::ref) | std::uint32_t(nullable) << 4 | heap.code() << 5);
  }
  constexpr ValueKind kind() const { return ValueKind(bits_ & 15); }
  constexpr bool is_reference() const { return kind() == ValueKind::ref; }
  constexpr bool nullable() const { return bits_ >> 4 & 1; }
  constexpr HeapType heap() const { return HeapType::from_code(bits_ >> 5); }
  /// Whether a local of this type begins with a value of its own.
  constexpr bool defaultable() const { return !is_reference() || nullable(); }
  /// 64-bit words that a value takes on the interpreter's stack and in locals.
  constexpr unsigned words() const { return kind() == ValueKind::v128 ? 2 : 1; }
  constexpr bool operator==(const ValueType&) const = default;
  constexpr std::uint32_t bits() const { return bits_; }

 private:
  explicit constexpr ValueType(std::uint32_t bits) : bits_(bits) {}
  std::uint32_t bits_ = 0;
};
inline constexpr ValueType i32 = ValueKind::i32, i64 = ValueKind::i64, f32 = ValueKind::f32, f64 = ValueKind::f64,
                           v128 = ValueKind::v128, bottom = ValueKind::bottom,
                           funcref = ValueType::reference(AbstractHeap::func, true),
                           externref = ValueType::reference(AbstractHeap::extern_, true);

struct FieldType {
  ValueType type;  // i8 and i16 too
  bool mutable_ = false;
  bool operator==(const FieldType&) const = default;
};

/// A defined type (2.3.7 to 2.3.9).
struct DefinedType {
  enum class Form : std::uint8_t { func, struct_, array } form = Form::func;
  bool final = true;
  std::optional<HeapType> super;               // a defined type, or one of the same group before this
  std::vector<ValueType> parameters, results;  // of a function
  std::vector<FieldType> fields;               // of a structure; of an array the one of its elements
  bool operator==(const DefinedType&) const = default;
};

/// A recursive group that has its numbers; they are free again when the last who holds it is gone.
struct TypeGroup : std::enable_shared_from_this<TypeGroup> {
  TypeId first = 0;
  std::vector<DefinedType> types;                       // no HeapType::of_group in them any more
  std::vector<std::shared_ptr<const TypeGroup>> named;  // other groups whose types are named here, which live as long
  TypeGroup() = default;
  TypeGroup(const TypeGroup&) = delete;
  TypeGroup& operator=(const TypeGroup&) = delete;
  ~TypeGroup();
};

/// All defined types of the process. Every function may be called from any thread.
namespace type_registry {
/// The group that is equal to this one, new or not; null where the process has too many types already. Someone holds
/// the groups of the defined types that are named in it.
std::shared_ptr<const TypeGroup> intern(std::vector<DefinedType> types);
/// A type of a group that someone holds.
const DefinedType& type(TypeId id);
/// How many supertypes it has, the one that it declares, that one's and so on.
std::uint32_t depth(TypeId id);
}  // namespace type_registry

/// Whether every value of `sub` is one of `super` (3.3).
bool is_subtype(HeapType sub, HeapType super);
bool is_subtype(ValueType sub, ValueType super);
bool is_subtype(TypeId sub, TypeId super);

/// As the text format has it, e.g. "i32", "funcref", "(ref null 3)" with the TypeId of a defined type.
std::string spelling(ValueType type);

}  // namespace doppel::wasm
