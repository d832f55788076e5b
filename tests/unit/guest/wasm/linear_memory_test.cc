// Linear memories: what they hold, how they grow, what lies behind them (core specification, 4.2.8 and 4.5.3).
#include "guest/wasm/linear_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace doppel::wasm {
namespace {

constexpr std::uint64_t page = 65536;

MemoryType pages(std::uint64_t minimum, std::optional<std::uint64_t> maximum = {}) {
  return {.limits = {.minimum = minimum, .maximum = maximum}};
}
MemoryType wide(std::uint64_t minimum) { return {.limits = {.minimum = minimum, .maximum = {}, .is64 = true}}; }
LinearMemory memory(MemoryType type) {
  auto made = LinearMemory::create(type);
  EXPECT_TRUE(made.ok());
  return std::move(*made);
}
/// Asks the kernel, which does not crash.
bool readable(const std::uint8_t* at) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  const bool can = write(ends[1], at, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return can;
}

// Translated code has no checks but these faults.
TEST(LinearMemory, EverythingA32BitAddressAndOffsetReachIsReservedAndFaultsBehindItsEnd) {
  const auto m = memory(pages(1));
  EXPECT_EQ(m.reserved(), LinearMemory::guarded_bytes);
  EXPECT_TRUE(readable(m.data() + page - 1));
  EXPECT_FALSE(readable(m.data() + page));
  EXPECT_FALSE(readable(m.data() + LinearMemory::guarded_bytes - 1));
}

TEST(LinearMemory, GrowsInPlaceByZerosToItsMaximum) {
  auto m = memory(pages(1, 3));
  auto* const data = m.data();
  data[page - 1] = 7;
  EXPECT_EQ(m.grow(2), 1U);
  EXPECT_EQ(m.data(), data);
  EXPECT_EQ(m.pages(), 3U);
  EXPECT_EQ(data[page - 1], 7);
  EXPECT_EQ(data[3 * page - 1], 0);
  EXPECT_FALSE(m.grow(1));
  EXPECT_EQ(m.grow(0), 3U);
}

TEST(LinearMemory, A32BitMemoryHasAtMost4GiB) {
  auto m = memory(pages(1));
  EXPECT_FALSE(m.grow(65536));
  EXPECT_FALSE(m.grow(~0ULL));
  EXPECT_EQ(m.grow(65535), 1U);
  EXPECT_EQ(m.bytes(), 1ULL << 32);
}

TEST(LinearMemory, A64BitMemoryThatOutgrowsItsReservationKeepsItsContent) {
  auto m = memory(wide(1));
  m.data()[0] = 1, m.data()[page - 1] = 2;
  ASSERT_EQ(m.grow(1), 1U);
  m.data()[page] = 3;
  ASSERT_EQ(m.grow(1ULL << 19), 2U);  // 32 GiB
  EXPECT_EQ(m.data()[0], 1);
  EXPECT_EQ(m.data()[page - 1], 2);
  EXPECT_EQ(m.data()[page], 3);
  EXPECT_EQ(m.data()[m.bytes() - 1], 0);
  m.data()[m.bytes() - 1] = 4;
  EXPECT_FALSE(readable(m.data() + m.bytes()));
  EXPECT_FALSE(m.grow(1ULL << 47)) << "more than any host has";
}

TEST(LinearMemory, PagesOfOneByteAreCountedInBytes) {
  auto m = memory({.limits = {.minimum = 3, .maximum = 5000}, .page_shift = 0});
  EXPECT_EQ(m.pages(), 3U);
  EXPECT_TRUE(m.holds(2, 1));
  EXPECT_FALSE(m.holds(2, 2));
  EXPECT_EQ(m.grow(4990), 3U);
  EXPECT_TRUE(m.holds(4992, 1));
  EXPECT_EQ(m.data()[4992], 0);
  EXPECT_FALSE(m.grow(8));
}

TEST(LinearMemory, BoundsHoldForAllAddresses) {
  const auto m = memory(pages(1));
  EXPECT_TRUE(m.holds(page, 0));
  EXPECT_FALSE(m.holds(page + 1, 0));
  EXPECT_FALSE(m.holds(~0ULL, 2));
  EXPECT_FALSE(m.holds(0, ~0ULL));
}

TEST(LinearMemory, WhatNoHostHasIsAnError) {
  EXPECT_FALSE(LinearMemory::create(wide(1ULL << 47)).ok());
  EXPECT_FALSE(LinearMemory::create(wide(1ULL << 31)).ok());
}

}  // namespace
}  // namespace doppel::wasm
