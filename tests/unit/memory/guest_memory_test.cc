#include "memory/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>

namespace doppel {
namespace {

constexpr std::uint64_t base = 0x80000000;

std::unique_ptr<GuestMemory> make(std::uint64_t size = 4 << 20) {
  return std::move(GuestMemory::create(base, size)).value();
}

std::string text_at(GuestMemory& memory, std::uint64_t address, std::size_t length) {
  std::string text(length, '?');
  EXPECT_TRUE(memory.read(address, text.data(), length));
  return text;
}

TEST(GuestMemory, CopiesAcrossPagesAndStartsAsZeros) {
  auto memory = make();
  EXPECT_EQ(text_at(*memory, base + 4000, 200), std::string(200, '\0'));
  const std::string text(10000, 'x');
  ASSERT_TRUE(memory->write(base + 4000, text.data(), text.size()));
  EXPECT_EQ(text_at(*memory, base + 4000, text.size()), text);
  EXPECT_EQ(text_at(*memory, base + 3999, 1)[0], '\0');
}

// A device that is told a wild address must not reach host memory.
TEST(GuestMemory, RefusesWhatIsNotAllRam) {
  auto memory = make(page_size);
  char byte = 1;
  for (auto [address, length] : {std::pair<std::uint64_t, std::uint64_t>{base - 1, 1},
                                 {base + page_size, 1},
                                 {base + page_size - 1, 2},
                                 {base, ~0ULL},
                                 {~0ULL, 2},
                                 {0, 1}}) {
    EXPECT_FALSE(memory->contains(address, length));
    EXPECT_FALSE(memory->write(address, &byte, length));
    EXPECT_FALSE(memory->fill(address, 1, length));
  }
}

TEST(GuestMemory, RefusesSizesThatAreNoPages) {
  EXPECT_FALSE(GuestMemory::create(base, 0).ok());
  EXPECT_FALSE(GuestMemory::create(base, 4095).ok());
}

// A fork is a copy: neither side may see what the other writes afterwards, to any depth.
TEST(GuestMemory, ForksAreIndependent) {
  auto parent = make();
  ASSERT_TRUE(parent->write(base, "parent", 6));
  auto child = GuestMemory::create(parent->freeze());
  ASSERT_TRUE(child->write(base, "child!", 6));
  auto grandchild = GuestMemory::create(child->freeze());
  ASSERT_TRUE(parent->write(base + page_size, "later", 5));
  EXPECT_EQ(text_at(*parent, base, 6), "parent");
  EXPECT_EQ(text_at(*child, base, 6), "child!");
  EXPECT_EQ(text_at(*grandchild, base, 6), "child!");
  EXPECT_EQ(text_at(*child, base + page_size, 5), std::string(5, '\0'));
  parent.reset();
  child.reset();
  EXPECT_EQ(text_at(*grandchild, base, 6), "child!");
}

// Forks cost what they change, not what they are.
TEST(GuestMemory, AForkHoldsOnlyWhatItWrote) {
  auto parent = make();
  auto child = GuestMemory::create(parent->freeze());
  EXPECT_EQ(child->private_pages(), 0u);
  ASSERT_TRUE(child->fill(base + 100, 7, 1));
  ASSERT_TRUE(child->fill(base + 200, 7, 1));
  EXPECT_EQ(child->private_pages(), 1u);
}

TEST(GuestMemory, HashDependsOnContentsOnly) {
  auto a = make();
  auto b = make();
  ASSERT_TRUE(a->write(base + 5000, "same", 4));
  auto forked = GuestMemory::create(b->freeze());
  ASSERT_TRUE(forked->write(base + 5000, "same", 4));
  EXPECT_EQ(a->hash(), forked->hash());
  EXPECT_NE(a->hash(), b->hash());
}

TEST(GuestMemory, TellsWhichPagesAreDirty) {
  auto memory = make();
  ASSERT_TRUE(memory->fill(base + 2 * page_size - 1, 1, 2));
  EXPECT_EQ(memory->dirty_pages(), (std::vector<std::uint64_t>{base + page_size, base + 2 * page_size}));
  memory->clear_dirty();
  EXPECT_TRUE(memory->dirty_pages().empty());
  bool replaced = false;
  memory->page_for_write(base + 3 * page_size, replaced);
  EXPECT_EQ(memory->dirty_pages(), (std::vector<std::uint64_t>{base + 3 * page_size}));
}

// Whoever holds a page pointer must be able to tell that a copy on write replaced the page.
TEST(GuestMemory, TellsOfReplacedPages) {
  auto memory = make();
  bool replaced = false;
  memory->page_for_write(base, replaced);
  EXPECT_FALSE(replaced) << "it has been its own from the begin";
  memory->freeze();
  const auto* shared = memory->page_for_read(base);
  auto* own = memory->page_for_write(base, replaced);
  EXPECT_TRUE(replaced);
  EXPECT_NE(own, shared);
  replaced = false;
  EXPECT_EQ(memory->page_for_write(base + 8, replaced), own);
  EXPECT_FALSE(replaced);
}

// The CPUs must hear of it too where a device writes, before the bytes change.
TEST(GuestMemory, ObserverSeesWhatDevicesReplace) {
  auto memory = make();
  ASSERT_TRUE(memory->fill(base, 'a', 3 * page_size));
  memory->freeze();
  std::vector<std::uint64_t> seen;
  memory->set_replacement_observer([&](std::uint64_t address) {
    seen.push_back(address);
    EXPECT_EQ(text_at(*memory, address, 1), "a");
  });
  ASSERT_TRUE(memory->fill(base + page_size - 1, 'b', 2));
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{base, base + page_size}));
  ASSERT_TRUE(memory->write(base + 8, "c", 1));
  EXPECT_EQ(seen.size(), 2u);
  PinnedSpans pinned;
  std::vector<iovec> pieces;
  const std::vector<GuestSpan> spans = {{base + 2 * page_size, 8}};
  ASSERT_TRUE(memory->pin(spans, pinned, pieces));
  EXPECT_EQ(seen.size(), 3u);
}

