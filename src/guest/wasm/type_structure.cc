#include "guest/wasm/type_structure.h"

#include <algorithm>
#include <random>

namespace doppel::wasm {
namespace {

ValueType placed(ValueType type, OwnTypes own) {
  return type.is_reference() ? ValueType::reference(placed(type.heap(), own), type.nullable()) : type;
}

// Folds the product of two secret-masked numbers: who does not know the secrets cannot choose words that collide.
class Fingerprint {
 public:
  explicit Fingerprint(OwnTypes own) : own_(own) {}
  std::uint64_t value() const { return value_; }
  void add(std::uint64_t word) {
    using Wide = unsigned __int128;
    const Wide product = Wide{word ^ secrets().word} * (value_ ^ secrets().state);
    value_ = std::uint64_t(product) ^ std::uint64_t(product >> 64);
  }
  void add(ValueType type) { add(std::uint64_t{placed(type, own_).bits()}); }
  void add(const DefinedType& type) {
    add(std::uint64_t(type.form) | std::uint64_t{type.final} << 8 | std::uint64_t{type.super.has_value()} << 9);
    if (type.super) add(std::uint64_t{placed(*type.super, own_).code()});
    add(std::uint64_t{type.parameters.size()} | std::uint64_t{type.results.size()} << 32);
    for (const ValueType value : type.parameters) add(value);
    for (const ValueType value : type.results) add(value);
    add(std::uint64_t{type.fields.size()});
    for (const FieldType field : type.fields)
      add(std::uint64_t{placed(field.type, own_).bits()} | std::uint64_t{field.mutable_} << 32);
  }

 private:
  struct Secrets {
    std::uint64_t word, state;
  };
  static const Secrets& secrets() {
    static const Secrets made = [] {
      std::random_device source;
      const auto draw = [&] { return std::uint64_t{source()} << 32 | source(); };
      return Secrets{draw(), draw()};
    }();
    return made;
  }
  OwnTypes own_;
  std::uint64_t value_ = 0;
};

bool is_same_type(const DefinedType& stored, OwnTypes own, const DefinedType& other) {
  if (stored.form != other.form || stored.final != other.final) return false;
  if (stored.super.has_value() != other.super.has_value()) return false;
  if (stored.super && placed(*stored.super, own) != *other.super) return false;
  const auto same_value = [own](ValueType a, ValueType b) { return placed(a, own) == b; };
  const auto same_field = [&](FieldType a, FieldType b) {
    return a.mutable_ == b.mutable_ && same_value(a.type, b.type);
  };
  return std::ranges::equal(stored.parameters, other.parameters, same_value) &&
         std::ranges::equal(stored.results, other.results, same_value) &&
         std::ranges::equal(stored.fields, other.fields, same_field);
}

}  // namespace

std::uint64_t fingerprint(std::span<const DefinedType> types, OwnTypes own) {
  Fingerprint made(own);
  for (const DefinedType& type : types) made.add(type);
  return made.value();
}

bool is_same_group(const TypeGroup& group, std::span<const DefinedType> types) {
  const OwnTypes own{group.first, std::uint32_t(group.types.size())};
  return std::ranges::equal(group.types, types,
                            [own](const DefinedType& a, const DefinedType& b) { return is_same_type(a, own, b); });
}

}  // namespace doppel::wasm
