// Where a hart has looked up shared pages: what is forgotten is that page's entries, all of them and no other's, or it
// is said that they are not known.
#include "guest/riscv64/page_lookups.h"

#include <gtest/gtest.h>

#include <memory>

namespace doppel::riscv64 {
namespace {

constexpr std::uint64_t ram = 0x8000'0000;

class Lookups : public testing::Test {
 protected:
  /// As a hart fills its TLB.
  void look_up(std::uint64_t physical, std::uint64_t address, Tlb& tlb) {
    lookups_.add(physical, tlb, Tlb::index(address));
    tlb.at(address) = {};
    tlb.at(address).load = address;
    tlb.physical_at(address) = physical | page_shift;
  }
  static bool known(Tlb& tlb, std::uint64_t address) { return Tlb::page(tlb.at(address)) == address; }

  std::unique_ptr<Tlb> data_ = std::make_unique<Tlb>(), fetch_ = std::make_unique<Tlb>();
  PageLookups lookups_;
};

TEST_F(Lookups, ForgetAllEntriesOfAPageAndNoOthers) {
  look_up(ram, 0x1000, *data_), look_up(ram, 0x5000, *data_), look_up(ram, 0x1000, *fetch_);
  look_up(ram + page_size, 0x2000, *data_);
  EXPECT_TRUE(lookups_.forget(ram));
  EXPECT_FALSE(known(*data_, 0x1000));
  EXPECT_FALSE(known(*data_, 0x5000));
  EXPECT_FALSE(known(*fetch_, 0x1000));
  EXPECT_TRUE(known(*data_, 0x2000));
}

TEST_F(Lookups, LeaveAnEntryThatBecameAnotherPages) {
  look_up(ram, 0x1000, *data_);
  look_up(ram + page_size, 0x1000, *data_);
  EXPECT_TRUE(lookups_.forget(ram));
  EXPECT_TRUE(known(*data_, 0x1000));
  EXPECT_TRUE(lookups_.forget(ram + page_size));
  EXPECT_FALSE(known(*data_, 0x1000));
}

TEST_F(Lookups, OfOneEntryAreAddedOnce) {
  for (unsigned n = 0; n < 100'000; n++) look_up(ram, 0x1000, *data_);
  EXPECT_TRUE(lookups_.forget(ram)) << "the same place again and again does not fill the table";
  EXPECT_FALSE(known(*data_, 0x1000));
}

TEST_F(Lookups, SayWhenThereWereTooMany) {
  std::uint64_t page = 0;
  for (; page < 1 << 20 && lookups_.forget(ram); page++) look_up(ram + page * page_size, page * page_size, *data_);
  ASSERT_LT(page, 1u << 20);
  EXPECT_GT(page, 1000u);
  EXPECT_FALSE(lookups_.forget(ram + page * page_size));
  lookups_.clear();
  EXPECT_TRUE(lookups_.forget(ram));
}

// A page in more entries than are searched for: none of them may stay unseen.
TEST_F(Lookups, SayWhenOnePageIsInTooManyEntries) {
  for (unsigned n = 0; n < 40; n++) look_up(ram, n * page_size, *data_);
  EXPECT_FALSE(lookups_.forget(ram));
}

TEST_F(Lookups, KnowNothingAtFirstAndAfterwards) {
  EXPECT_TRUE(lookups_.forget(ram));
  look_up(ram, 0x1000, *data_);
  lookups_.clear();
  EXPECT_TRUE(lookups_.forget(ram));
  EXPECT_TRUE(known(*data_, 0x1000)) << "who clears has emptied the TLBs himself";
}

}  // namespace
}  // namespace doppel::riscv64