// A chain of forks, each of which writes a little, is no deeper to look through than a few layers; none may lose what
// any of them wrote last.
TEST(GuestMemory, DeepForksAreFlat) {
  auto memory = make(64 * page_size);
  std::mt19937 random(3);
  std::vector<MemoryImage> images;
  std::vector<std::uint32_t> expected(64);
  for (std::uint32_t n = 1; n <= 1000; n++) {
    for (unsigned writes = random() % 4; writes > 0; writes--) {
      const auto page = random() % 64;
      expected[page] = n;
      ASSERT_TRUE(memory->write(base + page * page_size, &n, sizeof n));
    }
    const auto image = memory->freeze();
    unsigned layers = 0;
    for (const auto* layer = image.top.get(); layer; layer = layer->parent.get()) layers++;
    EXPECT_LE(layers, 10u);
    memory = GuestMemory::create(image);
    for (unsigned page = 0; page < 64; page++) {
      std::uint32_t value;
      ASSERT_TRUE(memory->read(base + page * page_size, &value, sizeof value));
      ASSERT_EQ(value, expected[page]) << "page " << page << " of fork " << n;
    }
  }
}

TEST(GuestMemory, WhatDidNotChangeIsFrozenOnce) {
  auto memory = make();
  const auto first = memory->freeze(), second = memory->freeze();
  EXPECT_EQ(first.top, second.top);
}

// One machine after the other in the same place: what the last one wrote is gone, what it shared is not.
TEST(GuestMemory, TakesOverImages) {
  auto memory = make();
  ASSERT_TRUE(memory->fill(base, 'a', 2 * page_size));
  const auto image = memory->freeze();
  for (unsigned round = 0; round < 200; round++) {
    ASSERT_TRUE(memory->fill(base, 'b', page_size));
    memory->adopt(image);
    EXPECT_EQ(text_at(*memory, base, 1), "a");
    EXPECT_TRUE(memory->dirty_pages().empty());
    EXPECT_EQ(memory->private_pages(), 0u);
  }
  ASSERT_TRUE(memory->fill(base, 'c', 1));
  const auto other = memory->freeze();
  ASSERT_TRUE(memory->fill(base + 1, 'd', 1));
  memory->adopt(image);
  ASSERT_TRUE(memory->fill(base, 'e', 3));
  memory->adopt(other);
  EXPECT_EQ(text_at(*memory, base, 3), "caa");
}

// A machine that is put away and brought back by itself need not copy what it had copied before.
TEST(GuestMemory, WritesInPlaceWhatNobodyElseHas) {
  auto memory = make();
  const auto base_image = memory->freeze();
  ASSERT_TRUE(memory->fill(base, 'a', page_size));
  auto image = memory->freeze();
  const auto* before = memory->page_for_read(base);
  memory->adopt(base_image);
  memory->adopt(std::move(image));
  EXPECT_EQ(text_at(*memory, base, 1), "a");
  ASSERT_TRUE(memory->fill(base, 'b', 1));
  EXPECT_EQ(memory->page_for_read(base), before);
  const auto kept = memory->freeze();
  auto same = kept;
  memory->adopt(std::move(same));
  ASSERT_TRUE(memory->fill(base, 'c', 1));
  EXPECT_EQ(*kept.page(0), std::byte{'b'});
}

