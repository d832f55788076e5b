// Layers over a source of pages: what a machine is made of that goes on from a snapshot. Only what is looked at is
// brought, several may look at once, and what cannot be had is told and never taken for zeros.
#include "memory/layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "memory/difference.h"
#include "memory/guest_memory.h"

namespace doppel {
namespace {

constexpr std::uint64_t base = 0x80000000, pages = 1024, bytes = pages * page_size;

/// Every third page, filled with its number; some of them cannot be had.
class EveryThird final : public PageSource {
 public:
  std::uint64_t pages() const override { return doppel::pages; }
  bool holds(std::uint64_t page) const override { return page % 3 == 0; }
  const std::byte* bring(std::uint64_t page) override {
    std::lock_guard guard(lock_);
    EXPECT_TRUE(holds(page)) << page;
    if (page >= lost_from) {
      failed_ = true;
      return nullptr;
    }
    auto& bytes = brought_[page];
    if (!bytes) {
      bytes = std::make_unique<std::byte[]>(page_size);
      std::memset(bytes.get(), int(letter(page)), page_size);
    }
    return bytes.get();
  }
  std::string failure() const override {
    std::lock_guard guard(lock_);
    return failed_ && says_why ? "the source has dried up" : "";
  }
  static char letter(std::uint64_t page) { return page % 3 == 0 ? char('a' + page % 26) : '\0'; }
  std::size_t brought() const {
    std::lock_guard guard(lock_);
    return brought_.size();
  }

  std::atomic<std::uint64_t> lost_from = doppel::pages;
  bool says_why = true;

