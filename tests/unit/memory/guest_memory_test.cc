#include "memory/guest_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
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
  auto child = parent->fork();
  ASSERT_TRUE(child->write(base, "child!", 6));
  auto grandchild = child->fork();
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
  auto child = parent->fork();
  EXPECT_EQ(child->private_pages(), 0u);
  ASSERT_TRUE(child->fill(base + 100, 7, 1));
  ASSERT_TRUE(child->fill(base + 200, 7, 1));
  EXPECT_EQ(child->private_pages(), 1u);
}

TEST(GuestMemory, HashDependsOnContentsOnly) {
  auto a = make();
  auto b = make();
  ASSERT_TRUE(a->write(base + 5000, "same", 4));
  auto forked = b->fork();
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
  memory->page_for_write(base + 3 * page_size);
  EXPECT_EQ(memory->dirty_pages(), (std::vector<std::uint64_t>{base + 3 * page_size}));
}

// Whoever holds a page pointer must be able to tell that a copy on write replaced the page.
TEST(GuestMemory, GenerationTellsOfReplacedPages) {
  auto parent = make();
  auto child = parent->fork();
  const auto before = child->generation();
  const auto* shared = child->page_for_read(base);
  EXPECT_NE(child->page_for_write(base), shared);
  EXPECT_NE(child->generation(), before);
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
  const auto first = memory->fork();
  put(pieces, 'c');
  const auto second = memory->fork();
  put(pieces, 'd');
  EXPECT_EQ(text_at(*memory, base + 100, 1), "d");
  EXPECT_EQ(text_at(*first, base + 100, 1), "b");
  EXPECT_EQ(text_at(*second, base + 100, 1), "c");
  EXPECT_EQ(text_at(*second, base + 100 + 2 * page_size - 1, 2), "ca");
  pinned.release();
  again.release();
  const auto third = memory->fork();
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

}  // namespace
}  // namespace doppel
