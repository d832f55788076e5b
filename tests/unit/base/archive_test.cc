// Saved states: what is written comes back, and a hostile file gives zeros and a refusal, never a read past its end.
#include "base/archive.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

struct Record {
  std::uint32_t a = 0, b = 0;
  std::uint64_t c = 0;
  bool operator==(const Record&) const = default;
};

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int v : values) out.push_back(std::byte(v));
  return out;
}

TEST(Archive, GivesBackWhatWasPut) {
  Writer out;
  const Record record{1, 2, 1ULL << 60};
  out.put(record);
  out.put<std::uint8_t>(7);
  out.blob(bytes({1, 2, 3}));
  out.blob({});
  out.bytes(bytes({9}));
  const auto saved = out.take();
  Reader in(saved);
  EXPECT_EQ(in.get<Record>(), record);
  EXPECT_EQ(in.get<std::uint8_t>(), 7);
  EXPECT_EQ(in.blob(3), bytes({1, 2, 3}));
  EXPECT_TRUE(in.blob(0).empty());
  EXPECT_EQ(in.left(), 1u);
  EXPECT_EQ(in.get<std::byte>(), std::byte{9});
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.left(), 0u);
}

// Snapshots are read on other hosts.
TEST(Archive, IsLittleEndian) {
  Writer out;
  out.put<std::uint32_t>(0x01020304);
  EXPECT_EQ(out.data(), bytes({4, 3, 2, 1}));
  out.blob(bytes({0xaa}));
  EXPECT_EQ(out.data(), bytes({4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0xaa}));
}

TEST(Archive, ReadsZerosBehindTheEnd) {
  const auto short_file = bytes({0xff, 0xff, 0xff});
  Reader in(short_file);
  EXPECT_EQ(in.get<std::uint32_t>(), 0u);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.left(), 0u);
  EXPECT_EQ(in.get<std::uint8_t>(), 0u);  // not what is left of the file
  EXPECT_FALSE(in.ok());
}

TEST(Archive, AReaderOfNothingIsSound) {
  Reader in({});
  EXPECT_TRUE(in.ok());
  in.bytes({});
  EXPECT_TRUE(in.ok());
  EXPECT_EQ(in.get<std::uint64_t>(), 0u);
  EXPECT_FALSE(in.ok());
}

// A length from a file must not become an allocation.
TEST(Archive, RefusesBlobsThatAreLongerThanAllowedOrThanTheFile) {
  for (const std::uint64_t length : {3ULL, 1ULL << 40, ~0ULL}) {
    Writer out;
    out.put(length);
    out.bytes(bytes({1, 2}));
    Reader in(out.data());
    EXPECT_TRUE(in.blob(~std::size_t{0}).empty());
    EXPECT_FALSE(in.ok());
  }
  Writer out;
  out.blob(bytes({1, 2}));
  Reader in(out.data());
  EXPECT_TRUE(in.blob(1).empty());
  EXPECT_FALSE(in.ok());
}

}  // namespace
}  // namespace doppel
