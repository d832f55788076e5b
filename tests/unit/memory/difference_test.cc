// Differences of memories: what is packed comes out again, small, and nothing else does.
#include "memory/difference.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace doppel {
namespace {

constexpr std::uint64_t base = 0x8000'0000, pages = 64;

std::unique_ptr<GuestMemory> make() {
  auto memory = std::move(GuestMemory::create(base, pages * page_size)).value();
  std::mt19937_64 random(1);
  for (std::uint64_t at = 0; at < pages * page_size; at += 8) {
    const auto word = random();
    EXPECT_TRUE(memory->write(base + at, &word, sizeof word));
  }
  return memory;
}

/// What a memory holds that had `image` and then took the difference.
std::uint64_t hash_with(const MemoryImage& image, std::span<const std::byte> difference) {
  const auto memory = GuestMemory::create(image);
  const auto applied = apply_difference(difference, *memory);
  EXPECT_TRUE(applied) << applied.message();
  return memory->hash();
}

TEST(Difference, MakesOneMemoryOfTheOther) {
  const auto memory = make();
  const auto before = memory->freeze();
  std::mt19937_64 random(2);
  for (unsigned round = 0; round < 300; round++) {
    memory->adopt(before);
    for (auto writes = random() % 20; writes > 0; writes--) {
      const auto length = random() % 3 ? 1 + random() % 16 : 1 + random() % 6000;
      const auto at = random() % (pages * page_size - length);
      ASSERT_TRUE(memory->fill(base + at, std::uint8_t(random()), length));
    }
    const auto after = memory->freeze();
    ASSERT_EQ(hash_with(before, pack_difference(after, before)), memory->hash()) << round;
    ASSERT_EQ(hash_with(after, pack_difference(before, after)), GuestMemory::create(before)->hash()) << round;
  }
}

TEST(Difference, OfMemoriesThatHaveNothingTogetherIsThatOfTheirBytes) {
  const auto one = make(), two = make();
  ASSERT_TRUE(two->fill(base + 5 * page_size + 1, 7, 3));
  const auto first = one->freeze(), second = two->freeze();
  const auto difference = pack_difference(second, first);
  EXPECT_LT(difference.size(), 32u);
  EXPECT_EQ(hash_with(first, difference), two->hash());
}

// A machine that idles writes a few words in some dozen pages: the arithmetic of a million of them.
TEST(Difference, CostsWhatChanged) {
  const auto memory = make();
  const auto before = memory->freeze();
  EXPECT_LE(pack_difference(before, before).size(), 2u);
  std::mt19937_64 random(3);
  for (unsigned page = 0; page < 40; page++)
    for (unsigned write = 0; write < 4; write++) {
      const auto word = random();
      ASSERT_TRUE(memory->write(base + page * page_size + random() % 511 * 8, &word, sizeof word));
    }
  EXPECT_LT(pack_difference(memory->freeze(), before).size(), 40 * (4 * (8 + 3) + 3));
  // What was written with what is there already is no difference.
  memory->adopt(before);
  std::vector<std::byte> all(pages * page_size);
  ASSERT_TRUE(memory->read(base, all.data(), all.size()) && memory->write(base, all.data(), all.size()));
  EXPECT_EQ(memory->private_pages(), pages);
  EXPECT_LE(pack_difference(memory->freeze(), before).size(), 2u);
}

// They come from files that anybody may have written to.
TEST(Difference, ThatIsDamagedWritesNothingOutside) {
  const auto memory = make();
  const auto before = memory->freeze();
  for (unsigned page = 0; page < pages; page += 3) ASSERT_TRUE(memory->fill(base + page * page_size + page, 1, 100));
  const auto whole = pack_difference(memory->freeze(), before);
  for (std::size_t length = 0; length < whole.size(); length++)
    EXPECT_FALSE(apply_difference(std::span(whole).first(length), *GuestMemory::create(before))) << length;
  std::mt19937_64 random(4);
  for (unsigned round = 0; round < 3000; round++) {
    auto damaged = whole;
    for (auto changes = 1 + random() % 3; changes > 0; changes--)
      damaged[random() % damaged.size()] = std::byte(random());
    static_cast<void>(apply_difference(damaged, *GuestMemory::create(before)));
    // Without the frame around it.
    std::vector<std::byte> plain(1 + random() % 60);
    for (auto& byte : plain) byte = std::byte(random() % 3 ? random() % 8 : random());
    plain[0] = std::byte{0x7f};
    static_cast<void>(apply_difference(plain, *GuestMemory::create(before)));
  }
}

// Records of one machine are much like those of another.
TEST(Difference, OfBytesThatAreAlikeIsSmall) {
  std::mt19937_64 random(4);
  std::vector<std::byte> like(4000);
  for (auto& byte : like) byte = std::byte(random());
  auto bytes = like;
  bytes[100] = std::byte{1}, bytes[3000] = std::byte{2};
  bytes.insert(bytes.begin() + 2000, 10, std::byte{3});
  const auto packed = pack_bytes(bytes, like);
  EXPECT_LT(packed.size(), 100u);
  const auto unpacked = unpack_bytes(packed, like);
  ASSERT_TRUE(unpacked) << unpacked.message();
  EXPECT_EQ(*unpacked, bytes);
  for (std::size_t length = 0; length < packed.size(); length++)
    EXPECT_FALSE(unpack_bytes(std::span(packed).first(length), like)) << length;
  EXPECT_TRUE(unpack_bytes(pack_bytes({}, like), like)->empty());
}

}  // namespace
}  // namespace doppel