 private:
  mutable std::mutex lock_;
  std::map<std::uint64_t, std::unique_ptr<std::byte[]>> brought_;
  bool failed_ = false;
};

class SourceLayers : public testing::Test {
 protected:
  MemoryImage image() const { return MemoryImage::of(base, bytes, source_); }
  static char first(GuestMemory& memory, std::uint64_t page) {
    return char(*memory.page_for_read(base + page * page_size));
  }
  std::shared_ptr<EveryThird> source_ = std::make_shared<EveryThird>();
};

TEST_F(SourceLayers, BringWhatIsLookedAtAndNothingElse) {
  const auto memory = GuestMemory::create(image());
  EXPECT_EQ(source_->brought(), 0u);
  EXPECT_EQ(first(*memory, 3), 'd');
  EXPECT_EQ(first(*memory, 4), '\0');
  EXPECT_EQ(first(*memory, 3), 'd');
  EXPECT_EQ(source_->brought(), 1u);
  ASSERT_TRUE(memory->write(base + 6 * page_size + 1, "X", 1));
  EXPECT_EQ(first(*memory, 6), 'g') << "what is not written stays";
  EXPECT_EQ(source_->brought(), 2u);
  const auto held = memory->freeze().held();
  EXPECT_EQ(source_->brought(), 2u) << "to know what there is needs no bytes";
  EXPECT_EQ(held.size(), (pages + 2) / 3);
  EXPECT_TRUE(std::ranges::all_of(held, [](auto page) { return page % 3 == 0; }));
}

// Harts and devices look up pages at the same time; each page has one place, whoever brings it.
TEST_F(SourceLayers, AreLookedAtByManyAtOnce) {
  const auto one = image();
  const auto memory = GuestMemory::create(one);
  std::array<std::array<const std::byte*, pages>, 4> seen{};
  std::atomic<unsigned> wrong = 0;
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < seen.size(); n++)
    threads.emplace_back([&, n] {
      for (std::uint64_t k = 0; k < pages; k++) {
        const auto page = n % 2 ? pages - 1 - k : k;
        seen[n][page] = memory->page_for_read(base + page * page_size);
        wrong += char(seen[n][page][17]) != EveryThird::letter(page);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  for (unsigned n = 1; n < seen.size(); n++) EXPECT_EQ(seen[n], seen[0]);
}

// Writers bring too, under the lock that readers do not have.
TEST_F(SourceLayers, AreCopiedFromWhileOthersRead) {
  const auto memory = GuestMemory::create(image());
  std::thread writer([&] {
    for (std::uint64_t page = 0; page < pages; page += 2) EXPECT_TRUE(memory->fill(base + page * page_size, 'W', 1));
  });
  for (std::uint64_t page = pages; page-- > 0;)
    if (page % 2 == 1) EXPECT_EQ(first(*memory, page), EveryThird::letter(page));
  writer.join();
  for (std::uint64_t page = 0; page < pages; page += 2) {
    EXPECT_EQ(first(*memory, page), 'W');
    EXPECT_EQ(char(memory->page_for_read(base + page * page_size)[1]), EveryThird::letter(page));
  }
}

TEST_F(SourceLayers, TellOnceThatAPageIsLost) {
  source_->lost_from = 600;
  const auto memory = GuestMemory::create(image());
  std::vector<std::string> told;
  memory->set_loss_observer([&](const std::string& sentence) { told.push_back(sentence); });
  EXPECT_EQ(first(*memory, 597), EveryThird::letter(597));
  EXPECT_EQ(first(*memory, 601), '\0') << "a page that the source never had is not lost";
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(memory->page_for_read(base + 600 * page_size), lost_page);
  ASSERT_TRUE(memory->fill(base + 603 * page_size, 'x', 1));
  EXPECT_EQ(told, std::vector<std::string>{"the source has dried up"});
  EXPECT_EQ(memory->freeze().failure(), "the source has dried up");
}

TEST_F(SourceLayers, TellOfALossThatNobodyExplains) {
  source_->lost_from = 0, source_->says_why = false;
  const auto memory = GuestMemory::create(image());
  unsigned told = 0;
  memory->set_loss_observer([&](const std::string& sentence) { told += !sentence.empty(); });
  first(*memory, 0);
  EXPECT_EQ(told, 1u);
}

// A worker's memory becomes one machine's after another's: the loss of one is not that of the next, which has its own.
TEST_F(SourceLayers, TellAgainOfWhatIsAdopted) {
  source_->lost_from = 0;
  const auto memory = GuestMemory::create(image());
  unsigned told = 0;
  memory->set_loss_observer([&](const std::string&) { told++; });
  first(*memory, 0);
  memory->adopt(MemoryImage::of(base, bytes, std::make_shared<EveryThird>()));
  EXPECT_EQ(first(*memory, 3), 'd');
  EXPECT_EQ(told, 1u);
  memory->adopt(image());
  first(*memory, 3);
  EXPECT_EQ(told, 2u);
}

// Whoever finds a page missing goes on with zeros, and must not before the machine has been stopped from telling any.
TEST_F(SourceLayers, LetNobodyGoOnBeforeTheLossIsTold) {
  source_->lost_from = 0;
  const auto memory = GuestMemory::create(image());
  std::atomic<bool> told = false;
  memory->set_loss_observer([&](const std::string&) {
    for (unsigned n = 0; n < 1000; n++) std::this_thread::yield();
    told = true;
  });
  std::vector<std::thread> threads;
  std::atomic<unsigned> early = 0;
  for (unsigned n = 0; n < 4; n++)
    threads.emplace_back([&, n] {
      first(*memory, 3 * n);
      early += !told;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(early, 0u);
}

TEST_F(SourceLayers, FreezeAndGoBack) {
  const auto origin = image();
  const auto memory = GuestMemory::create(origin);
  const auto hash = memory->hash();
  ASSERT_TRUE(memory->fill(base + 3 * page_size, 'x', page_size));
  const auto changed = memory->freeze();
  ASSERT_TRUE(memory->fill(base + 4 * page_size, 'y', page_size));
  EXPECT_EQ(first(*GuestMemory::create(changed), 4), '\0');
  memory->adopt(origin);
  EXPECT_EQ(first(*memory, 3), 'd');
  EXPECT_EQ(first(*memory, 4), '\0');
  EXPECT_EQ(memory->hash(), hash);
  memory->adopt(changed);
  EXPECT_EQ(first(*memory, 3), 'x');
  EXPECT_NE(memory->hash(), hash);
}

// However often it is frozen: what lies over the source may become one layer, the source's own stays what it is.
TEST_F(SourceLayers, StayAtTheBottomOfManyFreezes) {
  const auto memory = GuestMemory::create(image());
  for (std::uint64_t page = 0; page < 200; page++) {
    ASSERT_TRUE(memory->fill(base + page * page_size, 'z', 1));
    static_cast<void>(memory->freeze());
  }
  EXPECT_EQ(source_->brought(), 67u);
  for (std::uint64_t page = 0; page < pages; page++)
    ASSERT_EQ(first(*memory, page), page < 200 ? 'z' : EveryThird::letter(page)) << page;
}

TEST_F(SourceLayers, DifferByWhatWasWritten) {
  const auto origin = image();
  const auto memory = GuestMemory::create(origin);
  ASSERT_TRUE(memory->fill(base + 5 * page_size + 8, 'x', 16));
  const auto changed = memory->freeze();
  const auto packed = pack_difference(changed, origin);
  EXPECT_LT(packed.size(), 200u);
  EXPECT_LE(source_->brought(), 1u);
  const auto again = GuestMemory::create(origin);
  ASSERT_TRUE(apply_difference(packed, *again));
  EXPECT_EQ(again->hash(), memory->hash());
}

// Code that was translated from a page of the source counts as another's where another memory has other bytes there.
TEST_F(SourceLayers, TellWhichCodeMayBeAnother) {
  const auto memory = GuestMemory::create(image());
  memory->mark_code(base + 3 * page_size), memory->mark_code(base + 4 * page_size);
  memory->adopt(MemoryImage::of(base, bytes, std::make_shared<EveryThird>()));
  EXPECT_EQ(memory->take_written_code(), std::vector<std::uint64_t>{base + 3 * page_size});
  EXPECT_TRUE(memory->holds_code(base + 4 * page_size)) << "zeros in both";
}

// Whoever replaces a page asks who may still read the old one; that is forgotten with every freeze.
TEST_F(SourceLayers, KnowTheReadersOfAPageUntilTheNextFreeze) {
  const auto memory = GuestMemory::create(image());
  EXPECT_EQ(memory->readers(base), 0u);
  memory->note_reader(base, 0), memory->note_reader(base, 31);
  EXPECT_EQ(memory->readers(base), 0x8000'0001u);
  EXPECT_EQ(memory->readers(base + page_size), 0u);
  ASSERT_TRUE(memory->fill(base, 'x', 1));
  EXPECT_EQ(memory->readers(base), 0x8000'0001u);
  static_cast<void>(memory->freeze());
  EXPECT_EQ(memory->readers(base), 0u);
  memory->note_reader(base, 5);
  EXPECT_EQ(memory->readers(base), 1u << 5);
}

}  // namespace
}  // namespace doppel
