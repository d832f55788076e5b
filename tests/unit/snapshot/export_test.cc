// A snapshot in one file, for another computer, and from anybody.
#include <gmock/gmock.h>

#include "snapshot/opened_snapshot.h"
#include "unit/snapshot/sample_machine.h"
#include "unit/snapshot/version_1.h"

namespace doppel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ExportTest : public testing::Test {
 protected:
  SnapshotFolder folder_, elsewhere_;
  SnapshotStore store_ = must_open(folder_.path());
  Pages pages_ = sample_pages(60, 1);
  const std::string file_ = elsewhere_.path("one.doppel");
};

TEST_F(ExportTest, GoesToAnotherStoreAsItIs) {
  must_save(store_, "zero", sample_content(sample_pages(400, 3000)));
  must_save(store_, "base", sample_content(pages_));
  pages_[9000] = sample_page(700), pages_[9001] = Bytes(page_size);
  auto content = sample_content(pages_, {3, 9000});
  content.made_s = 1'700'000'000;
  content.spaces.push_back(space_content("disk 0", sample_pages(5, 1), 1 << 20));
  must_save(store_, "one", content);
  ASSERT_TRUE(store_.export_to("one", file_).ok());
  EXPECT_LT(std::filesystem::file_size(file_), 61 * page_size) << "what it needs and no more";
  EXPECT_THAT(elsewhere_.files(""), ElementsAre("one.doppel"));

  SnapshotFolder other;
  const auto store = must_open(other.path());
  const auto imported = store.import_from(file_, "copy");
  ASSERT_TRUE(imported.ok()) << imported.message();
  EXPECT_TRUE(holds(store, "copy", pages_));
  const auto loaded = std::move(store.load("copy")).value();
  EXPECT_TRUE(has_pages(*loaded->space("disk 0"), sample_pages(5, 1)));
  EXPECT_EQ(loaded->state(), content.state);
  EXPECT_EQ(loaded->description(), content.description);
  EXPECT_EQ(loaded->made_s(), content.made_s);
  EXPECT_THAT(loaded->find("memory")->hot, ElementsAre(3, 9000));
  // Here all its pages are there already.
  const auto back = store_.import_from(file_, "back");
  ASSERT_TRUE(back.ok());
  EXPECT_LT(back->own_bytes, 10'000u);
}

TEST_F(ExportTest, NoFileIsOverwritten) {
  must_save(store_, "one", sample_content(pages_));
  write_content(file_, Bytes(10));
  const auto refused = store_.export_to("one", file_);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.message(), HasSubstr(file_ + " exists already"));
  EXPECT_EQ(content_of(file_).size(), 10u);
  EXPECT_FALSE(store_.export_to("one", elsewhere_.path("missing/file")).ok());
  EXPECT_FALSE(store_.export_to("one", elsewhere_.path("")).ok());
  EXPECT_FALSE(store_.export_to("two", elsewhere_.path("two")).ok());
  ASSERT_TRUE(store_.export_to("one", elsewhere_.path("two")).ok());
  EXPECT_FALSE(store_.import_from(elsewhere_.path("two"), "one").ok()) << "a name that is taken";
  EXPECT_TRUE(store_.import_from(elsewhere_.path("two"), "one", true).ok());
}

TEST_F(ExportTest, WhatIsAlteredOrCutOffIsNotImported) {
  must_save(store_, "one", sample_content(pages_));
  ASSERT_TRUE(store_.export_to("one", file_).ok());
  const auto whole = content_of(file_);
  SnapshotFolder other;
  const auto store = must_open(other.path());
  unsigned unnoticed = 0;
  const auto expect_refused = [&](const Bytes& content) {
    write_content(file_, content);
    const auto imported = store.import_from(file_, "one");
    if (imported) {
      // A bit that means nothing to the decompressor.
      unnoticed++;
      EXPECT_EQ(content.size(), whole.size());
      EXPECT_TRUE(holds(store, "one", pages_));
      EXPECT_TRUE(store.remove("one").ok());
      return;
    }
    expect_sentence(imported.message());
    EXPECT_THAT(imported.message(), HasSubstr(file_));
    EXPECT_EQ(other.files("").size(), other.files("lock").size()) << "there is nothing else";
  };
  for (std::size_t at = 0; at < whole.size(); at += at < 200 || at + 2000 > whole.size() ? 7 : 211) {
    SCOPED_TRACE(at);
    auto altered = whole;
    altered[at] ^= std::byte(1 << at % 8);
    expect_refused(altered);
    altered.resize(at);
    expect_refused(altered);
  }
  EXPECT_LE(unnoticed, 20u);
  const auto missing = store.import_from(elsewhere_.path("missing"), "one");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.message(), HasSubstr("No such file"));
  EXPECT_FALSE(store.import_from("/dev/zero", "one").ok());
  EXPECT_FALSE(store.import_from(elsewhere_.path(), "one").ok());
}

