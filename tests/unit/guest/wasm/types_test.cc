#include "guest/wasm/types.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

namespace doppel::wasm {
namespace {

DefinedType function(std::vector<ValueType> parameters, std::vector<ValueType> results = {}) {
  DefinedType type;
  type.parameters = std::move(parameters);
  type.results = std::move(results);
  return type;
}

DefinedType structure(std::vector<FieldType> fields, std::optional<HeapType> super = {}) {
  DefinedType type;
  type.form = DefinedType::Form::struct_;
  type.final = false;
  type.super = super;
  type.fields = std::move(fields);
  return type;
}

ValueType to(HeapType heap) { return ValueType::reference(heap, true); }
HeapType heap_of(const std::shared_ptr<const TypeGroup>& group, TypeId n = 0) {
  return HeapType::defined(group->first + n);
}

// A call from one module to another compares numbers: equal types must have one.
TEST(TypeRegistry, GivesEqualTypesOneNumber) {
  const auto a = type_registry::intern({function({i32, f64}, {i64})});
  const auto b = type_registry::intern({function({i32, f64}, {i64})});
  const auto other = type_registry::intern({function({i32, f64, i64})});
  EXPECT_EQ(a->first, b->first);
  EXPECT_NE(a->first, other->first);
  EXPECT_EQ(type_registry::type(a->first), function({i32, f64}, {i64}));
}

TEST(TypeRegistry, TellsTypesApartByAllThatTheyHave) {
  std::vector<DefinedType> types = {
      structure({{i32, false}}), structure({{i32, true}}), structure({{i32, false}, {i32, false}}),
      structure({{i64, false}}), function({i32}),          function({}, {i32})};
  types.push_back(types.front());
  types.back().final = true;
  types.push_back(types.front());
  types.back().form = DefinedType::Form::array;
  std::vector<std::shared_ptr<const TypeGroup>> groups;
  std::set<TypeId> ids;
  for (const DefinedType& type : types) {
    groups.push_back(type_registry::intern({type}));
    ids.insert(groups.back()->first);
  }
  EXPECT_EQ(ids.size(), types.size());
}

// Groups that name their own types are the same wherever these lie (core specification, 3.1.2).
TEST(TypeRegistry, ComparesRecursiveGroupsByStructure) {
  const std::vector<DefinedType> pair = {structure({{to(HeapType::of_group(1)), true}}),
                                         structure({{to(HeapType::of_group(0)), true}})};
  const auto a = type_registry::intern(pair), b = type_registry::intern(pair);
  EXPECT_EQ(a->first, b->first);
  EXPECT_EQ(type_registry::type(a->first).fields[0].type, to(heap_of(a, 1)));
  // The same shape that names the first pair from outside is another type.
  const auto unrolled =
      type_registry::intern({structure({{to(heap_of(a, 1)), true}}), structure({{to(heap_of(a, 0)), true}})});
  EXPECT_NE(unrolled->first, a->first);
  const auto alone = type_registry::intern({structure({{to(HeapType::of_group(0)), true}})});
  EXPECT_NE(alone->first, a->first);
}

// A host that runs for months must not run out of numbers.
TEST(TypeRegistry, UsesNumbersAgain) {
  TypeId first = 0;
  for (int round = 0; round < 3; round++) {
    const auto group = type_registry::intern({function({v128, v128, v128, v128, v128})});
    if (round > 0) EXPECT_EQ(group->first, first);
    first = group->first;
  }
}

TEST(TypeRegistry, KeepsWhatAGroupNames) {
  auto inner = type_registry::intern({function({f32, f32, f32, f32, f32})});
  const auto outer = type_registry::intern({function({to(heap_of(inner))})});
  const TypeId id = inner->first;
  inner = nullptr;
  const auto other = type_registry::intern({function({f64, f64, f64, f64, f64})});
  EXPECT_NE(other->first, id);
  EXPECT_EQ(type_registry::type(id).parameters.size(), 5u);
}

// A million types each of which names the one before are a small module: letting them go must not take a stack as deep.
TEST(TypeRegistry, LetsGoOfLongChains) {
  auto last = type_registry::intern({structure({})});
  const TypeId begin = last->first;
  for (int n = 0; n < 200'000; n++) last = type_registry::intern({structure({{to(heap_of(last)), false}})});
  EXPECT_TRUE(type_registry::type(begin).fields.empty());
  last = nullptr;
}

TEST(TypeRegistry, MayBeUsedFromManyThreads) {
  const auto work = [](unsigned seed) {
    for (unsigned n = 0; n < 3000; n++) {
      const std::size_t parameters = (n * 7 + seed) % 5;
      const auto group = type_registry::intern({function(std::vector<ValueType>(parameters, f32), {f32, i64, f32})});
      const auto user = type_registry::intern({function({to(heap_of(group))})});
      EXPECT_EQ(type_registry::type(group->first).parameters.size(), parameters);
      EXPECT_TRUE(is_subtype(heap_of(group), AbstractHeap::func));
      EXPECT_EQ(type_registry::type(user->first).parameters[0], to(heap_of(group)));
    }
  };
  std::thread other(work, 1);
  work(2);
  other.join();
}

TEST(Subtype, FollowsDeclaredSupertypes) {
  std::vector<DefinedType> chain = {structure({})};
  for (std::uint32_t n = 1; n < 200; n++) chain.push_back(structure({}, HeapType::of_group(n - 1)));
  const auto group = type_registry::intern(chain);
  const auto sibling = type_registry::intern({structure({{i32, false}}, heap_of(group, 77))});
  for (TypeId sub = 0; sub < 200; sub++)
    for (TypeId super = 0; super < 200; super++)
      ASSERT_EQ(is_subtype(group->first + sub, group->first + super), sub >= super) << sub << ' ' << super;
  EXPECT_EQ(type_registry::depth(group->first + 199), 199u);
  EXPECT_TRUE(is_subtype(heap_of(sibling), heap_of(group, 77)));
  EXPECT_TRUE(is_subtype(heap_of(sibling), heap_of(group, 0)));
  EXPECT_FALSE(is_subtype(heap_of(sibling), heap_of(group, 78)));
  EXPECT_FALSE(is_subtype(heap_of(group, 77), heap_of(sibling)));
}

// Core specification, 3.3.3: all pairs of abstract heap types; a row's types are those above it.
TEST(Subtype, KnowsTheAbstractHeapTypes) {
  using enum AbstractHeap;
  const std::map<AbstractHeap, std::set<AbstractHeap>> above = {
      {nofunc, {func}}, {noextern, {extern_}}, {noexn, {exn}},     {eq, {any}},
      {i31, {eq, any}}, {struct_, {eq, any}},  {array, {eq, any}}, {none, {i31, struct_, array, eq, any}}};
  for (unsigned sub = 0; sub < unsigned(count); sub++)
    for (unsigned super = 0; super < unsigned(count); super++) {
      const auto row = above.find(AbstractHeap(sub));
      const bool is = sub == super || (row != above.end() && row->second.contains(AbstractHeap(super)));
      EXPECT_EQ(is_subtype(HeapType(AbstractHeap(sub)), HeapType(AbstractHeap(super))), is) << sub << ' ' << super;
    }
}

TEST(Subtype, PutsDefinedTypesBetweenAbstractOnes) {
  const auto f = type_registry::intern({function({})}), s = type_registry::intern({structure({})});
  EXPECT_TRUE(is_subtype(heap_of(f), AbstractHeap::func));
  EXPECT_TRUE(is_subtype(AbstractHeap::nofunc, heap_of(f)));
  EXPECT_FALSE(is_subtype(heap_of(f), AbstractHeap::any));
  EXPECT_FALSE(is_subtype(AbstractHeap::none, heap_of(f)));
  EXPECT_TRUE(is_subtype(heap_of(s), AbstractHeap::eq));
  EXPECT_TRUE(is_subtype(AbstractHeap::none, heap_of(s)));
  EXPECT_FALSE(is_subtype(heap_of(s), AbstractHeap::array));
  EXPECT_FALSE(is_subtype(AbstractHeap::func, heap_of(f)));
}

TEST(Subtype, MindsNull) {
  const ValueType must = ValueType::reference(AbstractHeap::func, false);
  EXPECT_TRUE(is_subtype(must, funcref));
  EXPECT_FALSE(is_subtype(funcref, must));
  EXPECT_TRUE(is_subtype(bottom, must));
  EXPECT_FALSE(is_subtype(i32, i64));
  EXPECT_FALSE(is_subtype(i32, funcref));
}

TEST(Spelling, IsTheTextFormats) {
  const auto group = type_registry::intern({function({})});
  EXPECT_EQ(spelling(i32), "i32");
  EXPECT_EQ(spelling(externref), "externref");
  EXPECT_EQ(spelling(to(AbstractHeap::nofunc)), "nullfuncref");
  EXPECT_EQ(spelling(ValueType::reference(AbstractHeap::struct_, false)), "(ref struct)");
  EXPECT_EQ(spelling(to(heap_of(group))), "(ref null " + std::to_string(group->first) + ")");
}

}  // namespace
}  // namespace doppel::wasm
