#include "guest/wasm/byte_reader.h"

#include <gtest/gtest.h>

#include "unit/guest/wasm/module_bytes.h"

namespace doppel::wasm {
namespace {

ByteReader reader(const Bytes& bytes) { return {bytes.data(), 0, std::uint32_t(bytes.size())}; }

// What a number is read as, or why it is not.
template <typename Read>
std::string read(const Bytes& bytes, Read number) {
  ByteReader in = reader(bytes);
  const auto value = (in.*number)();
  if (!in.failed()) return in.at_end() ? std::to_string(value) : "bytes are left";
  EXPECT_EQ(value, 0);
  return in.message();
}

constexpr const char* too_long = "integer representation too long";
constexpr const char* too_large = "integer too large";
constexpr const char* no_more = "unexpected end of section or function";

// Compilers pad numbers that linkers fill in later: up to the bytes that the largest takes, but no more.
TEST(ByteReader, ReadsUnsignedNumbers) {
  const std::pair<Bytes, std::string> cases[] = {
      {{0x00}, "0"},
      {{0x7f}, "127"},
      {{0x80, 0x01}, "128"},
      {{0x82, 0x80, 0x80, 0x80, 0x00}, "2"},
      {{0xff, 0xff, 0xff, 0xff, 0x0f}, "4294967295"},
      {{0xff, 0xff, 0xff, 0xff, 0x1f}, too_large},
      {{0x82, 0x80, 0x80, 0x80, 0x80, 0x00}, too_long},
      {{0x82, 0x80, 0x80, 0x80, 0x70}, too_large},
      {{0x80}, no_more},
      {{}, no_more},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(read(bytes, &ByteReader::u32), text);
  EXPECT_EQ(read({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, &ByteReader::u64),
            "18446744073709551615");
  EXPECT_EQ(read({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02}, &ByteReader::u64), too_large);
  EXPECT_EQ(read({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, &ByteReader::u64), too_long);
}

TEST(ByteReader, ReadsSignedNumbers) {
  const std::pair<Bytes, std::string> cases[] = {
      {{0x3f}, "63"},
      {{0x40}, "-64"},
      {{0x7f}, "-1"},
      {{0x80, 0x7f}, "-128"},
      {{0xff, 0xff, 0xff, 0xff, 0x07}, "2147483647"},
      {{0x80, 0x80, 0x80, 0x80, 0x78}, "-2147483648"},
      {{0x80, 0x80, 0x80, 0x80, 0x08}, too_large},
      {{0xff, 0xff, 0xff, 0xff, 0x77}, too_large},
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, too_long},
      {{0xff}, no_more},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(read(bytes, &ByteReader::s32), text);
  EXPECT_EQ(read({0xff, 0xff, 0xff, 0xff, 0x0f}, &ByteReader::s33), "4294967295");
  EXPECT_EQ(read({0x80, 0x80, 0x80, 0x80, 0x70}, &ByteReader::s33), "-4294967296");
  EXPECT_EQ(read({0xff, 0xff, 0xff, 0xff, 0x1f}, &ByteReader::s33), too_large);
  const Bytes nines(9, 0xff), zeros(9, 0x80);
  EXPECT_EQ(read(nines + Bytes{0x00}, &ByteReader::s64), "9223372036854775807");
  EXPECT_EQ(read(zeros + Bytes{0x7f}, &ByteReader::s64), "-9223372036854775808");
  EXPECT_EQ(read(zeros + Bytes{0x01}, &ByteReader::s64), too_large);
}

TEST(ByteReader, ReadsFixedNumbers) {
  const Bytes bytes = {0, 0, 0x80, 0x3f, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  ByteReader in = reader(bytes);
  EXPECT_EQ(in.fixed32(), 0x3f800000u);
  EXPECT_EQ(in.fixed64(), 0x0807060504030201u);
  EXPECT_EQ(in.fixed32(), 0u);
  EXPECT_EQ(in.message(), no_more);
}

// Callers look for a failure only at their end: until then nothing may go on, nor hide what was wrong first.
TEST(ByteReader, KeepsTheFirstFailure) {
  const Bytes bytes = {1, 0xff, 0xff, 0xff, 0xff, 0x7f, 5, 6};
  ByteReader in = reader(bytes);
  EXPECT_EQ(in.u32(), 1u);
  EXPECT_EQ(in.u32(), 0u);
  EXPECT_TRUE(in.failed());
  EXPECT_TRUE(in.malformed());
  EXPECT_TRUE(in.at_end());
  EXPECT_EQ(in.byte(), 0);
  EXPECT_EQ(in.u64(), 0u);
  EXPECT_EQ(in.skip(1), nullptr);
  EXPECT_EQ(in.name(), "");
  in.refuse("something else");
  EXPECT_EQ(in.message(), too_large);
  EXPECT_EQ(in.failure_offset(), 5u);
  EXPECT_TRUE(in.malformed());
}

TEST(ByteReader, TellsWhatIsRefusedFromWhatIsMalformed) {
  const Bytes bytes = {1};
  ByteReader in = reader(bytes);
  in.refuse("unknown type 1");
  EXPECT_TRUE(in.failed());
  EXPECT_FALSE(in.malformed());
}

TEST(ByteReader, ReadsNames) {
  const Bytes bytes = name("grün") + Bytes{9, 'x'};
  ByteReader in = reader(bytes);
  EXPECT_EQ(in.name(), "grün");
  EXPECT_EQ(in.name(), "");
  EXPECT_EQ(in.message(), "length out of bounds");
}

TEST(ByteReader, KnowsUtf8) {
  for (const char* text : {"", "a\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(text)) << text;
  for (const char* text : {"\x80", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xe0\x9f\xbf", "\xe1\x80", "\xed\xa0\x80",
                           "\xf0\x8f\xbf\xbf", "\xf1\x80\x80\xc0", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"})
    EXPECT_FALSE(is_utf8(text)) << text;
}

}  // namespace
}  // namespace doppel::wasm
