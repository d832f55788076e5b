// What a hart keeps of its address spaces must be gone when the guest says so, and should stay otherwise.
#include "guest/riscv64/address_view.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace doppel::riscv64 {
namespace {

constexpr std::uint64_t kernel = 0xffff'ffd6'0000'0000, user = 0x3f'8000'0000;
constexpr unsigned page_bits = 12, large_bits = 21;

void fill(Tlb& tlb, std::uint64_t address, unsigned leaf_bits) {
  tlb.note(address, leaf_bits);
  tlb.at(address) = {};
  tlb.at(address).load = address & ~page_mask;
  tlb.physical_at(address) = 0x8000'0000 | leaf_bits;
}
bool holds(Tlb& tlb, std::uint64_t address) { return tlb.at(address).load == (address & ~page_mask); }

class AddressViewTest : public testing::Test {
 protected:
  std::unique_ptr<AddressView> view_ = std::make_unique<AddressView>();
  std::mt19937_64 random_{1};
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
};

// However much was filled since: a flush leaves nothing, and a table that was flushed fills again.
TEST_F(AddressViewTest, NothingSurvivesAFlush) {
  for (const unsigned count : {1u, 100u, 5000u, 70'000u, 3u}) {
    for (unsigned n = 0; n < count; n++) {
      fill(view_->tlb, user + n * page_size, page_bits);
      view_->code(0).add(user + n * 6, this, page_bits);
    }
    view_->flush();
    for (const auto& entry : view_->tlb.entry) ASSERT_EQ(Tlb::page(entry), Tlb::none);
    for (unsigned n = 0; n < ir::code_jumps; n++) ASSERT_EQ(view_->code(0).data()[n].address, 1u);
  }
}

// The flush of one address takes all of the leaf that maps it, whatever else is there.
TEST_F(AddressViewTest, AFlushedLeafIsGone) {
  for (unsigned round = 0; round < 300; round++) {
    // Some of these share places.
    std::vector<std::pair<std::uint64_t, unsigned>> filled;
    const auto count = 1 + below(round % 3 == 0 ? 3000 : 60);
    for (unsigned n = 0; n < count; n++) {
      const bool large = below(4) == 0;
      const auto address =
          (below(2) ? kernel : user) + (large ? below(64) << 19 : below(1 << 15) << 12) + below(2048) * 2;
      // A region is mapped by one large leaf or by pages.
      const auto leaf = (address >> large_bits) % 3 == 0 ? large_bits : page_bits;
      filled.emplace_back(address, leaf);
      fill(view_->tlb, address, leaf);
      view_->code(0).add(address, this, leaf);
    }
    for (unsigned n = 0; n < 20; n++) {
      const auto [at, leaf] = filled[below(filled.size())];
      view_->flush_page(at);
      for (const auto& [address, bits] : filled) {
        if ((address ^ at) >> leaf != 0) continue;
        ASSERT_FALSE(holds(view_->tlb, address));
        ASSERT_NE(view_->code(0).at(address).address, address);
      }
    }
    view_->flush();
  }
}

// A kernel maps all memory by large leaves and flushes pages of a process one by one, at each fault: what the process
// has else, and what the kernel has, must not be looked up anew.
TEST_F(AddressViewTest, LargeLeavesOfTheKernelDoNotSpreadFlushesOfPages) {
  constexpr auto text = kernel + 0x40;
  for (unsigned n = 0; n < 1024; n++)
    fill(view_->tlb, kernel + (std::uint64_t(n) << large_bits) + n * page_size, large_bits);
  view_->code(0).add(text, this, large_bits);
  view_->code(0).add(user, this, page_bits);
  for (unsigned n = 1; n < 1000; n++) view_->flush_page(user + n * page_size);
  EXPECT_EQ(view_->code(0).at(user).address, user);
  EXPECT_EQ(view_->code(0).at(text).address, text);
  view_->flush_page(user);
  EXPECT_NE(view_->code(0).at(user).address, user);
  EXPECT_EQ(view_->code(0).at(text).address, text);
}

// The second half of an instruction may be what is mapped anew.
TEST_F(AddressViewTest, CodeThatReachesIntoAPageGoesWithIt) {
  view_->code(0).add(user - 2, this, page_bits);
  view_->code(0).depends_on(user, page_bits);
  view_->flush_page(user);
  EXPECT_NE(view_->code(0).at(user - 2).address, user - 2);
}

}  // namespace
}  // namespace doppel::riscv64
