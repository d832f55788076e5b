#include <gtest/gtest.h>

#include "unit/guest/wasm/module_bytes.h"

namespace doppel::wasm {
namespace {

using S = Section;

const Bytes function_section = section(S::function, {Bytes{0}}), code_section = section(S::code, {empty_body});
const Bytes table_section = section(S::table, {Bytes{0x70, 0, 3}}), memory_section = section(S::memory, {Bytes{0, 1}});

// A module with a function of type `type`, and what stands between it and its code.
Bytes around(const Bytes& sections, const Bytes& type = void_type) {
  return module_of({section(S::type, {type}), function_section, sections, code_section});
}

struct Case {
  const char* message;  // how the error begins; empty: it is valid
  Bytes module;
};

void check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const std::string got = fault(c.module);
    const std::string want = *c.message ? std::string("invalid: ") + c.message : "";
    EXPECT_TRUE(*c.message ? got.starts_with(want) : got.empty()) << got << ", not " << want;
  }
}

TEST(ValidateModule, ChecksLimits) {
  const auto memory = [](const Bytes& type) { return module_of({section(S::memory, {type})}); };
  const auto table = [](const Bytes& limits) { return module_of({section(S::table, {Bytes{0x70} + limits})}); };
  check({
      {"", memory(Bytes{1} + leb(65536) + leb(65536))},
      {"memory size must be at most 65536 pages (4GiB)", memory(Bytes{0} + leb(65537))},
      {"memory size must be at most 65536 pages (4GiB)", memory(Bytes{1, 0} + leb(65537))},
      {"size minimum must not be greater than maximum", memory({1, 2, 1})},
      {"", memory(Bytes{4} + leb(1ULL << 48))},
      {"memory size must be at most", memory(Bytes{4} + leb((1ULL << 48) + 1))},
      {"", memory(Bytes{8} + leb(0xffff'ffff) + Bytes{0})},
      {"memory size must be at most", memory(Bytes{8} + leb(1ULL << 32) + Bytes{0})},
      {"", memory(Bytes{12} + leb(~0ULL) + Bytes{0})},
      {"invalid custom page size", memory({8, 1, 12})},
      {"", table(Bytes{0} + leb(0xffff'ffff))},
      {"table size must be at most 2^32-1", table(Bytes{0} + leb(1ULL << 32))},
      {"", table(Bytes{4} + leb(~0ULL))},
      {"size minimum must not be greater than maximum", table({1, 2, 1})},
  });
}

TEST(ValidateModule, ChecksSubtypes) {
  const auto pair = [](const Bytes& super, const Bytes& sub) { return module_of({section(S::type, {super, sub})}); };
  const Bytes open = {0x50, 0}, below = {0x4f, 1, 0};
  check({
      {"", pair(open + Bytes{0x5f, 1, 0x6e, 0}, below + Bytes{0x5f, 2, 0x6d, 0, 0x7f, 1})},
      {"sub type 1 does not match", pair(open + Bytes{0x5f, 1, 0x6d, 0}, below + Bytes{0x5f, 1, 0x6e, 0})},
      {"sub type 1 does not match", pair(open + Bytes{0x5f, 1, 0x6e, 1}, below + Bytes{0x5f, 1, 0x6d, 1})},
      {"sub type 1 does not match", pair(open + Bytes{0x5f, 1, 0x7f, 0}, below + Bytes{0x5f, 0})},
      {"sub type 1 does not match", pair(open + Bytes{0x5f, 1, 0x78, 0}, below + Bytes{0x5e, 0x78, 0})},
      {"", pair(open + Bytes{0x60, 1, 0x6d, 1, 0x6e}, below + Bytes{0x60, 1, 0x6e, 1, 0x6d})},
      {"sub type 1 does not match", pair(open + Bytes{0x60, 1, 0x6e, 0}, below + Bytes{0x60, 1, 0x6d, 0})},
      {"sub type 1 does not match", pair(open + Bytes{0x60, 0, 1, 0x6d}, below + Bytes{0x60, 0, 1, 0x6e})},
      {"sub type 1 has a final supertype", pair(void_type, below + void_type)},
  });
}

// As engines of the web do: what asks for the types above one need not mind how many there are.
TEST(ValidateModule, LimitsTheDepthOfSubtypes) {
  const auto chain = [](std::uint32_t supertypes) {
    Bytes types = leb(supertypes + 1) + Bytes{0x50, 0} + void_type;
    for (std::uint32_t n = 0; n < supertypes; n++) types = types + Bytes{0x50, 1} + leb(n) + void_type;
    return module_of({section(S::type, types)});
  };
  EXPECT_EQ(fault(chain(63)), "");
  EXPECT_EQ(fault(chain(64)), "invalid: sub type 64 has more than 63 supertypes");
}

TEST(ValidateModule, ChecksFunctionsAndTags) {
  const Bytes array = {0x5e, 0x7f, 0};
  check({
      {"non-function type", around({}, array)},
      {"non-function type", module_of({section(S::type, {array}), section(S::tag, {Bytes{0, 0}})})},
      {"non-empty tag result type",
       module_of({section(S::type, {{0x60, 0, 1, 0x7f}}), section(S::tag, {Bytes{0, 0}})})},
  });
}

TEST(ValidateModule, ChecksExportsAndStart) {
  const auto exported = [](std::uint8_t kind) { return around(section(S::export_, {name("it") + Bytes{kind, 1}})); };
  check({
      {"unknown function 1", exported(0)},
      {"unknown table 1", exported(1)},
      {"unknown memory 1", exported(2)},
      {"unknown global 1", exported(3)},
      {"unknown tag 1", exported(4)},
      {"duplicate export name \"a\"",
       around(section(S::export_, {name("a") + Bytes{0, 0}, name("b") + Bytes{0, 0}, name("a") + Bytes{0, 0}}))},
      {"", around(section(S::start, leb(0)))},
      {"unknown function 1", around(section(S::start, leb(1)))},
      {"start function", around(section(S::start, leb(0)), {0x60, 1, 0x7f, 0})},
  });
}

TEST(ValidateModule, ChecksConstantExpressions) {
  const Bytes imports =
      section(S::import, {name("") + name("") + Bytes{3, 0x7f, 0}, name("") + name("") + Bytes{3, 0x7f, 1}});
  const auto global = [&](const Bytes& type, const Bytes& code) {
    const Bytes second = {0x7f, 0, 0x41, 0, 0x0b};
    return module_of({section(S::type, {void_type}), imports, function_section,
                      section(S::global, {type + Bytes{0} + code + Bytes{0x0b}, second}), code_section});
  };
  check({
      {"", global({0x7f}, {0x41, 1, 0x41, 2, 0x6a, 0x23, 0, 0x6c})},
      {"", global({0x7e}, {0x42, 1, 0x42, 2, 0x7d})},
      {"", global({0x7b}, Bytes{0xfd, 0x0c} + Bytes(16, 0))},
      {"", global({0x63, 0}, {0xd0, 0x73})},
      {"", global({0x64, 0}, {0xd2, 0})},
      {"", global({0x70}, {0xd2, 0})},
      {"type mismatch", global({0x6f}, {0xd2, 0})},
      {"type mismatch", global({0x64, 0x70}, {0xd0, 0x70})},
      {"type mismatch", global({0x7f}, {})},
      {"type mismatch", global({0x7f}, {0x41, 0, 0x41, 0})},
      {"type mismatch", global({0x7f}, {0x42, 0})},
      {"type mismatch", global({0x7f}, {0x41, 0, 0x6a})},
      {"unknown global 2", global({0x7f}, {0x23, 2})},
      {"unknown global 3", global({0x7f}, {0x23, 3})},
      {"unknown function 1", global({0x70}, {0xd2, 1})},
      {"unknown type 1", global({0x63, 0}, {0xd0, 1})},
      {"constant expression required", global({0x7f}, {0x23, 1})},
      {"constant expression required", global({0x7f}, {0x41, 0, 0x67})},
      {"constant expression required", global({0x7f}, {0x02, 0x40, 0x0b, 0x41, 0})},
      {"struct.new needs garbage collection, which is not supported", global({0x6e}, {0xfb, 0, 0})},
  });
}

TEST(ValidateModule, ChecksTables) {
  const Bytes nonnull = {0x64, 0x70};
  check({
      {"type mismatch", module_of({section(S::table, {nonnull + Bytes{0, 0}})})},
      {"", around(section(S::table, {Bytes{0x40, 0} + nonnull + Bytes{0, 1, 0xd2, 0, 0x0b}}))},
      {"type mismatch", around(section(S::table, {Bytes{0x40, 0} + nonnull + Bytes{0, 1, 0xd0, 0x70, 0x0b}}))},
      {"unknown global 0",  // the module's own come later
       around(section(S::table, {Bytes{0x40, 0, 0x70, 0, 1, 0x23, 0, 0x0b}}) +
              section(S::global, {Bytes{0x70, 0, 0xd0, 0x70, 0x0b}}))},
      {"", module_of({section(S::import, {name("") + name("") + Bytes{1} + nonnull + Bytes{0, 1}})})},
  });
}

TEST(ValidateModule, ChecksSegments) {
  const auto element = [](const Bytes& segment) { return around(table_section + section(S::element, {segment})); };
  const auto data = [](const Bytes& segment) { return module_of({memory_section, section(S::data, {segment})}); };
  check({
      {"", element(Bytes{0} + i32_zero + Bytes{1, 0})},
      {"unknown table 0", around(section(S::element, {Bytes{0} + i32_zero + Bytes{0}}))},
      {"unknown table 1", element(Bytes{2, 1} + i32_zero + Bytes{0, 0})},
      {"unknown function 7", element(Bytes{1, 0, 1, 7})},
      {"type mismatch", element(Bytes{0} + i64_zero + Bytes{0})},
      {"type mismatch", element(Bytes{6, 0} + i32_zero + Bytes{0x6f, 0})},
      {"type mismatch", element({5, 0x6f, 1, 0xd2, 0, 0x0b})},
      {"", data(Bytes{0} + i32_zero + Bytes{0})},
      {"unknown memory 1", data(Bytes{2, 1} + i32_zero + Bytes{0})},
      {"type mismatch", data(Bytes{0} + i64_zero + Bytes{0})},
      {"constant expression required", data({0, 0x01, 0x41, 0, 0x0b, 0})},
  });
}

}  // namespace
}  // namespace doppel::wasm