// Whichever of many forks of forks are kept, dropped and gone on from: each is what it was.
TEST(GuestMemory, ForksOfForksStayWhatTheyWere) {
  constexpr std::uint64_t pages = 40;
  struct Fork {
    MemoryImage image;
    std::string bytes;  // of each page the first
  };
  auto memory = std::move(GuestMemory::create(base, pages * page_size)).value();
  std::string now(pages, '\0');
  std::vector<Fork> forks;
  std::mt19937 random(3);
  for (unsigned round = 0; round < 20'000; round++) {
    for (auto writes = random() % 4; writes > 0; writes--) {
      const auto page = random() % pages;
      if (random() % 8 == 0) {
        const GuestSpan span{base + page * page_size, std::uint32_t(page_size * (1 + random() % (pages - page)))};
        ASSERT_TRUE(memory->discard({&span, 1}));
        std::fill_n(now.begin() + long(page), span.length / page_size, '\0');
        continue;
      }
      now[page] = char(random());
      ASSERT_TRUE(memory->fill(base + page * page_size, std::uint8_t(now[page]), 1));
    }
    if (random() % 2) forks.push_back({memory->freeze(), now});
    if (forks.empty()) continue;
    std::swap(forks[random() % forks.size()], forks.back());
    if (const auto choice = random() % 4; choice == 0) {
      now = forks.back().bytes;
      memory->adopt(std::move(forks.back().image));
      forks.pop_back();
    } else if (choice == 1) {
      now = forks.back().bytes;
      memory->adopt(forks.back().image);
    } else if (choice == 2 || forks.size() > 30) {
      forks.pop_back();
    }
    for (const auto& fork : forks)
      for (std::uint64_t page = 0; page < pages; page++)
        ASSERT_EQ(*fork.image.page(page), std::byte(fork.bytes[page])) << round;
    for (std::uint64_t page = 0; page < pages; page++)
      ASSERT_EQ(*memory->page_for_read(base + page * page_size), std::byte(now[page])) << round;
  }
}

// Code that was translated from a page holds for another machine where that has the same page.
TEST(GuestMemory, TellsWhichCodeMayBeAnother) {
  auto memory = make();
  ASSERT_TRUE(memory->fill(base, 'a', 4 * page_size));
  const auto image = memory->freeze();
  for (unsigned page = 0; page < 4; page++) memory->mark_code(base + page * page_size);
  ASSERT_TRUE(memory->fill(base + page_size, 'b', 1));
  EXPECT_EQ(memory->take_written_code(), std::vector<std::uint64_t>{base + page_size});
  memory->mark_code(base + page_size);
  memory->adopt(image);
  EXPECT_TRUE(memory->any_written_code());
  EXPECT_EQ(memory->take_written_code(), std::vector<std::uint64_t>{base + page_size});
  EXPECT_TRUE(memory->holds_code(base));
  EXPECT_FALSE(memory->holds_code(base + page_size));
}

// Devices' writes must be able to break a hart's load reservation.
TEST(GuestMemory, ObserverSeesDeviceWrites) {
  auto memory = make();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen;
  memory->set_write_observer([&](std::uint64_t address, std::uint64_t length) {
    seen.emplace_back(address, length);
    return std::unique_lock<std::mutex>();
  });
  ASSERT_TRUE(memory->write(base + 8, "x", 1));
  ASSERT_TRUE(memory->fill(base + 16, 0, 3));
  EXPECT_EQ(seen, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{base + 8, 1}, {base + 16, 3}}));
}

// A hart that reserves under the observer's lock reads what was there before the device's write or after it, and in the
// first case the write ends the reservation.
TEST(GuestMemory, TheObserversLockIsHeldUntilTheBytesHaveChanged) {
  constexpr std::uint64_t length = 3 * page_size;
  auto memory = make();
  std::mutex lock;
  memory->set_write_observer([&](std::uint64_t, std::uint64_t) { return std::unique_lock(lock); });
  std::thread device([&] {
    for (unsigned round = 0; round < 2000; round++) EXPECT_TRUE(memory->fill(base, std::uint8_t(round), length));
  });
  unsigned torn = 0;
  for (unsigned round = 0; round < 2000; round++) {
    std::lock_guard guard(lock);
    std::uint8_t first, last;
    ASSERT_TRUE(memory->read(base, &first, 1) && memory->read(base + length - 1, &last, 1));
    torn += first != last;
  }
  device.join();
  EXPECT_EQ(torn, 0u);
}

