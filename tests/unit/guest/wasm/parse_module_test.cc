#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/guest/wasm/module_bytes.h"

namespace doppel::wasm {
namespace {

using testing::ElementsAre;

// A module that has to be well formed.
Module parsed(Bytes bytes) {
  auto result = parse(std::move(bytes));
  if (const auto* error = std::get_if<ModuleError>(&result)) {
    ADD_FAILURE() << error->error().message;
    return {};
  }
  return std::move(std::get<Module>(result));
}

ModuleError error_of(Bytes bytes) {
  const auto result = parse(std::move(bytes));
  return std::holds_alternative<ModuleError>(result) ? std::get<ModuleError>(result) : ModuleError{};
}

Bytes slice(const Module& module, ByteRange range) {
  const auto bytes = module.range(range);
  return {bytes.begin(), bytes.end()};
}

const Bytes one_function = section(Section::type, {void_type}) + section(Section::function, {Bytes{0}});
const Bytes one_body = section(Section::code, {empty_body});

TEST(ParseModule, ReadsTypes) {
  const Module module = parsed(
      module_of({section(Section::type, {
                                            {0x60, 2, 0x7f, 0x63, 0x00, 1, 0x7b},  // a function that takes itself
                                            {0x4e, 2, 0x50, 0,    0x5f, 2,    0x78, 1,    0x64, 2,
                                             0,  // two structures, the first names the second
                                             0x4f, 1, 1,    0x5f, 2,    0x78, 1,    0x64, 2,    0},
                                            {0x5e, 0x77, 1},
                                        })}));
  ASSERT_EQ(module.types.size(), 4u);
  const auto type = [&](std::size_t n) -> const DefinedType& { return type_registry::type(module.types[n]); };
  const HeapType first = HeapType::defined(module.types[0]), third = HeapType::defined(module.types[2]);
  EXPECT_THAT(type(0).parameters, ElementsAre(i32, ValueType::reference(first, true)));
  EXPECT_THAT(type(0).results, ElementsAre(v128));
  EXPECT_EQ(type(1).fields[0], (FieldType{ValueKind::i8, true}));
  EXPECT_EQ(type(1).fields[1], (FieldType{ValueType::reference(third, false), false}));
  EXPECT_FALSE(type(1).final);
  EXPECT_TRUE(type(2).final);
  EXPECT_EQ(type(2).super, HeapType::defined(module.types[1]));
  EXPECT_EQ(type(3).form, DefinedType::Form::array);
  EXPECT_EQ(type(3).fields[0], (FieldType{ValueKind::i16, true}));
}

TEST(ParseModule, ReadsImports) {
  const Bytes from = name("host");
  const Module module = parsed(module_of({
      section(Section::type, {void_type}),
      section(Section::import, {from + name("f") + Bytes{0, 0}, from + name("g") + Bytes{3, 0x7e, 1},
                                from + name("t") + Bytes{1, 0x6f, 1, 2, 9}, from + name("m") + Bytes{2, 4, 1},
                                from + name("e") + Bytes{4, 0, 0}, from + name("h") + Bytes{3, 0x7f, 0}}),
  }));
  ASSERT_EQ(module.imports.size(), 6u);
  EXPECT_EQ(module.imports[2].module, "host");
  EXPECT_EQ(module.imports[2].name, "t");
  EXPECT_EQ(module.imports[5].kind, ExternKind::global);
  EXPECT_EQ(module.imports[5].index, 1u);
  EXPECT_EQ(module.imported_globals, 2u);
  EXPECT_EQ(module.functions[0].type, module.types[0]);
  EXPECT_EQ(module.globals[0].type, (GlobalType{i64, true}));
  EXPECT_EQ(module.tables[0].type, (TableType{{.minimum = 2, .maximum = 9}, externref}));
  EXPECT_TRUE(module.memories[0].limits.is64);
  EXPECT_EQ(module.tags[0].type, module.types[0]);
}

TEST(ParseModule, ReadsTablesMemoriesAndGlobals) {
  const Module module = parsed(module_of({
      one_function,
      section(Section::table, {Bytes{0x70, 0, 3}, Bytes{0x40, 0, 0x64, 0x70, 5, 1, 2, 0xd2, 0, 0x0b}}),
      section(Section::memory, {Bytes{8, 1, 0}, Bytes{9, 1, 2, 16}}),
      section(Section::global, {Bytes{0x7f, 1} + i32_zero}),
      one_body,
  }));
  EXPECT_FALSE(module.tables[0].initial);
  EXPECT_EQ(module.tables[1].type.element, ValueType::reference(AbstractHeap::func, false));
  EXPECT_TRUE(module.tables[1].type.limits.is64);
  EXPECT_EQ(slice(module, *module.tables[1].initial), (Bytes{0xd2, 0, 0x0b}));
  EXPECT_TRUE(module.functions[0].referable);
  EXPECT_EQ(module.memories[0].page_shift, 0);
  EXPECT_EQ(module.memories[1], (MemoryType{.limits = {.minimum = 1, .maximum = 2}, .page_shift = 16}));
  EXPECT_EQ(slice(module, module.globals[0].initial), i32_zero);
}

// Core specification, 5.5.12: the eight forms that an element segment has.
TEST(ParseModule, ReadsElementSegments) {
  const Bytes reference = {0xd2, 0, 0x0b};
  const Module module = parsed(module_of({
      one_function,
      section(Section::table, {Bytes{0x70, 0, 9}}),
      section(Section::element, {Bytes{0} + i32_zero + list({{0}, {0}}), Bytes{1, 0} + list({{0}}),
                                 Bytes{2, 0} + i32_zero + Bytes{0} + list({{0}}), Bytes{3, 0} + list({{0}}),
                                 Bytes{4} + i32_zero + list({reference}), Bytes{5, 0x70} + list({reference}),
                                 Bytes{6, 0} + i32_zero + Bytes{0x64, 0x70} + list({reference}),
                                 Bytes{7, 0x6f} + list({{0xd0, 0x6f, 0x0b}})}),
      one_body,
  }));
  using enum SegmentMode;
  const SegmentMode modes[] = {active, passive, active, declarative, active, passive, active, declarative};
  for (std::size_t n = 0; n < 8; n++) {
    const ElementSegment& segment = module.elements[n];
    EXPECT_EQ(segment.mode, modes[n]) << n;
    EXPECT_EQ(segment.by_expression, n >= 4) << n;
    EXPECT_EQ(segment.size(), n == 0 ? 2u : 1u) << n;
    EXPECT_EQ(segment.offset.size(), modes[n] == active ? 3u : 0u) << n;
  }
  EXPECT_EQ(module.elements[0].type, ValueType::reference(AbstractHeap::func, false));
  EXPECT_EQ(module.elements[4].type, funcref);
  EXPECT_EQ(module.elements[7].type, externref);
  EXPECT_EQ(slice(module, module.elements[5].expressions[0]), reference);
}

TEST(ParseModule, LeavesBodiesAndDataInTheBytes) {
  const Module module = parsed(module_of({
      one_function,
      section(Section::memory, {Bytes{0, 1}}),
      section(Section::data_count, leb(2)),
      section(Section::code, {Bytes{4, 0, 1, 1, 0x0b}}),
      section(Section::data, {Bytes{1} + name("kept"), Bytes{2, 0} + i32_zero + name("put")}),
  }));
  EXPECT_EQ(slice(module, module.functions[0].body), (Bytes{0, 1, 1, 0x0b}));
  EXPECT_EQ(slice(module, module.data[0].bytes), (Bytes{'k', 'e', 'p', 't'}));
  EXPECT_EQ(module.data[1].mode, SegmentMode::active);
  EXPECT_EQ(module.data_count, 2u);
  EXPECT_EQ(slice(module, module.code), (Bytes{1, 4, 0, 1, 1, 0x0b}));
}

TEST(ParseModule, FindsExports) {
  const Module module = parsed(module_of({
      one_function,
      section(Section::memory, {Bytes{0, 1}}),
      section(Section::export_, {name("run") + Bytes{0, 0}, name("memory") + Bytes{2, 0}, name("") + Bytes{0, 0}}),
      one_body,
  }));
  EXPECT_EQ(module.find_export("memory"), &module.exports[1]);
  EXPECT_EQ(module.find_export(""), &module.exports[2]);
  EXPECT_EQ(module.find_export("ru"), nullptr);
  EXPECT_TRUE(module.functions[0].referable);
}

TEST(ParseModule, TakesCustomSectionsAnywhere) {
  const Bytes custom = section(Section::custom, name("note") + Bytes{1, 2, 3});
  const Module module = parsed(module_of({custom, one_function, custom, one_body, custom}));
  ASSERT_EQ(module.custom.size(), 3u);
  EXPECT_EQ(module.custom[2].name, "note");
  EXPECT_EQ(slice(module, module.custom[2].bytes), (Bytes{1, 2, 3}));
}

TEST(ParseModule, SaysWhereItIsMalformed) {
  const ModuleError error = error_of(module_of({section(Section::type, {{0x60, 1, 0x01, 0}})}));
  EXPECT_TRUE(error.malformed);
  EXPECT_EQ(error.offset, 13u);
  EXPECT_EQ(error.error().message, "the module is malformed at byte 13: malformed value type");
}

TEST(ParseModule, RefusesWhatIsMalformed) {
  const Bytes types = section(Section::type, {void_type});
  const std::pair<Bytes, const char*> cases[] = {
      {{}, "unexpected end"},
      {{0, 'a', 's', 'M', 1, 0, 0, 0}, "magic header not detected"},
      {{0, 'a', 's', 'm', 2, 0, 0, 0}, "unknown binary version"},
      {module_of({{14, 0}}), "malformed section id"},
      {module_of({{1, 9, 0}}), "length out of bounds"},
      {module_of({types, types}), "unexpected content after last section"},
      {module_of({section(Section::function, leb(0)), types}), "unexpected content after last section"},
      {module_of({section(Section::type, list({void_type}) + Bytes{0})}), "section size mismatch"},
      {module_of({section(Section::type, {{0x61, 0, 0}})}), "malformed type definition"},
      {module_of({section(Section::type, {{0xe0, 0x7f, 0, 0}})}), "integer representation too long"},
      {module_of({section(Section::import, {name("\xff")})}), "malformed UTF-8 encoding"},
      {module_of({section(Section::import, {name("") + name("") + Bytes{5, 0}})}), "malformed import kind"},
      {module_of({section(Section::global, {{0x7f, 2, 0x41, 0, 0x0b}})}), "malformed mutability"},
      {module_of({section(Section::global, {{0x7f, 0, 0x05, 0x0b}})}), "END opcode expected"},
      {module_of({section(Section::global, {{0x7f, 0, 0xff, 0x0b}})}), "illegal opcode ff"},
      {module_of({section(Section::table, {{0x7f, 0, 1}})}), "malformed reference type"},
      {module_of({section(Section::table, {{0x70, 8, 1}})}), "malformed limits flags"},
      {module_of({section(Section::memory, {{8, 1, 64}})}), "invalid custom page size"},
      {module_of({section(Section::element, {{8, 0, 0}})}), "malformed elements segment kind"},
      {module_of({section(Section::data, {{3, 0}})}), "malformed data segment kind"},
      {module_of({section(Section::custom, Bytes{5, 'x'})}), "length out of bounds"},
      {module_of({section(Section::custom, Bytes()), types}), "unexpected end"},
      {module_of({one_function}), "function and code section have inconsistent lengths"},
      {module_of({one_body}), "function and code section have inconsistent lengths"},
      {module_of({section(Section::data_count, leb(1))}), "data count and data section have inconsistent lengths"},
  };
  for (const auto& [bytes, message] : cases) {
    const ModuleError error = error_of(bytes);
    EXPECT_TRUE(error.malformed) << message;
    EXPECT_TRUE(error.message.starts_with(message)) << error.message << ", not " << message;
  }
}

TEST(ParseModule, RefusesTypesThatAreNotThere) {
  const std::pair<Bytes, const char*> cases[] = {
      {module_of({section(Section::function, {Bytes{0}})}), "unknown type 0"},
      {module_of({section(Section::type, {{0x60, 1, 0x63, 1, 0}})}), "unknown type 1"},
      {module_of({section(Section::type, {{0x4f, 1, 0, 0x60, 0, 0}})}), "unknown type"},  // its own supertype
      {module_of({section(Section::memory, {{3, 1, 1}})}), "threads are not supported"},
  };
  for (const auto& [bytes, message] : cases) {
    const ModuleError error = error_of(bytes);
    EXPECT_FALSE(error.malformed) << message;
    EXPECT_TRUE(error.message.starts_with(message)) << error.message;
  }
}

// A few bytes that announce a lot must not make room for it.
TEST(ParseModule, SaysThatABodyIsTooLarge) {
  Bytes content{0};
  content.insert(content.end(), limits::body_bytes, 0x01);
  content.push_back(0x0b);
  const auto error = error_of(module_of({one_function, section(Section::code, {sized(content)})}));
  EXPECT_FALSE(error.malformed);
  EXPECT_THAT(error.message, testing::StartsWith("the body of a function is too large"));
}

TEST(ParseModule, BelievesNoCount) {
  const Bytes huge = {0xff, 0xff, 0xff, 0xff, 0x0f};
  for (const Section id :
       {Section::type, Section::import, Section::function, Section::table, Section::memory, Section::tag,
        Section::global, Section::export_, Section::element, Section::code, Section::data})
    EXPECT_EQ(error_of(module_of({section(id, huge)})).message, "unexpected end of section or function");
  EXPECT_EQ(error_of(module_of({section(Section::type, Bytes{1, 0x60} + huge)})).message,
            "unexpected end of section or function");
  EXPECT_EQ(error_of(module_of({section(Section::data, Bytes{1, 1} + huge)})).message,
            "unexpected end of section or function");
}

TEST(ParseModule, BreaksOffAnywhere) {
  const Bytes whole = module_of({
      one_function,
      section(Section::table, {Bytes{0x40, 0, 0x70, 0, 3, 0xd0, 0x70, 0x0b}}),
      section(Section::global, {Bytes{0x7b, 0, 0xfd, 0x0c} + Bytes(16, 1) + Bytes{0x0b}}),
      section(Section::export_, {name("run") + Bytes{0, 0}}),
      section(Section::element, {Bytes{0} + i32_zero + list({{0}})}),
      one_body,
  });
  parsed(whole);
  for (std::size_t size = 0; size < whole.size(); size++) {
    const auto result = parse(Bytes(whole.begin(), whole.begin() + std::ptrdiff_t(size)));
    const bool sections_end = size == 8 || size == 8 + 6;  // behind the header, behind the types
    EXPECT_EQ(std::holds_alternative<Module>(result), sections_end) << size;
  }
}

}  // namespace
}  // namespace doppel::wasm
