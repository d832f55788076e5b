// What several machines have alike is there once, and whoever writes to it notices nothing.
#include "memory/shared_pages.h"

#include <gtest/gtest.h>

#include <random>

#include "memory/guest_memory.h"

namespace doppel {
namespace {

constexpr std::uint64_t base = 0x80000000, pages = 64;

class SharedPageTest : public testing::Test {
 protected:
  SharedPageTest() {
    auto memory = std::move(GuestMemory::create(base, pages * page_size)).value();
    EXPECT_TRUE(memory->fill(base, 'a', pages * page_size / 2));
    original_ = memory->freeze();
  }
  /// What a fork of the original has when `write` is done with it, and nobody else.
  template <typename F>
  MemoryImage fork(F&& write) const {
    const auto memory = GuestMemory::create(original_);
    write(*memory);
    return memory->freeze();
  }
  static void put(GuestMemory& memory, std::uint64_t page, unsigned seed) {
    std::mt19937_64 random(seed);
    std::vector<std::uint64_t> words(page_size / 8);
    for (auto& word : words) word = random();
    ASSERT_TRUE(memory.write(base + page * page_size, words.data(), page_size));
  }
  static std::string bytes(const MemoryImage& image) {
    std::string all;
    for (std::uint64_t page = 0; page < pages; page++)
      all.append(reinterpret_cast<const char*>(image.page(page)), page_size);
    return all;
  }
  MemoryImage original_;
  SharedPages shared_;
};

TEST_F(SharedPageTest, WhatIsAgainWhatItWasIsTheOriginals) {
  auto image = fork([](GuestMemory& memory) { ASSERT_TRUE(memory.fill(base, 'a', 3 * page_size)); });
  EXPECT_EQ(image.top->count(), 3u);
  EXPECT_EQ(shared_.share(image, 1), 3u);
  EXPECT_EQ(image.top->count(), 0u);
  EXPECT_EQ(bytes(image), bytes(original_));
}

TEST_F(SharedPageTest, ZerosNeedNoMemory) {
  auto image = fork([](GuestMemory& memory) { ASSERT_TRUE(memory.fill(base, 0, 2 * page_size)); });
  EXPECT_EQ(shared_.share(image, 1), 2u);
  EXPECT_EQ(image.page(0), zero_page);
  EXPECT_EQ(image.page(1), zero_page);
  EXPECT_EQ(shared_.share(image, 1), 0u) << "it is done";
}

TEST_F(SharedPageTest, WhatTwoHaveIsThereOnce) {
  const auto write = [](GuestMemory& memory) { put(memory, 1, 7), put(memory, 2, 8); };
  auto one = fork(write), other = fork(write);
  const auto content = bytes(one);
  EXPECT_EQ(shared_.share(one, 1), 0u);
  EXPECT_EQ(shared_.share(one, 1), 0u) << "nobody else has it";
  EXPECT_EQ(shared_.share(other, 2), 2u);
  EXPECT_EQ(shared_.share(one, 1), 2u);
  EXPECT_EQ(shared_.pages(), 2u);
  EXPECT_EQ(one.page(1), other.page(1));
  EXPECT_EQ(bytes(one), content);
  EXPECT_EQ(bytes(other), content);
}

// The image of a machine that another one lies on, or that somebody keeps, stays as it is.
TEST_F(SharedPageTest, WhatOthersHaveIsLeftAlone) {
  auto image = fork([](GuestMemory& memory) { ASSERT_TRUE(memory.fill(base, 0, page_size)); });
  const auto kept = image;
  EXPECT_EQ(shared_.share(image, 1), 0u);
  EXPECT_NE(kept.page(0), zero_page);
}

TEST_F(SharedPageTest, WhoWritesHasACopy) {
  const auto write = [](GuestMemory& memory) { put(memory, 1, 7), put(memory, 2, 8); };
  auto one = fork(write), other = fork(write);
  shared_.share(one, 1), shared_.share(other, 2), shared_.share(one, 1);
  const auto content = bytes(other);
  const auto memory = GuestMemory::create(original_);
  memory->adopt(std::move(one));
  EXPECT_TRUE(memory->shared(base + page_size)) << "harts must hear of the copy";
  bool replaced = false;
  memory->page_for_write(base + page_size, replaced);
  EXPECT_TRUE(replaced);
  ASSERT_TRUE(memory->fill(base + page_size, 'x', 10));
  EXPECT_EQ(bytes(other), content);
  other = {};
  char byte = 0;
  ASSERT_TRUE(memory->read(base + 2 * page_size, &byte, 1));
  EXPECT_EQ(byte, content[2 * page_size]) << "what is shared stays as long as one has it";
}

// Machines that run in turn, are looked through now and then, and are what they would be without.
TEST_F(SharedPageTest, ChangesNothing) {
  struct Machine {
    MemoryImage image;
    std::string model;
  };
  std::vector<Machine> machines(6, {original_, bytes(original_)});
  const auto memory = GuestMemory::create(original_);
  std::mt19937 random(5);
  std::size_t saved = 0;
  for (unsigned turn = 0; turn < 3000; turn++) {
    auto& machine = machines[random() % machines.size()];
    memory->adopt(std::move(machine.image));
    for (unsigned n = random() % 6; n > 0; n--) {
      const auto page = random() % pages;
      const auto value = "\0aAB"[random() % 4];
      ASSERT_TRUE(memory->fill(base + page * page_size, std::uint8_t(value), page_size));
      std::fill_n(machine.model.begin() + long(page * page_size), page_size, value);
    }
    machine.image = memory->freeze();
    memory->adopt(original_);  // another one's turn
    const auto number = random() % machines.size();
    saved += shared_.share(machines[number].image, number);
    if (turn % 50 == 0)
      for (const auto& one : machines) ASSERT_EQ(bytes(one.image), one.model) << turn;
  }
  EXPECT_GT(saved, 1000u);
  EXPECT_GT(shared_.pages(), 0u);
}

// A pool that kept what nobody has any more would grow for ever.
TEST_F(SharedPageTest, WhatNobodyHasGoes) {
  std::size_t most = 0;
  for (unsigned round = 0; round < 200; round++) {
    const auto write = [&](GuestMemory& memory) {
      for (unsigned page = 0; page < pages; page++) put(memory, page, 1000 * round + page);
    };
    auto one = fork(write), other = fork(write);
    shared_.share(one, 1), shared_.share(other, 2), shared_.share(one, 1);
    most = std::max(most, shared_.pages());
  }
  EXPECT_LT(most, 40 * pages);
}

}  // namespace
}  // namespace doppel