/// The file with another manifest in it.
void replace_manifest(const std::string& file, const Manifest& manifest) {
  auto content = content_of(file);
  std::uint64_t pack = 0;
  std::memcpy(&pack, content.data() + 16, sizeof pack);
  const auto encoded = std::move(manifest.encode()).value();
  const std::uint64_t bytes = encoded.size();
  std::memcpy(content.data() + 24, &bytes, sizeof bytes);
  const auto sum = sha256({std::span(content).first(32)});
  std::ranges::copy(sum, content.begin() + 32);
  content.resize(64 + pack);
  content.insert(content.end(), encoded.begin(), encoded.end());
  write_content(file, content);
}

// Who makes a small file must not make us work for hours, or use all memory.
TEST_F(ExportTest, PagesThatAreReferredToWithoutEndCostNothing) {
  must_save(store_, "one", sample_content(pages_));
  ASSERT_TRUE(store_.export_to("one", file_).ok());
  auto manifest = std::move(open_exported(file_)).value().manifest;
  auto& space = manifest.spaces[0];
  space.bytes = most_space_pages * page_size;
  space.hot.clear();
  space.runs = {{.page = 0, .count = 1U << 31, .pack = PageRun::zeros, .at = 0}};
  for (std::uint32_t n = 0; n < 200'000; n++)
    space.runs.push_back({.page = (1U << 31) + 60 * n, .count = 60, .pack = 0, .at = 0});
  replace_manifest(file_, manifest);
  const auto imported = store_.import_from(file_, "many");
  ASSERT_TRUE(imported.ok()) << imported.message();
  EXPECT_EQ(imported->pages, (1ULL << 31) + 60 * 200'000);
  EXPECT_LT(imported->own_bytes, 100'000u);
  const auto source = std::move(store_.load("many")).value()->space("memory");
  EXPECT_EQ(std::memcmp(source->bring((1U << 31) + 60 * 777 + 59), source->bring((1U << 31) + 59), page_size), 0);
}

TEST_F(ExportTest, PagesThatAreNotInThePackAreRefused) {
  must_save(store_, "one", sample_content(pages_));
  ASSERT_TRUE(store_.export_to("one", file_).ok());
  const auto sound = std::move(open_exported(file_)).value().manifest;
  for (const std::uint32_t at : {61U, 1000U, 4'000'000'000U}) {
    auto manifest = sound;
    manifest.spaces[0].runs = {{.page = 0, .count = 2, .pack = 0, .at = at}};
    replace_manifest(file_, manifest);
    const auto imported = store_.import_from(file_, "two");
    ASSERT_FALSE(imported.ok());
    EXPECT_THAT(imported.message(), HasSubstr(file_ + " is damaged"));
  }
}

// A file that the first version wrote. It must be readable as long as there is a Doppel.
TEST_F(ExportTest, TheFirstVersionStaysReadable) {
  Bytes file;
  for (const auto byte : version_1) file.push_back(std::byte(byte));
  write_content(file_, file);
  const auto imported = store_.import_from(file_, "old");
  ASSERT_TRUE(imported.ok()) << imported.message();
  const auto loaded = std::move(store_.load("old")).value();
  EXPECT_EQ(loaded->made_s(), 1'700'000'000);
  EXPECT_EQ(loaded->description(), "{}");
  EXPECT_THAT(loaded->state(), ElementsAre(std::byte{1}, std::byte{2}, std::byte{3}));
  const auto* memory = loaded->find("memory");
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory->base, 0x8000'0000u);
  EXPECT_EQ(memory->bytes, 1u << 20);
  EXPECT_THAT(memory->hot, ElementsAre(7));
  Pages pages;
  for (const unsigned n : {2, 3, 7, 9, 10, 11, 255}) pages[n] = Bytes(page_size, std::byte(n));
  EXPECT_TRUE(has_pages(*memory->source, pages));
  EXPECT_TRUE(has_pages(*loaded->space("disk 0"), {{1, Bytes(page_size)}, {5, Bytes(page_size, std::byte(3))}}));
}

}  // namespace
}  // namespace doppel
