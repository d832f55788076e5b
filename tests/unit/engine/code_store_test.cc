// The code cache on disk: what is put in comes out, for the same guest bytes only, whatever happens to the files.
#include "engine/code_store.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "unit/engine/code_objects.h"

namespace doppel::test {
namespace {

constexpr unsigned many = 500;

TEST_F(StoreTest, WhatWasStoredIsFoundInTheNextRun) {
  fill(0, many);
  auto store = open();
  EXPECT_EQ(store->counters().known, many);
  EXPECT_EQ(found(*store, 0, many), many);
  EXPECT_EQ(found(*store, many, 2 * many), 0u);
  EXPECT_EQ(store->counters().loaded, many);
  EXPECT_EQ(store->counters().rejected, 0u);
}

// Code that was dropped from memory, or invalidated and put back, is not made twice in a run.
TEST_F(StoreTest, WhatWasAddedIsFoundInTheSameRun) {
  auto store = open();
  for (unsigned n = 0; n < many; n++) {
    add(*store, n, n + 1);
    ASSERT_EQ(found(*store, n / 2, n / 2 + 1), 1u) << n;
  }
  EXPECT_EQ(found(*store, 0, many), many);
  add(*store, 0, many);
  store->close();
  EXPECT_LE(store->counters().stored, many);
  EXPECT_GE(store->counters().stored, many * 9 / 10);  // see below
}

// Each boot meets a few blocks that no other did. A file of a thousand sections would be slow to open.
TEST_F(StoreTest, NextToNothingNewIsNotWritten) {
  fill(0, many);
  const auto bytes = cache.bytes();
  for (const unsigned more : {1u, 4u, 40u}) {
    auto store = open();
    EXPECT_EQ(found(*store, 0, many), many);
    add(*store, many, many + more);
    EXPECT_EQ(found(*store, many, many + more), more);
    store->close();
    EXPECT_EQ(store->counters().stored, more == 40 ? more : 0);
    EXPECT_EQ(cache.bytes() == bytes, more < 40);
  }
}

// A guest chooses its bytes: one that differs must not be given another's code.
TEST_F(StoreTest, EveryByteAndEveryBitOfTheKeyCounts) {
  fill(0, 40);
  auto store = open();
  for (unsigned n = 0; n < 40; n++) {
    const auto made = make_object(n);
    CodeObject out;
    for (const auto& range : made.object.ranges)
      for (unsigned at = 0; at < range.length; at++) {
        auto other = made.guest;
        other.pages[range.page][range.offset + at] ^= std::byte{1};
        EXPECT_FALSE(store->find(made.object.key, other, out)) << n;
      }
    for (const auto& [number, page] : made.guest.pages) {
      auto other = made.guest;
      other.pages.erase(number);
      EXPECT_FALSE(store->find(made.object.key, other, out));
    }
    auto guest = made.guest;
    auto key = made.object.key;
    key.mode ^= 1;
    EXPECT_FALSE(store->find(key, guest, out));
    key = made.object.key, key.entry ^= 2;
    EXPECT_FALSE(store->find(key, guest, out));
    key = made.object.key, key.kind = CodeKind(3 - unsigned(key.kind));
    EXPECT_FALSE(store->find(key, guest, out));
  }
  EXPECT_EQ(found(*store, 0, 40), 40u);
}

TEST_F(StoreTest, NothingIsFoundOfAnotherProgramOrProcessor) {
  fill(0, 20, 1);
  auto other = open(2);
  EXPECT_EQ(other->counters().known, 0u);
  EXPECT_EQ(found(*other, 0, 20), 0u);
  other.reset();
  EXPECT_EQ(found(*open(1), 0, 20), 20u);
}

// One bit anywhere: what is found is right, and the damaged file is given up.
TEST_F(StoreTest, ABitThatChangedIsNeverExecuted) {
  constexpr unsigned few = 6;
  fill(0, few);
  const auto path = only_file();
  const auto sound = content_of(path);
  std::size_t lost = 0;
  for (std::size_t at = 0; at < sound.size(); at++) {
    auto damaged = sound;
    damaged[at] = char(damaged[at] ^ 1 << at % 8);
    put_content(path, damaged);
    std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    auto store = open();
    const bool complete = found(*store, 0, few) == few;
    store.reset();
    const bool kept = std::filesystem::exists(path) && std::filesystem::file_size(path) == sound.size();
    EXPECT_EQ(kept, complete) << "byte " << at;
    lost += !complete;
    std::filesystem::remove_all(cache.path() / "lock");
    for (const auto& file : cache.files()) std::filesystem::remove(file);
  }
  EXPECT_GT(lost, sound.size() / 2);
}

TEST_F(StoreTest, ATruncatedFileGivesWhatIsWhole) {
  fill(0, 60);
  const auto path = only_file();
  const auto sound = content_of(path);
  unsigned last = 0;
  for (std::size_t length = 0; length <= sound.size(); length += length + 37 < sound.size() ? 37 : 1) {
    put_content(path, sound.substr(0, length));
    auto store = open();
    const auto count = found(*store, 0, 60);
    EXPECT_GE(count, last);
    last = count;
    store.reset();
    if (!std::filesystem::exists(path)) put_content(path, "");
  }
  EXPECT_EQ(last, 60u);
}

// Behind a crash's torn end there is room for more.
TEST_F(StoreTest, ATornFileIsContinuedWhereItIsWhole) {
  fill(0, 60);
  std::filesystem::resize_file(only_file(), std::filesystem::file_size(only_file()) - 1);
  unsigned kept;
  {
    auto store = open();
    kept = found(*store, 0, 60);
    EXPECT_LT(kept, 60u);
    EXPECT_GT(kept, 0u);
    add(*store, 0, 60);
  }
  EXPECT_EQ(found(*open(), 0, 60), 60u);
  only_file();
}

// Somebody empties the file while a machine runs: it must not end by SIGBUS.
TEST_F(StoreTest, AFileThatShrinksIsAnErrorOfItsObjects) {
  options.section = 64;  // an object each: more than are read ahead
  fill(0, many);
  auto store = open();
  EXPECT_EQ(found(*store, 0, 1), 1u);
  std::filesystem::resize_file(only_file(), 0);
  EXPECT_LT(found(*store, 0, many), many);
  EXPECT_GT(store->counters().rejected, 0u);
  add(*store, 0, many);
  store.reset();
  EXPECT_EQ(found(*open(), 0, many), 0u);
  fill(0, many);
  EXPECT_EQ(found(*open(), 0, many), many);
}

TEST_F(StoreTest, MachinesAtOnceShareAFolder) {
  fill(0, 100);
  auto one = open(), two = open();
  EXPECT_EQ(found(*one, 0, 100), 100u);
  EXPECT_EQ(found(*two, 0, 100), 100u);
  std::thread first([&] { add(*one, 100, 1000); });
  add(*two, 500, 1500);
  first.join();
  auto three = open();  // while the others write
  EXPECT_GE(found(*three, 0, 1500), 100u);
  one->close(), two->close(), three->close();
  EXPECT_EQ(one->counters().stored, 900u);
  EXPECT_EQ(two->counters().stored, 1000u);
  EXPECT_EQ(one->counters().rejected + two->counters().rejected + three->counters().rejected, 0u);
  auto all = open();
  EXPECT_EQ(found(*all, 0, 1500), 1500u);
  EXPECT_EQ(all->counters().known, 1500u);
}

TEST_F(StoreTest, HartsMayLookAndAddAtOnce) {
  fill(0, 300);
  auto store = open();
  std::vector<std::thread> harts;
  for (unsigned id = 0; id < 4; id++)
    harts.emplace_back([&, id] {
      for (unsigned n = 0; n < 300; n++) {
        EXPECT_EQ(found(*store, n, n + 1), 1u);
        add(*store, 1000 * (id + 1) + n, 1000 * (id + 1) + n + 1);
        EXPECT_EQ(found(*store, 1000 * (id + 1) + n / 2, 1000 * (id + 1) + n / 2 + 1), 1u);
      }
    });
  for (auto& hart : harts) hart.join();
  store->close();
  EXPECT_LE(store->counters().stored, 1200u);
  EXPECT_GE(store->counters().stored, 1100u);
}

// Killed without warning: what was written is there, and the file has a successor.
TEST_F(StoreTest, ACrashLosesWhatWasNotWritten) {
  const auto child = fork();
  if (child == 0) {
    auto store = open();
    add(*store, 0, many);
    while (store->counters().stored < many / 2) sched_yield();
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  auto store = open();
  EXPECT_GE(found(*store, 0, many), many / 2);
  add(*store, 0, many);
  store.reset();
  EXPECT_EQ(found(*open(), 0, many), many);
  only_file();
}

// As on a full disk: the machine runs on, and the file stays whole.
TEST_F(StoreTest, WhatCannotBeWrittenIsNotStored) {
  fill(0, 60);
  const auto before = content_of(only_file());
  const auto child = fork();
  if (child == 0) {
    const rlimit limit{before.size() + 3000, before.size() + 3000};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto store = open();
    add(*store, 1000, 1200);
    store->close();
    const bool none = store->counters().stored == 0;
    store.reset();
    _exit(none && found(*open(), 0, 60) == 60 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(content_of(only_file()).size(), before.size());
}

// The bound holds at any time, what is used stays, and what nobody used goes.
TEST_F(StoreTest, WhatWasUsedLongestAgoGoes) {
  options.limit = 256 << 10;
  unsigned runs = 0;
  for (; runs < 12; runs++) {
    auto store = open(runs % 3 == 0 ? 1 : 10 + runs);  // every third run is of one program
    add(*store, 0, 100);
    EXPECT_EQ(found(*store, 0, 100), 100u);
    store.reset();
    EXPECT_LE(cache.bytes(), options.limit);
  }
  EXPECT_EQ(open(1)->counters().known, 100u);
  EXPECT_EQ(open(10 + runs - 1)->counters().known, 100u);
  EXPECT_EQ(open(10 + 1)->counters().known, 0u);
}

TEST_F(StoreTest, ARunStoresNoMoreThanThereIsRoomFor) {
  options.limit = 6 << 20;
  auto one = open(), two = open(2);
  for (unsigned n = 0; n < 30'000; n += 1000) {
    add(*one, n, n + 1000), add(*two, n, n + 1000);
    ASSERT_LE(cache.bytes(), options.limit);
  }
  one->close(), two->close();
  EXPECT_LE(cache.bytes(), options.limit);
  EXPECT_GT(one->counters().stored + two->counters().stored, 1000u);
}

// A guest that makes any number of blocks that begin alike slows no look-up down.
TEST_F(StoreTest, OfObjectsThatBeginAlikeOnlySomeAreKept) {
  auto store = open();
  auto made = make_object(1);
  auto& o = made.object;
  o.ranges = {{.page = 0, .offset = o.key.entry = 64, .length = 24}};
  unsigned count = 0;
  for (unsigned round = 0; round < 2; round++)
    for (unsigned n = 0; n < 1000; n++) {
      auto* at = made.guest.pages[0].data() + 64;
      std::memcpy(at + 16, &n, sizeof n);
      o.source.assign(at, at + 24);
      CodeObject out;
      if (round == 0)
        store->add(o);
      else
        count += store->find(o.key, made.guest, out) && same(out, o);
    }
  EXPECT_GT(count, 10u);
  EXPECT_LT(count, 100u);
}

// What no generator should hand over is refused, not written.
TEST_F(StoreTest, ObjectsThatAreNotSoundAreNotTaken) {
  auto store = open();
  const auto refused = [&](auto&& spoil) {
    auto object = make_object(3).object;
    spoil(object);
    store->add(object);
  };
  refused([](CodeObject& o) { o.ranges.clear(); });
  refused([](CodeObject& o) { o.ranges[0].page = 1; });
  refused([](CodeObject& o) { o.ranges[0].length++; });
  refused([](CodeObject& o) { o.key.entry++; });
  refused([](CodeObject& o) { o.source.pop_back(); });
  refused([](CodeObject& o) { o.ranges[0].offset = o.key.entry = 4096; });
  refused([](CodeObject& o) { o.links.assign(1, {.displacement = std::uint32_t(o.code.size()) - 3}); });
  refused([](CodeObject& o) { o.code.resize(5 << 20); });
  store->close();
  EXPECT_EQ(store->counters().stored, 0u);
}

}  // namespace
}  // namespace doppel::test
