// Listing a folder, in buffers of every size.
#include <sys/stat.h>

#include <map>
#include <set>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class Directory : public testing::Test {
 protected:
  Directory() : rig_(Rig::configuration(folders_)) {}

  struct Entry {
    std::string name;
    std::uint64_t next, inode;
    FileType type;
  };
  /// The entries that are whole in a buffer of that size, and whether the end was reached.
  std::vector<Entry> list(std::uint64_t cookie, std::uint32_t size, bool& end, std::uint32_t fd = Rig::root) {
    std::vector<Entry> out;
    const auto buffer = rig_.room(size);
    EXPECT_EQ(rig_.call("fd_readdir", fd, buffer, size, cookie, Rig::counter), Errno::success);
    const auto used = rig_.get<std::uint32_t>(Rig::counter);
    EXPECT_LE(used, size);
    end = used < size;
    for (std::uint32_t at = 0; at + 24 <= used;) {
      const auto length = rig_.get<std::uint32_t>(buffer + at + 16);
      if (at + 24 + length > used) break;
      out.push_back({rig_.text(buffer + at + 24, length), rig_.get<std::uint64_t>(buffer + at),
                     rig_.get<std::uint64_t>(buffer + at + 8), FileType(rig_.get<std::uint8_t>(buffer + at + 20))});
      at += 24 + length;
    }
    return out;
  }
  /// All of them, as a C library reads.
  std::vector<Entry> list_all(std::uint32_t size) {
    std::vector<Entry> out;
    std::uint64_t cookie = 0;
    for (bool end = false; !end;) {
      const auto part = list(cookie, size, end);
      if (part.empty() && !end) {
        ADD_FAILURE() << "no entry fits into " << size << " bytes";
        return out;
      }
      for (const auto& entry : part) out.push_back(entry);
      if (!part.empty()) cookie = part.back().next;
    }
    return out;
  }

  Folders folders_;
  Rig rig_;
};

TEST_F(Directory, TypesAndNumbersAreThoseOfTheFiles) {
  Folders::write(folders_.granted("file"), "x");
  std::filesystem::create_directory(folders_.granted("folder"));
  ASSERT_EQ(symlink("file", folders_.granted("link").c_str()), 0);
  ASSERT_EQ(mkfifo(folders_.granted("fifo").c_str(), 0600), 0);
  std::map<std::string, FileType> types;
  for (const auto& entry : list_all(4096)) {
    types[entry.name] = entry.type;
    struct stat status{};
    const std::string name = entry.name == ".." ? "." : entry.name;
    ASSERT_EQ(lstat(folders_.granted(name).c_str(), &status), 0) << name;
    EXPECT_EQ(entry.inode, status.st_ino) << entry.name << " (what lies above a grant has no number)";
  }
  const std::map<std::string, FileType> expected = {{".", FileType::directory},        {"..", FileType::directory},
                                                    {"file", FileType::regular_file},  {"folder", FileType::directory},
                                                    {"link", FileType::symbolic_link}, {"fifo", FileType::unknown}};
  EXPECT_EQ(types, expected);
  EXPECT_EQ(list_all(4096).size(), expected.size());
}

TEST_F(Directory, EveryEntryComesOnceWhateverTheBuffersSize) {
  std::set<std::string> expected = {".", ".."};
  for (int n = 0; n < 300; n++) {
    const std::string name = "f" + std::to_string(n) + std::string(std::size_t(n) % 200, 'x');
    Folders::write(folders_.granted(name), "");
    expected.insert(name);
  }
  for (const std::uint32_t size : {24U + 205, 256U, 300U, 1000U, 4096U, 40000U, 500000U}) {
    std::set<std::string> found;
    for (const auto& entry : list_all(size)) EXPECT_TRUE(found.insert(entry.name).second) << entry.name << " twice";
    EXPECT_EQ(found, expected) << size;
  }
}

TEST_F(Directory, TheLastEntryIsCutWhereTheBufferEnds) {
  Folders::write(folders_.granted("a-name-of-some-length"), "");
  for (std::uint32_t size = 0; size < 120; size++) {
    const auto buffer = rig_.room(size + 1);
    rig_.set<std::uint8_t>(buffer + size, 0xa5);
    ASSERT_EQ(rig_.call("fd_readdir", Rig::root, buffer, size, 0, Rig::counter), Errno::success);
    EXPECT_EQ(rig_.get<std::uint32_t>(Rig::counter), std::min(size, 3 * 24 + 1 + 2 + 21U));
    EXPECT_EQ(rig_.get<std::uint8_t>(buffer + size), 0xa5) << "nothing behind it";
  }
}

TEST_F(Directory, CookiesHoldWhileOthersComeAndGo) {
  for (int n = 0; n < 50; n++) Folders::write(folders_.granted("f" + std::to_string(n)), "");
  const auto before = list_all(100'000);
  for (std::size_t n = 0; n < before.size(); n++) {
    bool end = false;
    const auto rest = list(before[n].next, 100'000, end);
    ASSERT_EQ(rest.size(), before.size() - n - 1);
    if (!rest.empty()) EXPECT_EQ(rest[0].name, before[n + 1].name);
  }
  const auto middle = before[25].next;
  std::set<std::string> later;
  for (std::size_t n = 26; n < before.size(); n++) later.insert(before[n].name);
  for (std::size_t n = 0; n < 26; n++)
    if (before[n].type == FileType::regular_file) std::filesystem::remove(folders_.granted(before[n].name));
  bool end = false;
  std::set<std::string> found;
  for (const auto& entry : list(middle, 100'000, end)) found.insert(entry.name);
  for (const auto& name : later) EXPECT_TRUE(found.contains(name)) << name;
  EXPECT_EQ(rig_.call("fd_readdir", Rig::root, 0, 100, ~0ULL, Rig::counter), Errno::inval);
}

TEST_F(Directory, OnlyFoldersAreListedAndOnlyByRight) {
  Folders::write(folders_.granted("file"), "");
  EXPECT_EQ(rig_.call("fd_readdir", rig_.must_open("file"), 0, 100, 0, Rig::counter), Errno::notdir);
  std::uint32_t fd = 0;
  ASSERT_EQ(rig_.open(".", fd, 0, 0), Errno::success);
  EXPECT_EQ(rig_.call("fd_readdir", fd, 0, 100, 0, Rig::counter), Errno::notcapable);
}

}  // namespace
}  // namespace doppel::wasi
