// Memory for code: never writable and executable at one address, bounded, and patched in place.
#include "codegen/code_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace doppel {
namespace {

std::span<const std::byte> bytes_of(const std::vector<std::uint8_t>& code) { return std::as_bytes(std::span(code)); }

/// Generated code has no type for the sanitizer to look at.
[[clang::no_sanitize("function")]] int run(const std::byte* code) {
  return reinterpret_cast<int (*)()>(reinterpret_cast<std::uintptr_t>(code))();
}

TEST(CodeMemory, RunsWhatWasAdded) {
  auto memory = std::move(CodeMemory::create(1 << 20)).value();
  const auto* code = memory->add(bytes_of({0xb8, 42, 0, 0, 0, 0xc3}));  // mov eax, 42; ret
  ASSERT_NE(code, nullptr);
  EXPECT_EQ(run(code), 42);
  EXPECT_TRUE(memory->contains(code));
}

// It has no file's name either: perf looks in /tmp/perf-PID.map only where memory has none.
TEST(CodeMemory, NothingIsWritableAndExecutable) {
  auto memory = std::move(CodeMemory::create(1 << 20)).value();
  std::ifstream maps("/proc/self/maps");
  unsigned found = 0;
  for (std::string line; std::getline(maps, line);) {
    EXPECT_EQ(line.find(" rwx"), std::string::npos) << line;
    found += line.find("/dev/zero") != std::string::npos;  // what shared anonymous memory is called
  }
  EXPECT_EQ(found, 2u);
}

TEST(CodeMemory, IsBoundedAndCanBeEmptied) {
  auto memory = std::move(CodeMemory::create(1 << 16)).value();
  const std::vector<std::uint8_t> code(1000, 0x90);
  unsigned pieces = 0;
  while (memory->add(bytes_of(code))) pieces++;
  EXPECT_EQ(pieces, 65u);  // each begins at a multiple of 16
  memory->truncate(0);
  EXPECT_NE(memory->add(bytes_of(code)), nullptr);
}

TEST(CodeMemory, PatchesAJump) {
  auto memory = std::move(CodeMemory::create(1 << 16)).value();
  // three nops; jmp +0; mov eax, 1; ret; (padding) mov eax, 2; ret
  std::vector<std::uint8_t> code = {0x90, 0x90, 0x90, 0xe9, 0,    0,    0, 0, 0xb8, 1, 0,
                                    0,    0,    0xc3, 0xcc, 0xcc, 0xb8, 2, 0, 0,    0, 0xc3};
  const auto* at = memory->add(bytes_of(code));
  EXPECT_EQ(run(at), 1);
  memory->patch(at + 4, 8);
  EXPECT_EQ(run(at), 2);
}

}  // namespace
}  // namespace doppel