std::string put(const std::vector<iovec>& pieces, char byte) {
  for (const auto& piece : pieces) std::memset(piece.iov_base, byte, piece.iov_len);
  return std::string(1, byte);
}

// A transfer goes on during a fork: its bytes are the parent's, the copy has what was there, to any depth.
TEST(GuestMemory, AForkLeavesPinnedPagesToTheParent) {
  auto memory = make();
  ASSERT_TRUE(memory->fill(base, 'a', 3 * page_size));
  PinnedSpans pinned, again;
  std::vector<iovec> pieces, others;
  const std::vector<GuestSpan> spans = {{base + 100, 2 * page_size}};
  ASSERT_TRUE(memory->pin(spans, pinned, pieces));
  ASSERT_TRUE(memory->pin(spans, again, others));
  put(pieces, 'b');
  const auto first = GuestMemory::create(memory->freeze());
  put(pieces, 'c');
  const auto second = GuestMemory::create(memory->freeze());
  put(pieces, 'd');
  EXPECT_EQ(text_at(*memory, base + 100, 1), "d");
  EXPECT_EQ(text_at(*first, base + 100, 1), "b");
  EXPECT_EQ(text_at(*second, base + 100, 1), "c");
  EXPECT_EQ(text_at(*second, base + 100 + 2 * page_size - 1, 2), "ca");
  pinned.release();
  again.release();
  const auto third = GuestMemory::create(memory->freeze());
  ASSERT_TRUE(memory->fill(base, 'e', page_size));
  EXPECT_EQ(text_at(*third, base + 100, 1), "d");
  EXPECT_EQ(text_at(*third, base + 99, 1), "a");
}

// What a transfer wrote is dirty and, where code was translated from it meanwhile, written code.
TEST(GuestMemory, ATransferWritesWhenItEnds) {
  auto memory = make();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> told;
  memory->set_write_observer([&](std::uint64_t address, std::uint64_t length) {
    told.emplace_back(address, length);
    return std::unique_lock<std::mutex>();
  });
  PinnedSpans pinned;
  std::vector<iovec> pieces;
  const std::vector<GuestSpan> spans = {{base + page_size, page_size}, {base + 2 * page_size, 8}, {base, 8}};
  ASSERT_TRUE(memory->pin(spans, pinned, pieces));
  EXPECT_EQ(pieces.size(), 2u) << "what lies together is one piece";
  memory->clear_dirty();
  memory->mark_code(base + page_size);
  EXPECT_TRUE(told.empty());
  pinned.release();
  EXPECT_EQ(told.size(), 3u);
  EXPECT_EQ(memory->dirty_pages().size(), 3u);
  EXPECT_EQ(memory->take_written_code(), std::vector<std::uint64_t>{base + page_size});
  pinned.release();  // once only
  EXPECT_EQ(told.size(), 3u);
}

TEST(GuestMemory, PinsAndFindsNothingOutsideOfRam) {
  auto memory = make(page_size);
  PinnedSpans pinned;
  std::vector<iovec> pieces;
  const std::vector<GuestSpan> spans = {{base, 8}, {base + page_size - 8, 9}};
  EXPECT_FALSE(memory->pin(spans, pinned, pieces));
  EXPECT_FALSE(memory->find_bytes(spans, pieces));
  EXPECT_TRUE(pieces.empty());
  EXPECT_TRUE(memory->dirty_pages().empty());
}

bool resident(const std::byte* page) {
  unsigned char there = 0;
  const auto at = reinterpret_cast<std::uintptr_t>(page) & ~(page_size - 1);
  return ::mincore(reinterpret_cast<void*>(at), page_size, &there) == 0 && (there & 1);
}

