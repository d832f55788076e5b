// Loading reads no pages; what is brought in costs memory by what was touched, and once for all who share it.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "unit/snapshot/sample_machine.h"

namespace doppel {
namespace {

using testing::Each;

class LazinessTest : public testing::Test {
 protected:
  SnapshotFolder folder_;
  SnapshotStore store_ = must_open(folder_.path());
  Pages pages_ = sample_pages(2000, 1);
};

TEST_F(LazinessTest, WhatIsTouchedIsInMemoryAndNothingElse) {
  must_save(store_, "one", sample_content(pages_));
  const auto snapshot = std::move(store_.load("one")).value();
  EXPECT_EQ(snapshot->resident_bytes(), 0u);
  const auto source = snapshot->space("memory");
  ASSERT_NE(source->bring(300), nullptr);
  EXPECT_LE(snapshot->resident_bytes(), pack_format::frame_bytes);
  const auto* bytes = source->bring(300);
  EXPECT_TRUE(has_pages(*source, pages_));
  EXPECT_EQ(source->bring(300), bytes) << "it stays where it is";
  EXPECT_LT(snapshot->resident_bytes(), 2000 * page_size * 5 / 4);
}

// Hot pages lie together: bringing them unpacks little else.
TEST_F(LazinessTest, HotPagesComeTogether) {
  std::vector<std::uint32_t> hot;
  for (unsigned n = 0; n < 100; n++) hot.push_back(std::uint32_t(std::next(pages_.begin(), 17 * n)->first));
  must_save(store_, "one", sample_content(pages_, hot));
  const auto snapshot = std::move(store_.load("one")).value();
  EXPECT_EQ(snapshot->prefetch(), 100u);
  const auto resident = snapshot->resident_bytes();
  EXPECT_EQ(resident, 100 * page_size);
  for (const auto page : hot) EXPECT_NE(snapshot->space("memory")->bring(page), nullptr);
  EXPECT_EQ(snapshot->resident_bytes(), resident);
}

TEST_F(LazinessTest, PrefetchingEndsWhenItIsToldTo) {
  must_save(store_, "one", sample_content(pages_, {0, 3, 6}));
  const auto snapshot = std::move(store_.load("one")).value();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(snapshot->prefetch(stop.get_token()), 0u);
  EXPECT_EQ(snapshot->resident_bytes(), 0u);
}

TEST_F(LazinessTest, PagesThatAreNotHeldAreZerosAndKnownNotToBe) {
  must_save(store_, "one", sample_content({{5, sample_page(1)}, {6, sample_page(2)}, {16383, sample_page(3)}}));
  const auto source = std::move(store_.load("one")).value()->space("memory");
  EXPECT_EQ(source->pages(), 16384u);
  EXPECT_FALSE(source->holds(4));
  EXPECT_TRUE(source->holds(5) && source->holds(6) && source->holds(16383));
  EXPECT_FALSE(source->holds(7) || source->holds(16384) || source->holds(~0ULL));
  EXPECT_EQ(source->next(0), 5u);
  EXPECT_EQ(source->next(6), 6u);
  EXPECT_EQ(source->next(7), 16383u);
  EXPECT_EQ(source->next(16384), 16384u);
  const auto* zeros = source->bring(4);
  ASSERT_NE(zeros, nullptr);
  EXPECT_THAT(std::span(zeros, page_size), Each(std::byte()));
}

// Harts and the thread that prefetches want the same pages at the same time.
TEST_F(LazinessTest, ThreadsGetTheSameBytes) {
  std::vector<std::uint32_t> hot;
  for (const auto& [number, bytes] : pages_) hot.push_back(std::uint32_t(number));
  must_save(store_, "one", sample_content(pages_, hot));
  const auto snapshot = std::move(store_.load("one")).value();
  const auto source = snapshot->space("memory");
  std::atomic<unsigned> good = 0;
  {
    std::vector<std::jthread> threads;
    threads.emplace_back([&] { snapshot->prefetch(); });
    for (unsigned n = 0; n < 3; n++) threads.emplace_back([&] { good += bool(has_pages(*source, pages_)); });
  }
  EXPECT_EQ(good, 3u);
  EXPECT_LE(snapshot->resident_bytes(), 2000 * page_size * 5 / 4) << "no frame is there twice";
}

}  // namespace
}  // namespace doppel
