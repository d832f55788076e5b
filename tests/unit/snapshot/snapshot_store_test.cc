// Snapshots come back as they were, cost what is new in them, and give it back.
#include "snapshot/snapshot_store.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <thread>

#include "unit/snapshot/sample_machine.h"

namespace doppel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class SnapshotStoreTest : public testing::Test {
 protected:
  SnapshotFolder folder_;
  SnapshotStore store_ = must_open(folder_.path());
};

TEST_F(SnapshotStoreTest, AMachineComesBackAsItWas) {
  const auto memory = sample_pages(500, 1), disk = sample_pages(70, 5000, 1000);
  auto content = sample_content(memory, {9, 3, 6});
  content.spaces.push_back(space_content("disk 0", disk, 1ULL << 30));
  const auto saved = must_save(store_, "one", content);
  EXPECT_EQ(saved.pages, 570u);
  EXPECT_EQ(saved.bytes, sample_bytes + (1ULL << 30));
  const auto loaded = store_.load("one");
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  const auto& snapshot = **loaded;
  EXPECT_EQ(snapshot.description(), content.description);
  EXPECT_EQ(snapshot.state(), content.state);
  ASSERT_EQ(snapshot.spaces().size(), 2u);
  const auto* space = snapshot.find("memory");
  ASSERT_NE(space, nullptr);
  EXPECT_EQ(space->base, 0x8000'0000u);
  EXPECT_EQ(space->bytes, sample_bytes);
  EXPECT_EQ(space->held, 500u);
  EXPECT_THAT(space->hot, ElementsAre(9, 3, 6));
  EXPECT_TRUE(has_pages(*space->source, memory));
  EXPECT_TRUE(has_pages(*snapshot.space("disk 0"), disk));
  EXPECT_EQ(snapshot.space("disk 1"), nullptr);
}

TEST_F(SnapshotStoreTest, AMachineWithoutAnyPageComesBack) {
  must_save(store_, "empty", sample_content({}));
  EXPECT_TRUE(holds(store_, "empty", {}));
  EXPECT_THAT(folder_.files(".pack"), ElementsAre());
}

// A disk's block of zeros hides one of its base image, so it must be held; but there is no need to store it.
TEST_F(SnapshotStoreTest, ZerosAreHeldAndNotStored) {
  Pages pages;
  for (unsigned n = 0; n < 10'000; n++) pages[n] = Bytes(page_size);
  must_save(store_, "zeros", sample_content(pages));
  EXPECT_TRUE(holds(store_, "zeros", pages));
  EXPECT_LT(folder_.bytes(), 6000u);
}

TEST_F(SnapshotStoreTest, TheSecondSnapshotCostsWhatIsNew) {
  auto pages = sample_pages(1000, 1);
  const auto first = must_save(store_, "first", sample_content(pages));
  EXPECT_GT(first.own_bytes, 1000 * page_size / 2);
  for (unsigned n = 0; n < 20; n++) pages[3 * 37 * n] = sample_page(100'000 + n);
  const auto second = must_save(store_, "second", sample_content(pages));
  EXPECT_LT(second.own_bytes, 20 * page_size);
  EXPECT_GT(second.own_bytes, 20 * page_size / 2);
  EXPECT_TRUE(holds(store_, "second", pages));
  EXPECT_TRUE(holds(store_, "first", sample_pages(1000, 1)));
}

TEST_F(SnapshotStoreTest, WhatIsElsewhereInAnotherSnapshotOrSpaceIsStoredOnce) {
  const auto pages = sample_pages(200, 1);
  must_save(store_, "first", sample_content(pages));
  Pages moved;
  for (const auto& [number, bytes] : pages) moved[5000 - number] = bytes, moved[6000 + number] = bytes;
  auto content = sample_content(moved);
  content.spaces.push_back(space_content("disk 0", moved, 1 << 30));
  const auto second = must_save(store_, "second", content);
  EXPECT_LT(second.own_bytes, 12'000u);
  EXPECT_TRUE(holds(store_, "second", moved));
}

TEST_F(SnapshotStoreTest, RemovingGivesBackWhatNobodyElseNeeds) {
  const auto pages = sample_pages(300, 1);
  auto changed = pages;
  for (unsigned n = 0; n < 100; n++) changed[7000 + n] = sample_page(20'000 + n);
  must_save(store_, "first", sample_content(pages));
  must_save(store_, "second", sample_content(changed));
  EXPECT_EQ(folder_.files(".pack").size(), 2u);
  const auto all = folder_.bytes();
  const auto list = store_.list();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].name, "first");
  EXPECT_LT(list[0].own_bytes, 10'000u) << "the second needs its pack";
  ASSERT_TRUE(store_.remove("second").ok());
  EXPECT_EQ(folder_.bytes(), all - list[1].own_bytes);
  EXPECT_TRUE(holds(store_, "first", pages));
  ASSERT_TRUE(store_.remove("first").ok());
  EXPECT_THAT(folder_.files(""), ElementsAre("lock"));
}

TEST_F(SnapshotStoreTest, WhatIsRemovedCanStillBeReadByWhoHasLoadedIt) {
  const auto pages = sample_pages(300, 1);
  must_save(store_, "one", sample_content(pages));
  auto loaded = std::move(store_.load("one")).value();
  ASSERT_TRUE(store_.remove("one").ok());
  const auto source = loaded->space("memory");
  loaded.reset();
  EXPECT_TRUE(has_pages(*source, pages));
}

TEST_F(SnapshotStoreTest, ASnapshotIsReplacedOnlyWhereThatIsWanted) {
  const auto old = sample_pages(100, 1), young = sample_pages(100, 1000);
  must_save(store_, "one", sample_content(old));
  const auto refused = store_.save("one", sample_content(young));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.message(), HasSubstr("there is a snapshot named 'one' already"));
  EXPECT_TRUE(holds(store_, "one", old));
  must_save(store_, "one", sample_content(young), true);
  EXPECT_TRUE(holds(store_, "one", young));
  EXPECT_EQ(folder_.files(".pack").size(), 1u) << "the old one's pages go";
}

TEST_F(SnapshotStoreTest, NamesStayInTheFolder) {
  for (const std::string name : {"", "..", "../one", "a/b", "/tmp/x", ".hidden", "-rf", "a b", "caf\xc3\xa9"}) {
    for (const auto& message :
         {store_.save(name, sample_content({})).failure().message, store_.load(name).failure().message,
          store_.remove(name).failure().message, store_.export_to(name, folder_.path("out")).failure().message}) {
      EXPECT_THAT(message, HasSubstr("is no name for a snapshot"));
      expect_sentence(message);
    }
  }
  const auto missing = store_.load("missing");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.message(), HasSubstr("there is no snapshot named 'missing'"));
}

// What a machine's memory holds is for its user only.
TEST_F(SnapshotStoreTest, OthersCannotReadIt) {
  const auto path = folder_.path("deep/store");
  const auto store = must_open(path + "/");
  must_save(store, "one", sample_content(sample_pages(3, 1)));
  for (const auto& name : {std::string(), std::string("/one.snapshot")}) {
    struct stat status;
    ASSERT_EQ(stat((path + name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 077, 0u);
  }
  EXPECT_FALSE(SnapshotStore::open(folder_.path("missing"), false).ok());
}

// Else the hundredth snapshot of a machine would need a hundred files to be open, for a few pages each.
TEST_F(SnapshotStoreTest, ASnapshotNeedsFewPacksHoweverManyThereWereBefore) {
  auto pages = sample_pages(200, 1);
  for (unsigned n = 0; n < most_packs + 40; n++) {
    pages[3000 + n] = sample_page(5000 + n);
    must_save(store_, fmt::format("s{}", n), sample_content(pages));
  }
  EXPECT_TRUE(holds(store_, fmt::format("s{}", most_packs + 39), pages));
  EXPECT_GT(folder_.files(".pack").size(), most_packs);
  pages.erase(3000), pages[1] = sample_page(1);
  EXPECT_LT(must_save(store_, "last", sample_content(pages)).own_bytes, 60 * page_size);
  EXPECT_TRUE(holds(store_, "last", pages));
}

TEST_F(SnapshotStoreTest, PagesThatAreNotInOrderOrOutsideAreRefused) {
  auto content = sample_content({});
  for (const auto& numbers : {std::pair(5, 5), std::pair(5, 4), std::pair(5, 16384)}) {
    const auto page = sample_page(1);
    const std::span<const std::byte, page_size> bytes(page.data(), page_size);
    content.spaces[0].for_each = [&](const PageVisit& visit) -> Result<void> {
      if (auto taken = visit(numbers.first, bytes); !taken) return taken;
      return visit(numbers.second, bytes);
    };
    EXPECT_FALSE(store_.save("one", content).ok());
  }
  content = sample_content({});
  content.spaces.push_back(content.spaces[0]);
  EXPECT_FALSE(store_.save("one", content).ok()) << "two of one name";
  content.spaces.resize(1);
  content.spaces[0].for_each = [](const PageVisit&) -> Result<void> { return error("the disk is gone"); };
  const auto failed = store_.save("one", content);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.message(), "the disk is gone");
  EXPECT_THAT(folder_.files(""), ElementsAre("lock"));
}

TEST_F(SnapshotStoreTest, ProcessesThatSaveAtOnceDoNotDisturbEachOther) {
  constexpr unsigned count = 4, rounds = 15;
  std::vector<pid_t> children;
  for (unsigned who = 0; who < count; who++) {
    const auto child = fork();
    if (child == 0) {
      const auto store = must_open(folder_.path());
      bool good = true;
      for (unsigned round = 0; round < rounds; round++) {
        // Pages that all have, and some of its own: whoever comes second refers to the packs of the first.
        auto pages = sample_pages(60, 100 * round);
        pages[9000] = sample_page(50'000 + who * 100 + round);
        const auto name = fmt::format("p{}", who);
        good &= bool(store.save(name, sample_content(pages), true)) && bool(holds(store, name, pages));
        if (round % 4 == 3) good &= bool(store.remove(name));
      }
      _exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const auto child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(folder_.files(".new").size(), 0u);
  EXPECT_EQ(store_.list().size(), count);
}

TEST_F(SnapshotStoreTest, TwoCannotTakeOneName) {
  std::atomic<int> done = 0;
  std::vector<std::jthread> threads;
  for (unsigned n = 0; n < 4; n++)
    threads.emplace_back([&, n] { done += store_.save("one", sample_content(sample_pages(40, 100 * n))).ok(); });
  threads.clear();
  EXPECT_EQ(done, 1);
  ASSERT_TRUE(store_.load("one").ok());
}

TEST_F(SnapshotStoreTest, AMemoryImageIsItsPagesThatAreNotZero) {
  auto memory = std::move(GuestMemory::create(0x8000'0000, sample_bytes)).value();
  const auto pages = sample_pages(50, 1);
  for (const auto& [number, bytes] : pages)
    ASSERT_TRUE(memory->write(0x8000'0000 + number * page_size, bytes.data(), page_size));
  SnapshotContent content{.description = "", .state = {}, .spaces = {}};
  content.spaces.push_back(memory_content(memory->freeze()));
  must_save(store_, "image", content);
  EXPECT_TRUE(holds(store_, "image", pages));
  EXPECT_EQ((*store_.load("image"))->find("memory")->base, 0x8000'0000u);
}

}  // namespace
}  // namespace doppel
