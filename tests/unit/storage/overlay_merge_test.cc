// Merging what was written over an image back into it: all of it or, cut off, until it is done again.
#include "storage/overlay_merge.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "storage/chain_opener.h"
#include "storage/overlay.h"
#include "unit/storage/scratch.h"

namespace doppel {
namespace {

constexpr std::size_t size = (3 << 20) + 1536;

void no_progress(std::uint64_t, std::uint64_t) {}

class Merges : public testing::Test {
 protected:
  void SetUp() override {
    content_ = disk_content(size, 1);
    write_file(path("disk"), content_);
  }
  std::string path(const std::string& name) const { return scratch_.path(name); }
  /// An empty overlay over an image beside it.
  void lay_over(const std::string& name, const std::string& image, const std::string& format) {
    ChainOpener images;
    auto disk = images.open(path(image), format, false);
    ASSERT_TRUE(disk) << disk.message();
    const auto made = OverlayDisk::create(path(name), {image, format, images.chain()}, (*disk)->size(), 0600);
    ASSERT_TRUE(made) << made.message();
  }
  /// Writes to a disk, and what it then has.
  Bytes scribble(const std::string& name, unsigned seed) {
    auto disk = must_open(spec_of(path(name)));
    std::mt19937 random(seed);
    for (int n = 0; n < 40; n++) {
      const std::uint64_t at = random() % size;
      const std::uint64_t length = 1 + random() % std::min<std::uint64_t>(size - at, 200'000);
      if (n % 5 == 0)
        EXPECT_TRUE(disk->write_zeroes(at, length, true));
      else
        EXPECT_TRUE(disk->write(at, pattern(length, random())));
    }
    return must_read(*disk, 0, size);
  }
  void expect_not_merged(const std::string& name, const std::string& part) {
    const auto merged = merge_overlay(path(name), no_progress);
    ASSERT_FALSE(merged) << part;
    expect_sentence(merged.message());
    EXPECT_NE(merged.message().find(part), std::string::npos) << merged.message();
  }
  Scratch scratch_;
  Bytes content_;
};

TEST_F(Merges, PutWhatWasWrittenIntoTheImage) {
  lay_over("disk.a.overlay", "disk", "raw");
  const auto wanted = scribble("disk.a.overlay", 2);
  EXPECT_EQ(read_file(path("disk")), content_);
  const auto merged = merge_overlay(path("disk.a.overlay"), no_progress);
  ASSERT_TRUE(merged) << merged.message();
  EXPECT_EQ(read_file(path("disk")), wanted);
  EXPECT_FALSE(std::filesystem::exists(path("disk.a.overlay")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch_.folder()), {}), 1) << "nothing else is left";
}

TEST_F(Merges, OfOverlaysOverOverlaysGoOneDown) {
  lay_over("disk.a.overlay", "disk", "raw");
  const auto lower = scribble("disk.a.overlay", 3);
  lay_over("disk.a.b.overlay", "disk.a.overlay", "overlay");
  EXPECT_EQ(must_read(*must_open(spec_of(path("disk.a.b.overlay"))), 0, size), lower);
  const auto wanted = scribble("disk.a.b.overlay", 4);
  EXPECT_EQ(must_read(*must_open(spec_of(path("disk.a.overlay"), "ro")), 0, size), lower);
  expect_not_merged("disk.a.overlay", "merge it first");
  ASSERT_TRUE(merge_overlay(path("disk.a.b.overlay"), no_progress));
  EXPECT_EQ(must_read(*must_open(spec_of(path("disk.a.overlay"), "ro")), 0, size), wanted);
  ASSERT_TRUE(merge_overlay(path("disk.a.overlay"), no_progress));
  EXPECT_EQ(read_file(path("disk")), wanted);
}

TEST_F(Merges, AreRefusedWhereTheyWouldTakeSomethingFromSomebody) {
  lay_over("disk.a.overlay", "disk", "raw");
  scribble("disk.a.overlay", 5);
  {
    const auto machine = must_open(spec_of(path("disk.a.overlay")));
    expect_not_merged("disk.a.overlay", "is a machine running from it?");
  }
  {
    const auto reader = must_open(spec_of(path("disk"), "ro"));
    expect_not_merged("disk.a.overlay", "is a machine running from it?");
  }
  lay_over("disk.b.overlay", "disk", "raw");
  expect_not_merged("disk.a.overlay", "disk.b.overlay lies over");
  std::filesystem::remove(path("disk.b.overlay"));
  expect_not_merged("disk", "not an overlay");
  expect_not_merged("nothing", "no file");
  EXPECT_EQ(read_file(path("disk")), content_);
  write_file(path("disk"), Bytes(size));
  expect_not_merged("disk.a.overlay", "has changed since");
}

TEST_F(Merges, IntoAnImageThatDoppelOnlyReadsAreRefused) {
  RUN(scratch_, "qemu-img convert -f raw -O qcow2 disk image");
  ASSERT_TRUE(must_open(spec_of(path("image")))->write(0, pattern(10, 1)));
  expect_not_merged("image.overlay", "doppel image convert");
}

// Killed after any piece, also while it goes on with what was killed before.
TEST_F(Merges, CutOffAreDoneAgain) {
  lay_over("disk.a.overlay", "disk", "raw");
  const auto wanted = scribble("disk.a.overlay", 6);
  int killed = 0;
  for (int pieces = 1;; pieces++) {
    const pid_t child = fork();
    if (child == 0) {
      int left = pieces;
      const auto merged = merge_overlay(path("disk.a.overlay"), [&](std::uint64_t, std::uint64_t) {
        if (--left == 0) kill(getpid(), SIGKILL);
      });
      _exit(merged ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    killed++;
    for (const char* option : {"", "ro", "snapshot"})
      expect_refused(spec_of(path("disk"), option), "run doppel disk commit");
    expect_refused(spec_of(path("disk.a.overlay")), "run doppel disk commit");
  }
  EXPECT_GT(killed, 5);
  EXPECT_EQ(read_file(path("disk")), wanted);
  EXPECT_TRUE(must_open(spec_of(path("disk"))));
}

// The overlay is gone, the mark is not.
TEST_F(Merges, ThatEndedButForTheirMarkEnd) {
  write_file(path("disk.merging"), {});
  std::ofstream(path("disk.merging")) << "disk.a.overlay";
  expect_refused(spec_of(path("disk")), "disk.a.overlay");
  const auto merged = merge_overlay(path("disk.a.overlay"), no_progress);
  ASSERT_TRUE(merged) << merged.message();
  EXPECT_TRUE(must_open(spec_of(path("disk"))));
}

TEST_F(Merges, DescribeWhatLiesOverWhat) {
  lay_over("disk.a.overlay", "disk", "raw");
  ASSERT_TRUE(must_open(spec_of(path("disk.a.overlay")))->write(100, pattern(5000, 1)));
  const auto disk = describe_disk(path("disk"), "");
  ASSERT_TRUE(disk) << disk.message();
  EXPECT_EQ(disk->format, "raw");
  EXPECT_EQ(disk->size, size);
  EXPECT_EQ(disk->overlays, std::vector{path("disk.a.overlay")});
  const auto overlay = describe_disk(path("disk.a.overlay"), "");
  ASSERT_TRUE(overlay) << overlay.message();
  EXPECT_EQ(overlay->format, "overlay");
  EXPECT_EQ(overlay->base, "disk");
  EXPECT_EQ(overlay->base_format, "raw");
  EXPECT_EQ(overlay->own, 8192u);
}

}  // namespace
}  // namespace doppel
