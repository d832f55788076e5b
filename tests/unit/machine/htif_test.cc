#include "machine/htif.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "machine/memory_map.h"

namespace doppel {
namespace {

constexpr std::uint64_t tohost = dram_base + 0x1000, fromhost = dram_base + 0x1040, words = dram_base + 0x2000;

class HtifTest : public testing::Test {
 protected:
  void set(std::uint64_t address, std::uint64_t value) { ASSERT_TRUE(memory_->write(address, &value, sizeof value)); }
  std::uint64_t get(std::uint64_t address) {
    std::uint64_t value = 0;
    EXPECT_TRUE(memory_->read(address, &value, sizeof value));
    return value;
  }
  std::optional<std::uint64_t> send(std::uint64_t command) {
    set(tohost, command);
    return htif_.poll(*memory_);
  }
  std::optional<std::uint64_t> call(std::uint64_t number, std::uint64_t a = 0, std::uint64_t b = 0,
                                    std::uint64_t c = 0) {
    set(words, number), set(words + 8, a), set(words + 16, b), set(words + 24, c);
    return send(words);
  }
  Htif make() {
    return Htif({.tohost = tohost, .fromhost = fromhost, .begin_signature = {}, .end_signature = {}},
                [this](std::span<const std::byte> text) {
                  console_.append(reinterpret_cast<const char*>(text.data()), text.size());
                });
  }
  std::unique_ptr<GuestMemory> memory_ = std::move(GuestMemory::create(dram_base, 4 << 20)).value();
  std::string console_;
  Htif htif_ = make();
};

// How riscv-tests pass (1) and fail (number of the test << 1 | 1).
TEST_F(HtifTest, EndsWithTheCodeThatTheProgramWrites) {
  EXPECT_EQ(htif_.poll(*memory_), std::nullopt);
  EXPECT_EQ(send(1), 0u);
  EXPECT_EQ(get(tohost), 0u);
  EXPECT_EQ(send(7 << 1 | 1), 7u);
  EXPECT_EQ(call(93, 42), 42u);
}

// How the benchmarks print: they wait for fromhost, take it and read the result.
TEST_F(HtifTest, WritesTextAndAnswers) {
  const std::string text(10000, 'x');
  ASSERT_TRUE(memory_->write(dram_base + 0x8000, text.data(), text.size()));
  EXPECT_EQ(call(64, 1, dram_base + 0x8000, text.size()), std::nullopt);
  EXPECT_EQ(console_, text);
  EXPECT_EQ(get(words), text.size());
  EXPECT_EQ(get(fromhost), 1u);
  EXPECT_EQ(get(tohost), 0u);
}

TEST_F(HtifTest, WaitsUntilTheProgramHasTakenAnAnswer) {
  set(fromhost, 99);
  EXPECT_EQ(call(64, 1, words, 0), std::nullopt);
  EXPECT_EQ(get(fromhost), 99u);
  set(fromhost, 0);
  htif_.poll(*memory_);
  EXPECT_EQ(get(fromhost), 1u);
}

TEST_F(HtifTest, HasAConsoleOfBytes) {
  EXPECT_EQ(send(1ULL << 56 | 1ULL << 48 | 'A'), std::nullopt);
  EXPECT_EQ(console_, "A");
  EXPECT_EQ(get(fromhost), 0u);
  send(1ULL << 56);
  EXPECT_EQ(get(fromhost), 0u);
  htif_.type(std::byte{'k'});
  htif_.poll(*memory_);
  EXPECT_EQ(get(fromhost), 1ULL << 56 | 0x100 | 'k');
}

TEST_F(HtifTest, GivesErrorsForWhatIsHostile) {
  call(64, 1, 0, 10);
  EXPECT_EQ(static_cast<std::int64_t>(get(words)), -14);  // EFAULT
  call(64, 1, dram_base, ~0ULL);
  EXPECT_EQ(static_cast<std::int64_t>(get(words)), -14);
  call(64, 7, dram_base, 1);
  EXPECT_EQ(static_cast<std::int64_t>(get(words)), -9);  // EBADF
  call(57, 1);
  EXPECT_EQ(static_cast<std::int64_t>(get(words)), -38);  // ENOSYS
  EXPECT_EQ(console_, "");
  EXPECT_EQ(send(0x1000), std::nullopt);              // words that are not in memory
  EXPECT_EQ(send(0x55ULL << 56 | 3), std::nullopt);   // no such device
  for (int i = 0; i < 100000; i++) send(1ULL << 56);  // nobody types
  Writer out;
  htif_.save(out);
  EXPECT_LT(out.data().size(), 1000u);
}

TEST_F(HtifTest, ComesBackFromItsSavedState) {
  set(fromhost, 5);
  call(64, 1, words, 0);
  send(1ULL << 56);
  send(1ULL << 56);
  htif_.type(std::byte{'a'});
  Writer out;
  htif_.save(out);
  auto copy = make();
  Reader in(out.data());
  ASSERT_TRUE(copy.restore(in));
  EXPECT_EQ(in.left(), 0u);
  Writer again;
  copy.save(again);
  EXPECT_EQ(out.data(), again.data());
  for (std::uint64_t answer : {1ULL, 1ULL << 56 | 0x100 | 'a'}) {
    set(fromhost, 0);
    copy.poll(*memory_);
    EXPECT_EQ(get(fromhost), answer);
  }
  for (std::size_t size = 0; size < out.data().size(); size++) {
    Reader cut(std::span(out.data()).first(size));
    EXPECT_FALSE(make().restore(cut)) << size;
  }
}

// The reference signatures of the public suites are compared as text.
TEST_F(HtifTest, WritesTheSignatureAsWords) {
  set(dram_base, 0x11223344'deadbeef);
  set(dram_base + 8, 0x00000000'0000abcd);
  HtifSymbols symbols{.tohost = {}, .fromhost = {}, .begin_signature = dram_base, .end_signature = dram_base + 10};
  const auto text = signature_text(*memory_, symbols);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "deadbeef\n11223344\n0000abcd\n");
  const auto path = testing::TempDir() + "/htif_test_signature_" + std::to_string(getpid());
  ASSERT_TRUE(write_signature(*memory_, symbols, path));
  std::stringstream file;
  file << std::ifstream(path).rdbuf();
  EXPECT_EQ(file.str(), *text);
  std::remove(path.c_str());
}

TEST_F(HtifTest, SaysWhyThereIsNoSignature) {
  EXPECT_EQ(signature_text(*memory_, {}).message(),
            "the program has no signature: it needs the symbols begin_signature and end_signature");
  HtifSymbols symbols{.tohost = {}, .fromhost = {}, .begin_signature = dram_base + 8, .end_signature = dram_base};
  EXPECT_EQ(signature_text(*memory_, symbols).message(),
            "the signature from 0x80000008 to 0x80000000 does not lie in memory");
  symbols.end_signature = ~0ULL;
  EXPECT_FALSE(signature_text(*memory_, symbols));
  symbols.end_signature = dram_base + 16;
  EXPECT_EQ(write_signature(*memory_, symbols, "/nonexistent/signature").message(),
            "cannot write the signature to /nonexistent/signature: No such file or directory");
}

}  // namespace
}  // namespace doppel
