// A guest's path leads nowhere but beneath its folder. All of it twice: as the kernel resolves, and one component at a
// time as where the kernel does not know how.
#include "process/wasi/confined_path.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <thread>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class ConfinedPaths : public testing::TestWithParam<Resolver> {
 protected:
  Errno open(const std::string& path, int flags = O_RDONLY) {
    auto opened = paths_.open(folder_.get(), path, flags, 0666);
    last_ = std::move(opened.descriptor);
    return opened.error;
  }
  std::string content() {
    char text[100];
    const auto size = ::read(last_.get(), text, sizeof text);
    return size > 0 ? std::string(text, std::size_t(size)) : "";
  }
  void link(const std::string& target, const std::string& name) {
    ASSERT_EQ(symlink(target.c_str(), folders_.granted(name).c_str()), 0);
  }
  void SetUp() override {
    std::filesystem::create_directories(folders_.granted("a/b"));
    Folders::write(folders_.granted("a/b/file"), "inside");
    folder_ = FileDescriptor(::open(folders_.granted().c_str(), O_PATH | O_DIRECTORY));
  }

  Folders folders_;
  FileDescriptor folder_, last_;
  ConfinedPath paths_{GetParam()};
};

TEST_P(ConfinedPaths, WhatIsInsideIsFoundHoweverItIsSpelled) {
  for (const char* path : {"a/b/file", "./a/./b//file", "a/../a/b/../b/file", "a/b/../../a/b/file"}) {
    EXPECT_EQ(open(path), Errno::success) << path;
    EXPECT_EQ(content(), "inside") << path;
  }
  for (const char* path : {".", "a", "a/", "a/b/..", "a/b/../..", "a//", "a/."})
    EXPECT_EQ(open(path, O_RDONLY | O_DIRECTORY), Errno::success) << path;
  EXPECT_EQ(paths_.resolver(), GetParam()) << "this kernel has openat2";
}

TEST_P(ConfinedPaths, NothingLeadsOut) {
  link("../outside", "out");
  link("../outside/secret", "secret");
  link(folders_.outside(), "absolute");
  link("a/../../outside", "roundabout");
  link("out", "chain");
  link("/", "top");
  link("..", "a/up");
  link("../../outside", "a/two");
  for (const char* path :
       {"..", "../outside/secret", "a/../../outside/secret", "out/secret", "secret", "absolute/secret", "absolute",
        "roundabout/secret", "chain/secret", "/etc/passwd", "/", "//", "top/etc/passwd", "top",
        "a/up/../outside/secret", "a/two/secret", "a/b/../../..", "../granted/a/b/file"})
    for (const int flags : {O_RDONLY, O_RDWR, O_PATH, O_RDONLY | O_DIRECTORY, O_RDWR | O_CREAT, O_WRONLY | O_TRUNC})
      EXPECT_EQ(open(path, flags), Errno::notcapable) << path << " with flags " << flags;
  EXPECT_EQ(open("out/new", O_RDWR | O_CREAT), Errno::notcapable);
  EXPECT_EQ(Folders::read(folders_.outside() + "/secret"), "secret");
  EXPECT_EQ(open("a/up/a/b/file"), Errno::success) << "up, but not out";
}

TEST_P(ConfinedPaths, LinksInsideAreFollowedOrNotAsAsked) {
  link("a/b", "folder");
  link("b/../b/file", "a/file");
  link("missing", "dangling");
  link("loop", "loop");
  link("folder/", "slash");
  EXPECT_EQ(open("folder/file"), Errno::success);
  EXPECT_EQ(open("a/file"), Errno::success);
  EXPECT_EQ(content(), "inside");
  EXPECT_EQ(open("slash/file"), Errno::success);
  EXPECT_EQ(open("a/file", O_RDONLY | O_NOFOLLOW), Errno::loop);
  EXPECT_EQ(open("folder", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), Errno::notdir);
  EXPECT_EQ(open("folder/", O_RDONLY | O_NOFOLLOW), Errno::success) << "a slash asks for what it leads to";
  EXPECT_EQ(open("a/file", O_PATH | O_NOFOLLOW), Errno::success) << "the link itself";
  EXPECT_EQ(open("dangling"), Errno::noent);
  EXPECT_EQ(open("dangling", O_PATH), Errno::noent);
  EXPECT_EQ(open("loop"), Errno::loop);
  EXPECT_EQ(open("loop/x"), Errno::loop);
  EXPECT_EQ(open("dangling", O_RDWR | O_CREAT | O_EXCL), Errno::exist);
  EXPECT_EQ(open("dangling", O_RDWR | O_CREAT), Errno::success) << "made where the link leads";
  EXPECT_TRUE(std::filesystem::exists(folders_.granted("missing")));
}

