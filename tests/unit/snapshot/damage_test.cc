// What was cut off or altered is refused with a sentence that names the file, and nothing else happens.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "unit/snapshot/sample_machine.h"

namespace doppel {
namespace {

using testing::HasSubstr;

class DamageTest : public testing::Test {
 protected:
  DamageTest() {
    must_save(store_, "one", sample_content(pages_, {0, 3}));
    manifest_ = folder_.path("one.snapshot");
    pack_ = folder_.path(folder_.files(".pack").at(0));
  }
  /// Loading, or bringing in some page, fails with a sentence about the file.
  void expect_refused(const std::string& file) {
    const auto loaded = store_.load("one");
    auto message = loaded ? std::string() : loaded.message();
    if (loaded) {
      const auto source = (*loaded)->space("memory");
      for (auto page = source->next(0); page < source->pages(); page = source->next(page + 1)) source->bring(page);
      message = source->failure();
    }
    expect_sentence(message);
    EXPECT_THAT(message, HasSubstr(file));
    EXPECT_THAT(message, HasSubstr("remove"));
  }
  SnapshotFolder folder_;
  SnapshotStore store_ = must_open(folder_.path());
  Pages pages_ = sample_pages(40, 1);
  std::string manifest_, pack_;
  unsigned unnoticed_ = 0;
};

TEST_F(DamageTest, AManifestOfAnyOtherLengthIsRefused) {
  const auto whole = content_of(manifest_);
  for (std::size_t length = 0; length <= whole.size() + 1; length++) {
    if (length == whole.size()) continue;
    SCOPED_TRACE(length);
    auto cut = whole;
    cut.resize(length);
    write_content(manifest_, cut);
    const auto loaded = store_.load("one");
    ASSERT_FALSE(loaded.ok());
    EXPECT_THAT(loaded.message(), HasSubstr(manifest_ + " is damaged"));
  }
}

TEST_F(DamageTest, APackOfAnyOtherLengthIsRefused) {
  const auto whole = content_of(pack_);
  for (std::size_t cut = 1; cut < whole.size(); cut += cut < 3000 ? 1 : 97) {
    SCOPED_TRACE(cut);
    std::filesystem::resize_file(pack_, whole.size() - cut);
    const auto loaded = store_.load("one");
    ASSERT_FALSE(loaded.ok());
    EXPECT_THAT(loaded.message(), HasSubstr(pack_ + " is damaged"));
    write_content(pack_, whole);
  }
  auto longer = whole;
  longer.emplace_back();
  write_content(pack_, longer);
  EXPECT_FALSE(store_.load("one").ok());
}

TEST_F(DamageTest, AFlippedBitIsNoticedWhereverItIs) {
  for (const auto& file : {manifest_, pack_}) {
    const auto whole = content_of(file);
    for (std::size_t at = 0; at < whole.size(); at += file == pack_ ? 101 : 1) {
      SCOPED_TRACE(at);
      auto altered = whole;
      altered[at] ^= std::byte(1 << at % 8);
      write_content(file, altered);
      const auto loaded = store_.load("one");
      if (loaded && has_pages(*(*loaded)->space("memory"), pages_)) {
        // A few bits of a compressed frame mean nothing; the rest must not be told as sound.
        unnoticed_++;
        continue;
      }
      expect_refused(file);
    }
    write_content(file, whole);
  }
  EXPECT_LE(unnoticed_, 40u);
  EXPECT_TRUE(holds(store_, "one", pages_));
}

// The newer a snapshot, the fewer of its pages are read: damage elsewhere does not make it useless.
TEST_F(DamageTest, DamageIsNoticedWhenThePageIsTouchedAndNotBefore) {
  auto whole = content_of(pack_);
  whole[60] ^= std::byte(0xff);  // in the first frame
  write_content(pack_, whole);
  const auto loaded = store_.load("one");
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  const auto source = (*loaded)->space("memory");
  std::set<std::uint64_t> lost;
  for (const auto& [number, bytes] : pages_) {
    const bool clean = source->failure().empty();
    if (const auto* found = source->bring(number))
      EXPECT_EQ(std::memcmp(found, bytes.data(), page_size), 0);
    else
      EXPECT_TRUE(lost.insert(number).second);
    EXPECT_EQ(source->failure().empty(), clean && lost.empty());
  }
  EXPECT_GT(lost.size(), 0u);
  EXPECT_LE(lost.size(), pack_format::frame_pages);
  EXPECT_THAT(source->failure(), HasSubstr(pack_ + " is damaged"));
  EXPECT_EQ(source->bring(*lost.begin()), nullptr) << "asked again";
  EXPECT_EQ((*loaded)->prefetch(), lost.contains(0) ? 0u : lost.contains(3) ? 1u : 2u);
}

TEST_F(DamageTest, APackThatIsCutOffWhileItIsUsedIsAFailureAndNoSignal) {
  const auto loaded = std::move(store_.load("one")).value();
  std::filesystem::resize_file(pack_, 100);
  const auto source = loaded->space("memory");
  EXPECT_EQ(source->bring(0), nullptr);
  expect_sentence(source->failure());
}

TEST_F(DamageTest, AMissingPackIsNamed) {
  std::filesystem::remove(pack_);
  expect_refused(pack_);
}

TEST_F(DamageTest, FilesThatAreNoneAreRefused) {
  for (const auto& file : {manifest_, pack_}) {
    const auto whole = content_of(file);
    for (const auto& command : {"mkfifo '{}'", "mkdir '{}'", "ln -s /dev/zero '{}'", "ln -s /etc/passwd '{}'"}) {
      std::filesystem::remove(file);
      ASSERT_EQ(std::system(fmt::format(fmt::runtime(command), file).c_str()), 0);
      expect_refused(file);
    }
    std::filesystem::remove(file);
    write_content(file, whole);
  }
  EXPECT_TRUE(holds(store_, "one", pages_));
}

// A damaged pack is no ground for new snapshots, and what is damaged can be removed.
TEST_F(DamageTest, ANewSnapshotDoesNotBuildOnAPackWhoseIndexIsDamaged) {
  std::filesystem::resize_file(pack_, std::filesystem::file_size(pack_) - 1);
  must_save(store_, "two", sample_content(pages_));
  EXPECT_TRUE(holds(store_, "two", pages_));
  ASSERT_TRUE(store_.remove("one").ok());
  EXPECT_TRUE(holds(store_, "two", pages_));
}

TEST_F(DamageTest, ASnapshotThatCannotBeReadIsListedAndKeepsAllPacksUntilItIsRemoved) {
  must_save(store_, "two", sample_content(sample_pages(20, 500)));
  auto altered = content_of(manifest_);
  altered[40] ^= std::byte(1);
  write_content(manifest_, altered);
  const auto list = store_.list();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_THAT(list[0].problem, HasSubstr(manifest_ + " is damaged"));
  EXPECT_TRUE(list[1].problem.empty());
  ASSERT_TRUE(store_.remove("two").ok());
  EXPECT_EQ(folder_.files(".pack").size(), 2u);
  ASSERT_TRUE(store_.remove("one").ok());
  EXPECT_EQ(folder_.files(".pack").size(), 0u);
}

TEST_F(DamageTest, ANewerVersionIsNamed) {
  auto newer = content_of(manifest_);
  newer[8] = std::byte(manifest_version + 1);
  newer.resize(newer.size() - sizeof(Sha256));
  const auto sum = sha256({newer});
  newer.insert(newer.end(), sum.begin(), sum.end());
  write_content(manifest_, newer);
  const auto loaded = store_.load("one");
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.message(), HasSubstr("was made by a newer Doppel"));
}

}  // namespace
}  // namespace doppel
