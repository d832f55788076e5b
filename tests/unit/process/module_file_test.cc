#include "process/module_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <thread>

#include "unit/process/program_file.h"

namespace doppel {
namespace {

using testing::HasSubstr;

const std::string empty_module("\0asm\1\0\0\0", 8);

std::string refusal(const std::string& path) {
  const auto module = load_module(path);
  return module ? "" : module.message();
}

TEST(ModuleFile, HasOneOfTwoFormats) {
  const TestFolder folder;
  const auto binary = load_module(folder.file("a.wasm", empty_module));
  ASSERT_TRUE(binary) << binary.message();
  const auto text = load_module(folder.file("b.wasm", R"(;; whatever its name is
    (module (func (export "f"))))"));
  ASSERT_TRUE(text) << text.message();
  EXPECT_NE((*text)->find_export("f"), nullptr);
}

TEST(ModuleFile, ErrorsSayWhere) {
  const TestFolder folder;
  EXPECT_THAT(refusal(folder.path("missing.wasm")), HasSubstr("missing.wasm: No such file"));
  EXPECT_THAT(refusal(folder.path("")), HasSubstr("is a folder"));
  EXPECT_THAT(refusal(folder.file("empty", "")), HasSubstr("no WebAssembly module"));
  EXPECT_THAT(refusal(folder.file("word", "hello")), HasSubstr("no WebAssembly module"));
  EXPECT_THAT(refusal(folder.file("cut.wasm", empty_module + "\1")),
              HasSubstr("cut.wasm: the module is malformed at byte 9"));
  EXPECT_THAT(refusal(folder.file("a.wat", "(module\n  (fnuc))")), HasSubstr("a.wat:2:"));
  EXPECT_THAT(refusal(folder.file("b.wat", "(module\n\n (func (result i32)\n   nop))")), HasSubstr("b.wat:4:"));
}

TEST(ModuleFile, ThatIsLargerThanAModuleIsNotRead) {
  const TestFolder folder;
  const auto path = folder.file("large.wasm", empty_module);
  // Sparse: as much as no host has memory.
  ASSERT_EQ(truncate(path.c_str(), 1LL << 43), 0);
  EXPECT_THAT(refusal(path), HasSubstr("larger than a module may be"));
}

TEST(ModuleFile, MayBeAPipe) {
  const TestFolder folder;
  const auto path = folder.path("pipe.wasm");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(path, std::ios::binary) << empty_module; });
  const auto module = load_module(path);
  writer.join();
  EXPECT_TRUE(module) << module.message();
}

TEST(ModuleFile, LargeOnesAreValidatedWhenTheirFunctionsAreCalled) {
  const TestFolder folder;
  std::string nops;
  for (unsigned n = 0; n <= eagerly_validated_bytes; n++) nops += "nop ";
  const auto small = folder.file("small.wat", "(module (func i32.add drop))");
  const auto large = folder.file("large.wat", "(module (func i32.add drop) (func " + nops + "))");
  EXPECT_THAT(refusal(small), HasSubstr("type mismatch"));
  EXPECT_EQ(refusal(large), "");
  EXPECT_FALSE(load_valid_module(large));
}

TEST(ModuleFile, IsKnownByItsNameOrFirstBytes) {
  const TestFolder folder;
  EXPECT_TRUE(names_module("missing.wasm"));
  EXPECT_TRUE(names_module("missing.wat"));
  EXPECT_TRUE(names_module(folder.file("program", empty_module)));
  EXPECT_FALSE(names_module(folder.file("kernel",
                                        "\x7f"
                                        "ELF")));
  EXPECT_FALSE(names_module(folder.file("short", "\0as")));
  EXPECT_FALSE(names_module("debian"));
  const auto pipe = folder.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_FALSE(names_module(pipe)) << "and it does not wait for a writer";
}

}  // namespace
}  // namespace doppel
