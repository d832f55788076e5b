#include "guest/wasm/id_ranges.h"

#include <gtest/gtest.h>

namespace doppel::wasm {
namespace {

TEST(IdRanges, GivesEachNumberOnce) {
  IdRanges free(10);
  EXPECT_EQ(free.take(4), 0u);
  EXPECT_EQ(free.take(6), 4u);
  EXPECT_EQ(free.take(1), std::nullopt);
  free.give(4, 6);
  EXPECT_EQ(free.take(7), std::nullopt);
  EXPECT_EQ(free.take(1), 4u);
}

// Modules come and go in any order: what they leave has to fit a large group again.
TEST(IdRanges, MakesOneRunOfPieces) {
  constexpr std::uint32_t end = 99;
  IdRanges free(end);
  for (std::uint32_t n = 0; n < end; n++) ASSERT_EQ(free.take(1), n);
  for (const std::uint32_t rest : {1U, 0U, 2U})
    for (std::uint32_t n = rest; n < end; n += 3) free.give(n, 1);
  EXPECT_EQ(free.take(end), 0u);
}

TEST(IdRanges, TakesTheSmallestRunThatFits) {
  IdRanges free(10);
  free.take(10);
  free.give(0, 5);
  free.give(7, 2);
  EXPECT_EQ(free.take(2), 7u);
  EXPECT_EQ(free.take(3), 0u);
}

}  // namespace
}  // namespace doppel::wasm