TEST_P(ConfinedPaths, PathsThatAreNoneAreRefusedAsLinuxWould) {
  EXPECT_EQ(open(""), Errno::noent);
  EXPECT_EQ(open(std::string("a\0b", 3)), Errno::inval);
  EXPECT_EQ(open(std::string(4096, 'x')), Errno::nametoolong);
  EXPECT_EQ(open(std::string(300, 'x')), Errno::nametoolong) << "of one component";
  EXPECT_EQ(open("a/b/file/"), Errno::notdir);
  EXPECT_EQ(open("a/b/file/x"), Errno::notdir);
  EXPECT_EQ(open("a/b/file/.."), Errno::notdir);
  EXPECT_EQ(open("a/b/file/."), Errno::notdir);
  EXPECT_EQ(open("missing/x"), Errno::noent);
  EXPECT_EQ(open("missing/.."), Errno::noent);
  EXPECT_EQ(open("new/", O_RDWR | O_CREAT), Errno::isdir);
  EXPECT_EQ(open("a", O_RDWR), Errno::isdir);
  std::string deep;
  while (deep.size() < 4000) deep += "a/../";
  EXPECT_EQ(open(deep + "a/b/file"), Errno::success);
}

TEST_P(ConfinedPaths, ManyLinksInARowEnd) {
  link("a/b/file", "link0");
  for (int n = 1; n < 60; n++) link("link" + std::to_string(n - 1), "link" + std::to_string(n));
  EXPECT_EQ(open("link39"), Errno::success) << "40 links are followed";
  EXPECT_EQ(open("link40"), Errno::loop);
  // Each link is two of the next: as many as there are atoms, were they all followed.
  link("a", "twice0");
  for (int n = 1; n < 40; n++) {
    const auto before = "twice" + std::to_string(n - 1);
    link(before + "/../" + before, "twice" + std::to_string(n));
  }
  EXPECT_EQ(open("twice39"), Errno::loop);
}

TEST_P(ConfinedPaths, APlaceIsAFolderInsideAndOneName) {
  const auto expect = [&](const std::string& path, const std::string& name, bool slash) {
    const auto place = paths_.place(folder_.get(), path);
    EXPECT_TRUE(place.ok()) << path;
    EXPECT_EQ(place.name, name);
    EXPECT_EQ(place.trailing_slash, slash);
  };
  expect("x", "x", false);
  expect("x//", "x", true);
  expect("a/x", "x", false);
  expect("a//b/x/", "x", true);
  for (const char* path : {".", "a/.", "a/..", "a/../"}) EXPECT_TRUE(paths_.place(folder_.get(), path).dots) << path;
  link("../outside", "out");
  for (const char* path : {"..", "../x", "/x", "out/x", "a/../../x", "/"})
    EXPECT_EQ(paths_.place(folder_.get(), path).error, Errno::notcapable) << path;
  EXPECT_TRUE(paths_.place(folder_.get(), "out").ok()) << "the link itself";
  EXPECT_EQ(paths_.place(folder_.get(), "a/b/file/x").error, Errno::notdir);
  EXPECT_EQ(paths_.place(folder_.get(), "missing/x").error, Errno::noent);
}

/// Exchanges two names, over and over, while `look` looks so many times.
template <typename Look>
void while_exchanging(const std::string& one, const std::string& other, int rounds, const Look& look) {
  std::atomic<bool> done = false;
  std::thread thread([&] {
    while (!done) syscall(SYS_renameat2, AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
  });
  for (int n = 0; n < rounds; n++) look();
  done = true;
  thread.join();
}

TEST_P(ConfinedPaths, AFolderThatBecomesALinkMeanwhileDoesNotLeadOut) {
  std::filesystem::create_directory(folders_.granted("swap"));
  Folders::write(folders_.granted("swap/secret"), "inside");
  link("../outside", "link");
  int found = 0;
  while_exchanging(folders_.granted("swap"), folders_.granted("link"), 4000, [&] {
    if (open("swap/secret") != Errno::success) return;
    found++;
    ASSERT_EQ(content(), "inside");
  });
  EXPECT_GT(found, 0);
}

TEST_P(ConfinedPaths, AFolderThatIsMovedOutMeanwhileDoesNotLeadOut) {
  // "a/b/../.." is outside once b is, unless one remembers how one came.
  std::filesystem::create_directory(folders_.outside() + "/b");
  while_exchanging(folders_.granted("a/b"), folders_.outside() + "/b", 4000, [&] {
    if (open("a/b/../secret") == Errno::success) FAIL() << "went out";
    if (open("a/b/../../a", O_PATH) != Errno::success) return;
    struct stat status{}, expected{};
    ASSERT_EQ(fstat(last_.get(), &status), 0);
    ASSERT_EQ(stat(folders_.granted("a").c_str(), &expected), 0);
    ASSERT_EQ(status.st_ino, expected.st_ino);
  });
}

INSTANTIATE_TEST_SUITE_P(Both, ConfinedPaths, testing::Values(Resolver::kernel, Resolver::components),
                         [](const auto& info) { return info.param == Resolver::kernel ? "Kernel" : "Components"; });

}  // namespace
}  // namespace doppel::wasi
