#include "engine/code_identity.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace doppel {
namespace {

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// What a generator was set up with decides what its code may be used for.
TEST(CodeIdentity, DependsOnTheParameters) {
  EXPECT_EQ(code_identity(bytes("layout")), code_identity(bytes("layout")));
  EXPECT_NE(code_identity(bytes("layout")), code_identity(bytes("Layout")));
  EXPECT_NE(code_identity(bytes("layout")), code_identity({}));
}

std::string identity_text() {
  std::string out;
  for (const auto byte : code_identity({})) out += std::to_string(unsigned(byte)) + " ";
  return out;
}

// Addresses are others in every process.
TEST(CodeIdentity, IsTheSameInTheNextProcess) {
  if (std::getenv("DOPPEL_PRINT_IDENTITY")) {
    std::printf("identity %s\n", identity_text().c_str());
    return;
  }
  setenv("DOPPEL_PRINT_IDENTITY", "1", 1);
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto command =
      "'" + self + "' --gtest_filter=CodeIdentity.IsTheSame* | grep -c '^identity " + identity_text() + "$' >/dev/null";
  EXPECT_EQ(std::system(command.c_str()), 0);
  unsetenv("DOPPEL_PRINT_IDENTITY");
}

}  // namespace
}  // namespace doppel
