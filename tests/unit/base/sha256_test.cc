#include "base/sha256.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace doppel {
namespace {

std::string hexadecimal(const Sha256& hash) {
  std::string out;
  for (const auto byte : hash) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", unsigned(byte));
    out += two;
  }
  return out;
}

// FIPS 180-4's examples: with another function no file would be recognized by another build.
TEST(Sha256, IsTheStandards) {
  const auto of = [](std::initializer_list<std::span<const std::byte>> parts) { return hexadecimal(sha256(parts)); };
  const std::string abc = "abc";
  const auto bytes = std::as_bytes(std::span(abc));
  EXPECT_EQ(of({bytes}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(of({bytes.first(1), {}, bytes.subspan(1)}), of({bytes}));
  EXPECT_EQ(of({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

}  // namespace
}  // namespace doppel
