#pragma once
// Snapshots of no particular machine: a few pages that are easily told apart, and a folder for them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "snapshot/snapshot_store.h"

namespace doppel {

using Bytes = std::vector<std::byte>;
using Pages = std::map<std::uint64_t, Bytes>;

/// A fresh folder, removed at the end of the test.
class SnapshotFolder {
 public:
  SnapshotFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "doppel-snapshot-XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    folder_ = name;
  }
  ~SnapshotFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  SnapshotFolder(const SnapshotFolder&) = delete;
  const std::string& path() const { return folder_; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  /// Names of files that end so, in order.
  std::vector<std::string> files(const std::string& ending) const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      if (entry.path().filename().string().ends_with(ending)) out.push_back(entry.path().filename().string());
    std::ranges::sort(out);
    return out;
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) sum += entry.file_size();
    return sum;
  }

 private:
  std::string folder_;
};

inline Bytes content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Bytes out(std::filesystem::file_size(path));
  file.read(reinterpret_cast<char*>(out.data()), std::streamsize(out.size()));
  return out;
}

/// Written over what is there: a file that is cut off first is synced by some file systems when it is closed.
inline void write_content(const std::string& path, const Bytes& content) {
  std::ofstream(path, std::ios::binary | std::ios::app).flush();
  std::ofstream file(path, std::ios::binary | std::ios::in);
  file.write(reinterpret_cast<const char*>(content.data()), std::streamsize(content.size()));
  file.close();
  std::filesystem::resize_file(path, content.size());
}

/// A page like those of a guest: half of it compresses well, half of it does not.
inline Bytes sample_page(unsigned seed) {
  std::minstd_rand random(seed + 1);
  Bytes out(page_size, std::byte(seed));
  for (std::size_t n = 0; n < page_size / 2; n++) out[n] = std::byte(random());
  return out;
}

inline Pages sample_pages(unsigned count, unsigned seed, unsigned apart = 3) {
  Pages out;
  for (unsigned n = 0; n < count; n++) out[std::uint64_t(n) * apart + n / 20] = sample_page(seed + n);
  return out;
}

inline SpaceContent space_content(const std::string& name, const Pages& pages, std::uint64_t bytes,
                                  std::vector<std::uint32_t> hot = {}) {
  const auto walk = [pages](const PageVisit& visit) -> Result<void> {
    for (const auto& [number, bytes] : pages)
      if (auto taken = visit(number, std::span<const std::byte, page_size>(bytes.data(), page_size)); !taken)
        return taken;
    return {};
  };
  return {.name = name, .base = 0x8000'0000, .bytes = bytes, .for_each = walk, .hot = std::move(hot)};
}

constexpr std::uint64_t sample_bytes = 64 << 20;

inline SnapshotContent sample_content(const Pages& memory, std::vector<std::uint32_t> hot = {}) {
  SnapshotContent out{.description = R"({"kernel":"Image"})", .state = sample_page(9999), .spaces = {}};
  out.spaces.push_back(space_content("memory", memory, sample_bytes, std::move(hot)));
  return out;
}

/// Whether all pages that are held are these, and can be had.
inline testing::AssertionResult has_pages(PageSource& source, const Pages& pages) {
  std::uint64_t count = 0;
  for (auto page = source.next(0); page < source.pages(); page = source.next(page + 1), count++) {
    const auto found = pages.find(page);
    if (found == pages.end()) return testing::AssertionFailure() << "holds page " << page;
    const auto* bytes = source.bring(page);
    if (!bytes) return testing::AssertionFailure() << "page " << page << ": " << source.failure();
    if (std::memcmp(bytes, found->second.data(), page_size) != 0)
      return testing::AssertionFailure() << "page " << page << " is another";
  }
  if (count == pages.size()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << count << " pages, not " << pages.size();
}

inline testing::AssertionResult holds(const SnapshotStore& store, const std::string& name, const Pages& memory) {
  const auto snapshot = store.load(name);
  if (!snapshot) return testing::AssertionFailure() << snapshot.message();
  return has_pages(*(*snapshot)->space("memory"), memory);
}

/// One sentence for a terminal: some text, one line, no full stop.
inline void expect_sentence(const std::string& message) {
  EXPECT_GT(message.size(), 15u);
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_NE(message.back(), '.') << message;
}

inline SnapshotStore must_open(const std::string& folder) {
  auto store = SnapshotStore::open(folder, true);
  EXPECT_TRUE(store.ok()) << (store ? "" : store.message());
  return std::move(*store);
}

inline SnapshotSummary must_save(const SnapshotStore& store, const std::string& name, const SnapshotContent& content,
                                 bool replace = false) {
  auto saved = store.save(name, content, replace);
  EXPECT_TRUE(saved.ok()) << (saved ? "" : saved.message());
  return saved ? *saved : SnapshotSummary{};
}

}  // namespace doppel
