// Passes as text before and after: what a path executes again and again must not say the same thing twice.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "ir/parse.h"
#include "ir/passes/passes.h"
#include "ir/print.h"
#include "ir/verify.h"

namespace doppel::ir {
namespace {

constexpr const char* head = "path 0x0 to 0x4, 1 guest instructions\nat 0x0, 4 bytes, 0 left\n";

std::string after(void (*pass)(Code&), const std::string& body) {
  auto code = parse(head + body);
  if (!code) return code.message();
  pass(*code);
  if (const auto sound = verify(*code); !sound) return sound.message();
  return print(*code).substr(std::string(head).size());
}

TEST(Simplify, ExtensionsThatOnlyLowBitsAreReadOfGo) {
  EXPECT_EQ(after(&simplify,
                  "%0 = get.i64 r10\n%1 = get.i64 r11\n%2 = add.i32 %0, %1\n%3 = sext.i32 %2\n%4 = add.i32 %3, %1\n"
                  "%5 = sext.i32 %4\n%6 = sext.i32 %5\nset r10, %6\njump 0x4\n"),
            "  %0 = get.i64 r10\n  %1 = get.i64 r11\n  %2 = add.i32 %0, %1\n  %3 = sext.i32 %2\n  %4 = add.i32 %2, %1\n"
            "  %5 = sext.i32 %4\n  set r10, %5\n  jump 0x4\n");
}

TEST(Simplify, ShiftsThereAndBackAreExtensions) {
  EXPECT_EQ(
      after(&simplify,
            "%0 = get.i64 r10\n%1 = constant 48\n%2 = shl.i64 %0, %1\n%3 = shr.i64 %2, %1\nset r10, %3\njump 0x4\n"),
      "  %0 = get.i64 r10\n  %1 = constant 48\n  %2 = shl.i64 %0, %1\n  %3 = zext.i16 %0\n  set r10, %3\n"
      "  jump 0x4\n");
}

// As compilers write a rotation of a word without the instruction for it.
TEST(Simplify, ShiftsBothWaysAreRotations) {
  EXPECT_EQ(after(&simplify,
                  "%0 = get.i64 r10\n%1 = constant 7\n%2 = shr.i32 %0, %1\n%3 = sext.i32 %2\n%4 = constant 25\n"
                  "%5 = shl.i32 %0, %4\n%6 = sext.i32 %5\n%7 = or.i64 %3, %6\nset r10, %7\njump 0x4\n"),
            "  %0 = get.i64 r10\n  %1 = constant 7\n  %2 = shr.i32 %0, %1\n  %3 = sext.i32 %2\n  %4 = constant 25\n"
            "  %5 = shl.i32 %0, %4\n  %6 = sext.i32 %5\n  %7 = ror.i32 %0, %1\n  %8 = sext.i32 %7\n  set r10, %8\n"
            "  jump 0x4\n");
}

TEST(Simplify, ComparisonsJoinTheirBranches) {
  EXPECT_EQ(after(&simplify,
                  "%0 = get.i64 r10\n%1 = get.i64 r11\n%2 = compare.i64.lt %0, %1\n%3 = constant 0\n"
                  "branch.i64.eq %2, %3, 0x20\njump 0x4\n"),
            "  %0 = get.i64 r10\n  %1 = get.i64 r11\n  %2 = compare.i64.lt %0, %1\n  %3 = constant 0\n"
            "  branch.i64.ge %0, %1, 0x20\n  jump 0x4\n");
}

TEST(Simplify, ExtendedValuesCompareInTheirLowHalves) {
  EXPECT_EQ(after(&simplify,
                  "%0 = get.i64 r10\n%1 = sext.i32 %0\n%2 = constant -7\nbranch.i64.ltu %1, %2, 0x20\nset r10, %1\n"
                  "jump 0x4\n"),
            "  %0 = get.i64 r10\n  %1 = sext.i32 %0\n  %2 = constant -7\n  branch.i32.ltu %0, %2, 0x20\n"
            "  set r10, %1\n  jump 0x4\n");
}

TEST(Simplify, ValuesThatAreTheSameBecomeOne) {
  EXPECT_EQ(after(&simplify,
                  "%0 = get.i64 r10\n%1 = constant 8\n%2 = add.i64 %0, %1\n%3 = constant 8\n%4 = add.i64 %0, %3\n"
                  "%5 = add.i64 %4, %3\nset r11, %2\nset r12, %4\nset r13, %5\njump 0x4\n"),
            "  %0 = get.i64 r10\n  %1 = constant 8\n  %2 = add.i64 %0, %1\n  %3 = constant 16\n  %4 = add.i64 %0, %3\n"
            "  set r11, %2\n  set r12, %2\n  set r13, %4\n  jump 0x4\n");
}

// On a path loads and stores off one base share a look-up, unless they were seen on two pages.
TEST(ShareTlbChecks, OnPathsByThePlacesThatWereSeen) {
  EXPECT_EQ(
      after(&share_tlb_checks,
            "%0 = get.i64 r10\n%1 = load.i64.signed %0, 0, 4089\nstore.i64 %0, %1, 8, 1\n"
            "store.i64 %0, %1, 16, 9\njump 0x4\n"),
      "  %0 = get.i64 r10\n  %1 = window %0, 0, 8\n  %2 = load.i64.signed %0, 0, 4089 in %1\n"
      "  %3 = window.store %0, 8, 16\n  store.i64 %0, %2, 8, 1 in %3\n  store.i64 %0, %2, 16, 9 in %3\n  jump 0x4\n");
}

// As compilers read a word that may lie anywhere, for machines that want it aligned.
std::string bytes(const std::vector<std::pair<int, int>>& offset_and_shift, const char* type, const std::string& rest) {
  std::string text = "%0 = get.i64 r10\n";
  int next = 1, sum = -1;
  for (const auto& [offset, shift] : offset_and_shift) {
    text += fmt::format("%{} = load.i8 %0, {}\n%{} = constant {}\n%{} = shl.{} %{}, %{}\n", next, offset, next + 1,
                        shift, next + 2, type, next, next + 1);
    const auto part = next + 2;
    next += 3;
    if (sum >= 0) text += fmt::format("%{} = or.{} %{}, %{}\n", next++, type, sum, part);
    sum = next - 1;
  }
  return text + fmt::format(fmt::runtime(rest), sum, next);
}

std::string last_load(const std::string& text) {
  const auto begin = text.rfind("load");
  return begin == std::string::npos ? "none" : text.substr(begin, text.find('\n', begin) - begin);
}

TEST(Simplify, BytesReadOneByOneAreOneLoad) {
  constexpr const char* end = "set r10, %{0}\njump 0x4\n";
  EXPECT_EQ(last_load(after(&simplify, bytes({{4, 0}, {5, 8}}, "i64", end))), "load.i16 %0, 4");
  EXPECT_EQ(last_load(after(&simplify, bytes({{7, 24}, {4, 0}, {6, 16}, {5, 8}}, "i64", end))), "load.i32 %0, 4");
  EXPECT_EQ(last_load(after(&simplify,
                            bytes({{0, 0}, {1, 8}, {2, 16}, {3, 24}, {4, 32}, {5, 40}, {6, 48}, {7, 56}}, "i64", end))),
            "load.i64 %0, 0");
  constexpr const char* extended = "%{1} = sext.i32 %{0}\nset r10, %{1}\njump 0x4\n";
  EXPECT_EQ(last_load(after(&simplify, bytes({{4, 0}, {5, 8}, {6, 16}, {7, 24}}, "i64", extended))),
            "load.i32.signed %0, 4");
  EXPECT_EQ(last_load(after(&simplify, bytes({{4, 0}, {5, 8}, {6, 16}, {7, 24}}, "i32", extended))),
            "load.i32.signed %0, 4");
  // The highest first, as numbers are in networks.
  const auto swapped = after(&simplify, bytes({{4, 24}, {5, 16}, {6, 8}, {7, 0}}, "i64", end));
  EXPECT_EQ(last_load(swapped), "load.i32 %0, 4");
  EXPECT_NE(swapped.find("bswap.i32"), std::string::npos) << swapped;
}

TEST(Simplify, BytesThatAreNoNumberStay) {
  constexpr const char* end = "set r10, %{0}\njump 0x4\n";
  for (const auto& parts :
       std::vector<std::vector<std::pair<int, int>>>{{{4, 0}, {6, 8}},                      // not next to each other
                                                     {{4, 0}, {5, 16}},                     // a gap in the number
                                                     {{4, 0}, {5, 8}, {6, 16}},             // three
                                                     {{4, 0}, {4, 8}},                      // one of them twice
                                                     {{4, 8}, {5, 16}, {6, 24}, {7, 32}}})  // shifted
    EXPECT_EQ(last_load(after(&simplify, bytes(parts, "i64", end))).substr(0, 7), "load.i8");
  // Where memory changes between, or a byte is read again.
  const auto with = [&](const std::string& between) {
    return last_load(after(&simplify, "%0 = get.i64 r10\n%1 = get.i64 r11\n%2 = load.i8 %0, 0\n" + between +
                                          "%4 = load.i8 %0, 1\n%5 = constant 8\n%6 = shl.i64 %4, %5\n"
                                          "%7 = or.i64 %2, %6\nset r10, %7\njump 0x4\n"));
  };
  EXPECT_EQ(with("%3 = add.i64 %1, %1\n"), "load.i16 %0, 0");
  EXPECT_EQ(with("store.i8 %1, %0, 0\n%3 = add.i64 %1, %1\n").substr(0, 7), "load.i8");
  EXPECT_EQ(with("fence\n%3 = add.i64 %1, %1\n").substr(0, 7), "load.i8");
  EXPECT_EQ(with("%3 = load.i8 %0, 0\nset r12, %3\n").substr(0, 7), "load.i8");
}

}  // namespace
}  // namespace doppel::ir