// The guest's free pages are the host's: in a memory that was never forked, and in one that was.
TEST(GuestMemory, GivesBackWhatIsDiscarded) {
  auto memory = make();
  const std::vector<GuestSpan> spans = {{base + 100, 3 * page_size}, {base + 8 * page_size, 2 * page_size}};
  for (const bool forked : {false, true}) {
    if (forked) memory->freeze();
    ASSERT_TRUE(memory->fill(base, 'a', 16 * page_size));
    std::vector<const std::byte*> before;
    for (unsigned page = 0; page < 16; page++) before.push_back(memory->page_for_read(base + page * page_size));
    ASSERT_TRUE(memory->discard(spans));
    for (unsigned page = 0; page < 16; page++) {
      const bool whole = page == 1 || page == 2 || page == 8 || page == 9;
      EXPECT_EQ(text_at(*memory, base + page * page_size, 1)[0], whole ? '\0' : 'a') << page;
      if (forked) EXPECT_EQ(resident(before[page]), !whole) << page;
    }
    for (const unsigned page : {1, 9}) {
      ASSERT_TRUE(memory->fill(base + page * page_size + 7, 'b', 1));
      EXPECT_EQ(text_at(*memory, base + page * page_size, 9), std::string("\0\0\0\0\0\0\0b\0", 9));
    }
  }
}

TEST(GuestMemory, UsesAgainWhatWasDiscarded) {
  auto memory = make();
  memory->freeze();
  std::set<const std::byte*> places;
  for (unsigned round = 0; round < 1000; round++) {
    ASSERT_TRUE(memory->fill(base, 'a', page_size));
    places.insert(memory->page_for_read(base));
    const GuestSpan span{base, page_size};
    ASSERT_TRUE(memory->discard({&span, 1}));
  }
  EXPECT_LE(places.size(), 2u);
}

TEST(GuestMemory, DiscardsNothingWhenNotAllIsRam) {
  auto memory = make(2 * page_size);
  ASSERT_TRUE(memory->fill(base, 'a', 2 * page_size));
  const std::vector<GuestSpan> spans = {{base, page_size}, {base + page_size, 2 * page_size}};
  EXPECT_FALSE(memory->discard(spans));
  EXPECT_EQ(text_at(*memory, base, 1), "a");
}

// Whoever looked a page up has forgotten it before its place is used for something else.
TEST(GuestMemory, HasAllStandStillToDiscard) {
  auto memory = make();
  unsigned calls = 0;
  memory->set_standstill([&](const std::function<void()>& action) { calls++, action(); });
  const GuestSpan span{base, 4 * page_size};
  ASSERT_TRUE(memory->fill(base, 'a', span.length));
  ASSERT_TRUE(memory->discard({&span, 1}));
  EXPECT_EQ(calls, 0u) << "where no page changes its place, nobody need know";
  memory->freeze();
  ASSERT_TRUE(memory->fill(base, 'a', span.length));
  ASSERT_TRUE(memory->discard({&span, 1}));
  EXPECT_EQ(calls, 1u);
  EXPECT_EQ(text_at(*memory, base, 1)[0], '\0');
}

// Code that is discarded is not executed from its translation.
TEST(GuestMemory, TellsOfDiscardedCode) {
  for (const bool forked : {false, true}) {
    auto memory = make();
    ASSERT_TRUE(memory->fill(base, 'a', 4 * page_size));
    if (forked) memory->freeze();
    memory->mark_code(base + page_size);
    const GuestSpan span{base, 4 * page_size};
    ASSERT_TRUE(memory->discard({&span, 1}));
    EXPECT_EQ(memory->take_written_code(), std::vector<std::uint64_t>{base + page_size});
  }
}

// A transfer that ends behind it has nowhere to write to, and does no harm.
TEST(GuestMemory, DiscardsWhatIsPinned) {
  auto memory = make();
  memory->freeze();
  PinnedSpans pinned;
  std::vector<iovec> pieces;
  const GuestSpan span{base, page_size};
  ASSERT_TRUE(memory->pin({&span, 1}, pinned, pieces));
  ASSERT_TRUE(memory->discard({&span, 1}));
  const auto image = memory->freeze();
  std::memset(pieces[0].iov_base, 'x', pieces[0].iov_len);
  EXPECT_EQ(*image.page(0), std::byte{0});
  pinned.release();
  EXPECT_EQ(text_at(*memory, base, 1)[0], '\0');
}

// What was discarded need not be written to a snapshot.
TEST(MemoryImages, DoNotHoldWhatWasDiscarded) {
  auto memory = make();
  memory->freeze();
  ASSERT_TRUE(memory->fill(base, 'a', 4 * page_size));
  memory->freeze();
  const GuestSpan span{base + page_size, 2 * page_size};
  ASSERT_TRUE(memory->discard({&span, 1}));
  EXPECT_EQ(memory->freeze().held(), (std::vector<std::uint32_t>{0, 3}));
}

}  // namespace
}  // namespace doppel
