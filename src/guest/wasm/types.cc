#include "guest/wasm/types.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace doppel::wasm {
namespace {

using enum AbstractHeap;

// An abstract heap type: its names, and the abstract ones above it, a bit each (3.3.3).
struct HeapRow {
  AbstractHeap heap;
  std::string_view text, reference;  // in (ref …) and for a reference that may be null
  std::uint32_t above;
};
constexpr std::uint32_t bit(AbstractHeap heap) { return 1U << unsigned(heap); }
constexpr std::uint32_t eq_and_above = bit(eq) | bit(any);
constexpr std::array<HeapRow, std::size_t(count)> heap_rows = {{
    {func, "func", "funcref", 0},
    {nofunc, "nofunc", "nullfuncref", bit(func)},
    {extern_, "extern", "externref", 0},
    {noextern, "noextern", "nullexternref", bit(extern_)},
    {any, "any", "anyref", 0},
    {eq, "eq", "eqref", bit(any)},
    {i31, "i31", "i31ref", eq_and_above},
    {struct_, "struct", "structref", eq_and_above},
    {array, "array", "arrayref", eq_and_above},
    {none, "none", "nullref", eq_and_above | bit(i31) | bit(struct_) | bit(array)},
    {exn, "exn", "exnref", 0},
    {noexn, "noexn", "nullexnref", bit(exn)},
}};
constexpr const HeapRow& row(AbstractHeap heap) { return heap_rows[std::size_t(heap)]; }
constexpr bool rows_are_in_order() {
  for (std::size_t n = 0; n < heap_rows.size(); n++)
    if (std::size_t(heap_rows[n].heap) != n) return false;
  return true;
}
static_assert(rows_are_in_order());

// The abstract types between which a defined one of each form lies.
struct FormBounds {
  AbstractHeap above, below;
};
constexpr std::array<FormBounds, 3> form_bounds = {{{func, nofunc}, {struct_, none}, {array, none}}};
FormBounds bounds(HeapType defined) { return form_bounds[std::size_t(type_registry::type(defined.id()).form)]; }

bool is_abstract_subtype(AbstractHeap sub, AbstractHeap super) {
  return sub == super || (row(sub).above & bit(super)) != 0;
}

std::string heap_spelling(HeapType heap) {
  if (heap.is_abstract()) return std::string(row(heap.abstract()).text);
  return std::to_string(heap.is_defined() ? heap.id() : heap.place_in_group());
}

}  // namespace

bool is_subtype(HeapType sub, HeapType super) {
  if (sub == super) return true;
  if (sub.is_of_group() || super.is_of_group()) return false;
  if (sub.is_abstract() && super.is_abstract()) return is_abstract_subtype(sub.abstract(), super.abstract());
  if (super.is_abstract()) return is_abstract_subtype(bounds(sub).above, super.abstract());
  if (sub.is_abstract()) return sub.abstract() == bounds(super).below;
  return is_subtype(sub.id(), super.id());
}

bool is_subtype(ValueType sub, ValueType super) {
  if (sub == super || sub.kind() == ValueKind::bottom) return true;
  if (!sub.is_reference() || !super.is_reference()) return false;
  return (super.nullable() || !sub.nullable()) && is_subtype(sub.heap(), super.heap());
}

std::string spelling(ValueType type) {
  static constexpr std::array<std::string_view, 9> names = {"any type", "i32", "i64", "f32", "f64",
                                                            "v128",     "ref", "i8",  "i16"};
  if (!type.is_reference()) return std::string(names[std::size_t(type.kind())]);
  if (type.nullable() && type.heap().is_abstract()) return std::string(row(type.heap().abstract()).reference);
  return fmt::format("(ref {}{})", type.nullable() ? "null " : "", heap_spelling(type.heap()));
}

}  // namespace doppel::wasm
