#include "guest/wasm/module_names.h"

#include <gtest/gtest.h>

#include "unit/guest/wasm/module_bytes.h"

namespace doppel::wasm {
namespace {

Bytes part(NameKind kind, const Bytes& content) { return Bytes{std::uint8_t(kind)} + sized(content); }
Bytes named(std::uint32_t index, std::string_view text) { return leb(index) + name(text); }

const Bytes start = section(Section::type, {void_type}) + section(Section::function, {Bytes{0}, Bytes{0}});
const Bytes exports = section(Section::export_, {name("z") + Bytes{0, 1}, name("run") + Bytes{0, 1}});
const Bytes code = section(Section::code, {empty_body, empty_body});

ModuleNames names_of(const Bytes& content) {
  auto parsed = parse(module_of({start, exports, code, section(Section::custom, name("name") + content)}));
  return ModuleNames(std::make_shared<const Module>(std::move(std::get<Module>(parsed))));
}

TEST(ModuleNames, AreThoseOfTheSection) {
  const ModuleNames names = names_of(
      part(NameKind::module, name("demo")) + part(NameKind::function, list({named(0, "main"), named(1, "helper")})) +
      part(NameKind::local, list({leb(1) + list({named(0, "count"), named(2, "sum")})})) +
      part(NameKind::global, list({named(7, "stack")})));
  EXPECT_EQ(names.module(), "demo");
  EXPECT_EQ(names.find(NameKind::function, 1), "helper");
  EXPECT_EQ(names.find(NameKind::function, 2), "");
  EXPECT_EQ(names.find(NameKind::local, 1, 2), "sum");
  EXPECT_EQ(names.find(NameKind::local, 1, 1), "");
  EXPECT_EQ(names.find(NameKind::local, 0, 0), "");
  EXPECT_EQ(names.find(NameKind::global, 7), "stack");
  EXPECT_EQ(names.find(NameKind::table, 7), "");
}

// A stripped program's backtrace still says what was called from outside.
TEST(ModuleNames, AreThoseOfExportsWithoutASection) {
  const ModuleNames names = names_of({});
  EXPECT_EQ(names.find(NameKind::function, 1), "run");
  EXPECT_EQ(names.find(NameKind::function, 0), "");
  const ModuleNames some = names_of(part(NameKind::function, list({named(0, "main")})));
  EXPECT_EQ(some.find(NameKind::function, 0), "main");
  EXPECT_EQ(some.find(NameKind::function, 1), "run") << "a section that leaves it out";
}

// The section is for people only: nothing that is wrong in it may keep a program from running.
TEST(ModuleNames, EndWhereTheSectionIsMalformed) {
  const Bytes functions = part(NameKind::function, list({named(0, "main")}));
  EXPECT_EQ(names_of(functions + Bytes{2, 99, 1}).find(NameKind::function, 0), "main");
  EXPECT_EQ(names_of(functions + part(NameKind::module, name("late"))).module(), "");
  EXPECT_EQ(names_of(part(NameKind::function, leb(0xffff'ffff) + named(0, "main"))).find(NameKind::function, 0),
            "main");
  EXPECT_EQ(names_of(part(NameKind::function, list({named(0, "\xff")}))).find(NameKind::function, 0), "");
  EXPECT_EQ(names_of(part(NameKind(99), {1, 2})).find(NameKind::function, 1), "run");
}

TEST(ModuleNames, NeedNoOrder) {
  const ModuleNames names = names_of(part(NameKind::type, list({named(9, "b"), named(2, "a")})));
  EXPECT_EQ(names.find(NameKind::type, 2), "a");
  EXPECT_EQ(names.find(NameKind::type, 9), "b");
}

}  // namespace
}  // namespace doppel::wasm
