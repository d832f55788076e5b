#include "storage/overlay.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

#include <cstring>
#include <thread>

#include "unit/storage/scratch.h"

namespace doppel {
namespace {

/// A qcow2 of `size` bytes with something everywhere, and its content.
Bytes make_image(const Scratch& scratch, std::size_t size) {
  const Bytes content = pattern(size, 42);
  write_file(scratch.path("raw"), content);
  EXPECT_EQ(scratch.run("qemu-img convert -f raw -O qcow2 raw image"), 0) << scratch.log();
  return content;
}

TEST(Overlay, KeepsAQcow2sWritesBesideItAndLeavesTheImageAlone) {
  const Scratch scratch;
  Bytes expected = make_image(scratch, 1 << 20);
  const Bytes before = read_file(scratch.path("image")), data = pattern(3000, 1);
  {
    auto disk = must_open(spec_of(scratch.path("image")));
    ASSERT_EQ(disk->format(), "overlay");
    ASSERT_TRUE(disk->write(5000, data).ok());
    std::copy(data.begin(), data.end(), expected.begin() + 5000);
    EXPECT_EQ(must_read(*disk, 0, disk->size()), expected);
  }
  EXPECT_EQ(read_file(scratch.path("image")), before);
  for (const DiskSpec& spec : {spec_of(scratch.path("image")), spec_of(scratch.path("image"), "ro"),
                               spec_of(scratch.path("image"), "snapshot"), spec_of(scratch.path("image.overlay"))}) {
    auto disk = must_open(spec);
    ASSERT_TRUE(disk);
    EXPECT_EQ(must_read(*disk, 0, disk->size()), expected) << "every way to open it shows what was written";
  }
}

TEST(Overlay, SnapshotsLeaveNothingBehind) {
  const Scratch scratch;
  const Bytes content = make_image(scratch, 1 << 20);
  for (const char* name : {"image", "raw"}) {
    {
      auto disk = must_open(spec_of(scratch.path(name), "snapshot"));
      ASSERT_FALSE(disk->read_only());
      ASSERT_TRUE(disk->write(0, pattern(70000, 2)).ok());
      ASSERT_TRUE(disk->flush().ok());
      EXPECT_EQ(must_read(*disk, 0, 70000), pattern(70000, 2));
    }
    auto disk = must_open(spec_of(scratch.path(name), "ro"));
    EXPECT_EQ(must_read(*disk, 0, disk->size()), content);
    EXPECT_FALSE(std::filesystem::exists(scratch.path(std::string(name) + ".overlay")));
  }
}

TEST(Overlay, IsSparse) {
  const Scratch scratch;
  RUN(scratch, "qemu-img create -f qcow2 image 100G");
  auto disk = must_open(spec_of(scratch.path("image")));
  ASSERT_TRUE(disk->write(99ULL << 30, pattern(4096, 3)).ok());
  ASSERT_TRUE(disk->flush().ok());
  struct stat status{};
  ASSERT_EQ(stat(scratch.path("image.overlay").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 200 << 10);
}

TEST(Overlay, AChangedImageIsRefusedBecauseTheTwoWouldNotFit) {
  const Scratch scratch;
  make_image(scratch, 1 << 20);
  ASSERT_TRUE(must_open(spec_of(scratch.path("image"))));
  RUN(scratch, "qemu-io -f qcow2 -c 'write -P 1 0 512' image");
  expect_refused(spec_of(scratch.path("image")), "has changed since its overlay");
  expect_refused(spec_of(scratch.path("image.overlay")), "has changed since its overlay");
}

TEST(Overlay, ASecondWriterIsRefused) {
  const Scratch scratch;
  make_image(scratch, 1 << 20);
  auto disk = must_open(spec_of(scratch.path("image")));
  expect_refused(spec_of(scratch.path("image")), "another program");
}

TEST(Overlay, DamageIsOneSentence) {
  const Scratch scratch;
  make_image(scratch, 1 << 20);
  {
    auto disk = must_open(spec_of(scratch.path("image")));
    for (int i = 0; i < 2; i++) {  // so that both slots of the map's page are in use
      ASSERT_TRUE(disk->write(i * 4096, pattern(4096, 3)).ok());
      ASSERT_TRUE(disk->flush().ok());
    }
  }
  const Bytes good = read_file(scratch.path("image.overlay"));
  const auto damaged = [&](auto change, const char* says) {
    Bytes bad = good;
    change(bad);
    write_file(scratch.path("image.overlay"), bad);
    expect_refused(spec_of(scratch.path("image")), says);
  };
  damaged([](Bytes& b) { b.resize(100); }, "not an overlay");
  damaged([](Bytes& b) { b[20] ^= std::byte{1}; }, "checksum");
  damaged([](Bytes& b) { b[8] = std::byte{9}; }, "version 9");
  damaged([](Bytes& b) { b.resize(b.size() - 4096); }, "shorter");
  damaged([](Bytes& b) { b[4096 + 100] ^= std::byte{1}, b[8192 + 100] ^= std::byte{1}; }, "block map");
  write_file(scratch.path("image.overlay"), good);
  EXPECT_TRUE(must_open(spec_of(scratch.path("image"))));
}

// Anything a guest may do, in any alignment, must read back as from an array of bytes, also after closing and opening.
TEST(Overlay, RandomRequestsBehaveLikeAnArrayOfBytes) {
  const Scratch scratch;
  Bytes model = make_image(scratch, (300 << 10) + 512);
  std::mt19937 random(11);
  for (int round = 0; round < 8; round++) {
    auto disk = must_open(spec_of(scratch.path("image")));
    for (int i = 0; i < 150; i++) {
      const std::uint64_t at = random() % model.size();
      const std::uint64_t length = 1 + random() % std::min<std::uint64_t>(model.size() - at, 1 << (random() % 16));
      const auto range = std::span(model).subspan(at, length);
      switch (random() % 5) {
        case 0:
          ASSERT_TRUE(disk->write_zeroes(at, length, random() % 2).ok());
          std::ranges::fill(range, std::byte{0});
          break;
        case 1:
          ASSERT_TRUE(disk->flush().ok());
          break;
        case 2: {
          ASSERT_TRUE(disk->discard(at, length).ok());
          const Bytes now = must_read(*disk, at, length);
          for (std::size_t k = 0; k < length; k++) ASSERT_TRUE(now[k] == range[k] || now[k] == std::byte{0});
          std::ranges::copy(now, range.begin());
          break;
        }
        default: {
          const Bytes data = pattern(length, random());
          ASSERT_TRUE(disk->write(at, data).ok());
          std::ranges::copy(data, range.begin());
        }
      }
    }
    ASSERT_EQ(must_read(*disk, 0, model.size()), model);
  }
}

// Two threads that each write one half of the same blocks: a block completed from the image with the other's half still
// old would lose that half.
TEST(Overlay, WritersOfOneBlockDoNotLoseEachOthersSectors) {
  const Scratch scratch;
  const std::size_t size = 4 << 20;
  make_image(scratch, size);
  auto disk = must_open(spec_of(scratch.path("image"), "snapshot"));
  const auto half = [&](unsigned which) {
    const Bytes data(2048, std::byte(which + 1));
    for (std::size_t at = which * 2048; at < size; at += 4096) EXPECT_TRUE(disk->write(at, data).ok());
  };
  std::thread first(half, 0), second(half, 1);
  first.join();
  second.join();
  Bytes expected(size);
  for (std::size_t i = 0; i < size; i++) expected[i] = std::byte(i / 2048 % 2 + 1);
  EXPECT_TRUE(must_read(*disk, 0, size) == expected);
}

TEST(OverlayMap, RunsCrossWordsAndPagesExactly) {
  const std::uint64_t blocks = overlay::blocks_per_page * 2 + 77;
  OverlayMap map(blocks);
  std::vector<bool> model(blocks);
  std::mt19937 random(5);
  for (int i = 0; i < 60; i++) {
    const std::uint64_t first = random() % blocks, count = std::min<std::uint64_t>(blocks - first, random() % 900);
    map.set_present(first, count);
    std::fill(model.begin() + first, model.begin() + first + count, true);
  }
  for (std::uint64_t at = 0; at < blocks;) {
    const auto run = map.run_at(at, blocks - at);
    ASSERT_GT(run.blocks, 0u);
    for (std::uint64_t k = 0; k < run.blocks; k++) ASSERT_EQ(model[at + k], run.present) << at + k;
    at += run.blocks;
  }
}

}  // namespace
}  // namespace doppel
