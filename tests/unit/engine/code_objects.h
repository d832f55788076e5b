#pragma once
// Code objects made up for the tests of the store, the guest that they belong to, and a folder to keep them in.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/code_store.h"
#include "memory/guest_memory.h"

namespace doppel::test {

/// A folder of its own for each test, with a code cache in it.
class CacheFolder {
 public:
  CacheFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "doppel-code-XXXXXX").string();
    if (!mkdtemp(name.data())) std::abort();
    top_ = name;
  }
  ~CacheFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(top_, ignored);
  }
  CacheFolder(const CacheFolder&) = delete;
  std::filesystem::path top() const { return top_; }
  std::filesystem::path path() const { return top_ / "code"; }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(path()))
      if (entry.path().extension() == ".code") out.push_back(entry.path());
    return out;
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& file : files()) sum += std::filesystem::file_size(file);
    return sum;
  }

 private:
  std::filesystem::path top_;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}
inline void put_content(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

inline Sha256 identity(unsigned number) { return {std::byte(number), std::byte{0x5a}}; }

/// A guest's memory around one entry: pages by their distance from it.
class Guest final : public SourcePages {
 public:
  std::span<const std::byte> page(std::int32_t number) override {
    const auto found = pages.find(number);
    return found == pages.end() ? std::span<const std::byte>() : std::span<const std::byte>(found->second);
  }
  std::map<std::int32_t, std::vector<std::byte>> pages;
};

/// An object and the guest whose bytes it was made from.
struct Made {
  CodeObject object;
  Guest guest;
};

inline std::vector<std::byte> random_bytes(std::mt19937& random, std::size_t count) {
  std::vector<std::byte> out(count);
  for (auto& byte : out) byte = std::byte(random());
  return out;
}

/// Whatever a generator may make, a different one for each number: blocks of all lengths and regions of several ranges.
inline Made make_object(unsigned number) {
  std::mt19937 random(number);
  const auto below = [&](unsigned limit) { return unsigned(random() % limit); };
  Made out;
  auto& o = out.object;
  o.key = {.kind = below(3) ? CodeKind::block : CodeKind::path, .mode = below(32), .entry = 0};
  o.guest_count = 1 + below(64);
  const unsigned ranges = o.key.kind == CodeKind::block ? 1 : 1 + below(4);
  for (unsigned n = 0; n < ranges; n++) {
    const auto length = 1 + below(120);
    o.ranges.push_back({.page = n == 0 ? 0 : std::int32_t(below(5)) - 2,
                        .offset = std::uint16_t(below(4097 - length)),
                        .length = std::uint16_t(length)});
    auto& page = out.guest.pages[o.ranges[n].page];
    if (page.empty()) page = random_bytes(random, page_size);
  }
  o.key.entry = o.ranges[0].offset;
  for (const auto& range : o.ranges) {
    const auto& page = out.guest.pages[range.page];
    o.source.insert(o.source.end(), page.begin() + range.offset, page.begin() + range.offset + range.length);
  }
  o.code = random_bytes(random, 8 + below(200));
  for (auto left = below(4); left > 0; left--)
    o.links.push_back({.displacement = below(unsigned(o.code.size()) - 3),
                       .stub = below(unsigned(o.code.size())),
                       .stub_return = below(unsigned(o.code.size())),
                       .target = std::int32_t(below(9000)) - 4000,
                       .flags = below(4)});
  if (o.key.kind == CodeKind::path) o.extra = random_bytes(random, below(50));
  return out;
}

inline bool same(const CodeObject& a, const CodeObject& b) {
  const auto bytes = [](const auto& list) { return std::as_bytes(std::span(list)); };
  return a.key.kind == b.key.kind && a.key.mode == b.key.mode && a.key.entry == b.key.entry &&
         a.guest_count == b.guest_count && std::ranges::equal(bytes(a.ranges), bytes(b.ranges)) &&
         std::ranges::equal(bytes(a.links), bytes(b.links)) && a.source == b.source && a.code == b.code &&
         a.extra == b.extra;
}

struct StoreTest : testing::Test {
  /// An open store; its problem fails the test.
  std::unique_ptr<CodeStore> open(unsigned who = 1, bool start = true) {
    auto store = CodeStore::open(options, identity(who));
    EXPECT_TRUE(store.ok()) << store.message();
    if (!store) return nullptr;
    if (start) (*store)->start();
    return std::move(*store);
  }
  std::string refusal() {
    auto store = CodeStore::open(options, identity(1));
    return store ? "" : store.message();
  }
  static void add(CodeStore& store, unsigned from, unsigned to) {
    for (auto n = from; n < to; n++) store.add(make_object(n).object);
  }
  /// How many of these the store gives; what it gives must be what was added.
  static unsigned found(CodeStore& store, unsigned from, unsigned to) {
    unsigned count = 0;
    for (auto n = from; n < to; n++) {
      auto made = make_object(n);
      CodeObject out;
      if (!store.find(made.object.key, made.guest, out)) continue;
      EXPECT_TRUE(same(out, made.object)) << n;
      count++;
    }
    return count;
  }
  /// A store that has these, closed again.
  void fill(unsigned from, unsigned to, unsigned who = 1) {
    auto store = open(who);
    add(*store, from, to);
    store->close();
    EXPECT_EQ(store->counters().stored, to - from);
  }
  std::filesystem::path only_file() {
    const auto files = cache.files();
    EXPECT_EQ(files.size(), 1u);
    return files.at(0);
  }

  CacheFolder cache;
  CodeStoreOptions options{.folder = cache.path(), .must = true, .limit = 16 << 20, .section = 4096};
};

}  // namespace doppel::test
