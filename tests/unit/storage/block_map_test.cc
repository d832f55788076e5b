// Where the blocks of forked disks are: a wrong extent would be another machine's block.
#include "storage/block_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace doppel {
namespace {

constexpr std::uint32_t absent = 0xffff'fff0;  // no slot that is used here

/// The slot of each block.
using Model = std::vector<std::uint32_t>;

void set(Model& model, const BlockExtent& extent) {
  for (std::uint32_t n = 0; n < extent.count; n++)
    model[extent.block + n] = extent.slot == BlockExtent::zeros ? BlockExtent::zeros : extent.slot + n;
}

Model model_of(const BlockExtents& extents, std::size_t blocks) {
  Model model(blocks, absent);
  std::uint64_t end = 0;
  for (const auto& extent : extents) {
    EXPECT_GE(extent.block, end) << "in ascending order, without overlap";
    EXPECT_GT(extent.count, 0u);
    end = extent.end();
    set(model, extent);
  }
  return model;
}

BlockExtent random_extent(std::mt19937& random, std::size_t blocks, std::uint32_t& slot) {
  const auto first = random() % blocks;
  const auto count = std::uint32_t(1 + random() % std::min<std::size_t>(blocks - first, 12));
  if (random() % 4 == 0) return {first, count, BlockExtent::zeros};
  slot += count + random() % 2;
  return {first, count, slot - count};
}

TEST(BlockMaps, HaveWhatWasSetLastAndTellWhatItReplaced) {
  constexpr std::size_t blocks = 100;
  std::mt19937 random(1);
  for (int round = 0; round < 200; round++) {
    BlockMap map;
    Model model(blocks, absent);
    std::uint32_t slot = 0;
    for (int n = 0; n < 60; n++) {
      const auto extent = random_extent(random, blocks, slot);
      std::multiset<std::uint32_t> expected, told;
      for (std::uint32_t k = 0; k < extent.count; k++)
        if (const auto old = model[extent.block + k]; old < absent) expected.insert(old);
      std::vector<ScratchFile::Run> replaced;
      map.set(extent, replaced);
      for (const auto& run : replaced)
        for (std::uint32_t k = 0; k < run.count; k++) told.insert(run.first + k);
      ASSERT_EQ(told, expected);
      set(model, extent);
      const auto first = random() % blocks, last = first + random() % (blocks - first + 1);
      Model seen;
      ASSERT_TRUE(map.visit(
          first, last,
          [&](const BlockExtent& part) -> Result<void> {
            EXPECT_EQ(part.block, first + seen.size());
            for (std::uint32_t k = 0; k < part.count; k++)
              seen.push_back(part.slot == BlockExtent::zeros ? part.slot : part.slot + k);
            return {};
          },
          [&](std::uint64_t from, std::uint64_t to) -> Result<void> {
            EXPECT_EQ(from, first + seen.size());
            seen.resize(seen.size() + (to - from), absent);
            return {};
          }));
      ASSERT_EQ(seen, Model(model.begin() + long(first), model.begin() + long(last)));
      ASSERT_EQ(map.all_in_slots(first, last), std::ranges::all_of(seen, [](auto s) { return s < absent; }));
    }
    ASSERT_EQ(model_of(map.take(), blocks), model);
    ASSERT_TRUE(map.empty());
  }
}

TEST(BlockMaps, OfTwoLayersTheUpperHidesTheLower) {
  constexpr std::size_t blocks = 60;
  std::mt19937 random(2);
  for (int round = 0; round < 2000; round++) {
    std::uint32_t slot = 0;
    BlockExtents layers[2];
    for (auto& layer : layers) {
      BlockMap map;
      std::vector<ScratchFile::Run> ignored;
      for (auto n = random() % 12; n > 0; n--) map.set(random_extent(random, blocks, slot), ignored);
      layer = map.take();
    }
    auto expected = model_of(layers[1], blocks);
    for (const auto& extent : layers[0]) set(expected, extent);
    ASSERT_EQ(model_of(merge(layers[0], layers[1]), blocks), expected) << round;
  }
}

// A guest that writes a gigabyte in order must not cost a map entry for each block.
TEST(BlockMaps, KeepWhatFollowsOneAnotherAsOne) {
  BlockMap map;
  std::vector<ScratchFile::Run> replaced;
  for (std::uint32_t n = 0; n < 10'000; n++) map.set({n, 1, 500 + n}, replaced);
  map.set({10'000, 5, BlockExtent::zeros}, replaced);
  map.set({10'005, 5, BlockExtent::zeros}, replaced);
  EXPECT_TRUE(replaced.empty());
  EXPECT_EQ(map.take().size(), 2u);
}

}  // namespace
}  // namespace doppel
