// The ways from a guest's page or a code's address to a translation: what is lost here is translated again and again,
// or runs after it was changed.
#include "engine/translation_table.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using Key = TranslationKey;

class TranslationTableTest : public testing::Test {
 protected:
  const std::byte* add(const Key& key, unsigned bytes = 16) {
    const auto* code = code_.data() + used_;
    const std::byte source[4] = {};
    all_.add(key, {code, bytes}, {}, source);
    table_.add(key, code);
    used_ += (bytes + 15) / 16 * 16;
    return code;
  }
  static Key key(std::uint64_t physical, std::uint64_t behind = 0) { return {physical, behind, {.privilege = 1}}; }

  std::vector<std::byte> code_ = std::vector<std::byte>(1 << 20);
  std::size_t used_ = 0;
  Translations all_{code_};
  TranslationTable table_{16};
};

// Nothing is dropped because there is much of it, and what is gone leaves the others where they are found.
TEST_F(TranslationTableTest, EverythingIsFoundUntilItIsRemoved) {
  constexpr unsigned count = 20'000;
  std::vector<const std::byte*> code;
  for (unsigned n = 0; n < count; n++) code.push_back(add(key(0x8000'0000 + 2 * n)));
  table_.drop_old();
  for (unsigned n = 0; n < count; n += 3) table_.remove(key(0x8000'0000 + 2 * n), code[n]);
  for (unsigned n = 0; n < count; n++)
    ASSERT_EQ(table_.find(key(0x8000'0000 + 2 * n), all_), n % 3 == 0 ? nullptr : code[n]) << n;
  for (unsigned n = 0; n < count; n += 3) table_.add(key(0x8000'0000 + 2 * n), code[n]);
  for (unsigned n = 0; n < count; n++) ASSERT_EQ(table_.find(key(0x8000'0000 + 2 * n), all_), code[n]) << n;
  table_.clear();
  EXPECT_EQ(table_.find(key(0x8000'0000), all_), nullptr);
}

// The same bytes in another mode, or with another page behind them, are other code.
TEST_F(TranslationTableTest, AllOfTheKeyCounts) {
  const auto plain = key(0x8000'0ffe), crossing = key(0x8000'0ffe, 0x8000'5000), other = key(0x8000'0ffe, 0x8000'9000);
  auto user = plain;
  user.mode.privilege = 0;
  const auto* first = add(plain);
  EXPECT_EQ(table_.find(crossing, all_), nullptr);
  EXPECT_EQ(table_.find(user, all_), nullptr);
  const auto* second = add(crossing);
  EXPECT_EQ(table_.find(plain, all_), first);
  EXPECT_EQ(table_.find(crossing, all_), second);
  EXPECT_EQ(table_.find(other, all_), nullptr);
}

TEST_F(TranslationTableTest, CodeIsKnownByEachOfItsBytes) {
  const auto* small = add(key(0x8000'0000), 9);
  const auto* large = add(key(0x8000'1000), 1000);
  const auto* last = add(key(0x8000'2000), 16);
  EXPECT_EQ(all_.at(small + 8)->code, small);
  EXPECT_EQ(all_.at(large)->code, large);
  EXPECT_EQ(all_.at(large + 999)->code, large);
  EXPECT_EQ(all_.at(last + 15)->code, last);
  EXPECT_EQ(&all_.of(last), all_.at(last));
  all_.clear();
  EXPECT_EQ(all_.at(small), nullptr);
}

// A write to either page of an instruction on two must find it, and one that is gone must not be found twice.
TEST_F(TranslationTableTest, PagesListWhatLiesInThem) {
  add(key(0x8000'0010));
  const auto* crossing = add(key(0x8000'0ffe, 0x8000'5000));
  add(key(0x8000'5010));
  const auto on = [&](std::uint64_t page) {
    unsigned count = 0;
    for (const auto* t = all_.first_of(page); t; t = Translations::next(*t, page)) count++;
    return count;
  };
  EXPECT_EQ(on(0x8000'0000), 2u);
  EXPECT_EQ(on(0x8000'5000), 2u);
  all_.remove_from_pages(all_.of(crossing));
  EXPECT_EQ(on(0x8000'0000), 1u);
  EXPECT_EQ(on(0x8000'5000), 1u);
  EXPECT_EQ(on(0x8000'1000), 0u);
}

}  // namespace
}  // namespace doppel
