// Opening: flags, rights, read-only grants, and what a descriptor then is.
#include <fcntl.h>
#include <sys/stat.h>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class PathOpen : public testing::TestWithParam<Resolver> {
 protected:
  PathOpen() : rig_(configuration(folders_, false)) { Folders::write(folders_.granted("file"), "content"); }
  static WasiConfiguration configuration(const Folders& folders, bool read_only) {
    auto out = Rig::configuration(folders, read_only);
    out.resolver = GetParam();
    return out;
  }
  struct Status {
    FileType type;
    std::uint16_t flags;
    Rights base, inheriting;
  };
  static Status status(Rig& rig, std::uint32_t fd) {
    EXPECT_EQ(rig.call("fd_fdstat_get", fd, Rig::status), Errno::success);
    return {FileType(rig.get<std::uint8_t>(Rig::status)), rig.get<std::uint16_t>(Rig::status + 2),
            rig.get<std::uint64_t>(Rig::status + 8), rig.get<std::uint64_t>(Rig::status + 16)};
  }
  Status status(std::uint32_t fd) { return status(rig_, fd); }

  Folders folders_;
  Rig rig_;
  std::uint32_t fd_ = 0;
};

TEST_P(PathOpen, FlagsCreateTruncateAndRefuse) {
  EXPECT_EQ(rig_.open("new", fd_), Errno::noent);
  EXPECT_EQ(rig_.open("new", fd_, oflags::creat), Errno::success);
  EXPECT_EQ(rig_.open("new", fd_, oflags::creat | oflags::excl), Errno::exist);
  EXPECT_EQ(rig_.open("file", fd_, oflags::directory, 0), Errno::notdir);
  EXPECT_EQ(rig_.open("file", fd_, oflags::trunc, 0), Errno::success) << "without any right of the file's";
  EXPECT_EQ(Folders::read(folders_.granted("file")), "");
  EXPECT_EQ(rig_.open("", fd_), Errno::noent);
  EXPECT_EQ(rig_.open("file/", fd_, 0, 0), Errno::notdir);
  EXPECT_EQ(rig_.open("../outside/secret", fd_), Errno::notcapable);
  EXPECT_EQ(rig_.open("/file", fd_), Errno::notcapable);
  EXPECT_EQ(rig_.open("file", fd_, 16), Errno::inval) << "there is no such flag";
  EXPECT_EQ(rig_.open("file", fd_, 0, 0, 2), Errno::inval);
  EXPECT_EQ(rig_.open("file", fd_, 0, 0, 0, 32), Errno::inval);
  EXPECT_EQ(rig_.open("file", fd_, 0, 0, 0, 0, 77), Errno::badf);
  EXPECT_EQ(rig_.open("x", fd_, 0, 0, 0, 0, rig_.must_open("file")), Errno::notdir);
}

TEST_P(PathOpen, LinksAreFollowedOnlyIfAsked) {
  ASSERT_EQ(symlink("file", folders_.granted("link").c_str()), 0);
  EXPECT_EQ(rig_.open("link", fd_), Errno::loop);
  EXPECT_EQ(rig_.open("link", fd_, 0, rights::fd_read, lookupflags::symlink_follow), Errno::success);
  std::string text;
  EXPECT_EQ(rig_.read(fd_, text), Errno::success);
  EXPECT_EQ(text, "content");
}

TEST_P(PathOpen, RightsAreThoseAskedForThatTheTypeCanHave) {
  const auto file = status(rig_.must_open("file", 0, rights::all));
  EXPECT_EQ(file.type, FileType::regular_file);
  EXPECT_EQ(file.base, rights::file);
  EXPECT_EQ(file.inheriting, 0u);
  const auto reader = rig_.must_open("file", 0, rights::fd_read);
  EXPECT_EQ(status(reader).base, rights::fd_read);
  EXPECT_EQ(rig_.write(reader, "x"), Errno::notcapable);
  EXPECT_EQ(rig_.call("fd_seek", reader, 0, 0, Rig::counter), Errno::notcapable);
  const auto writer = rig_.must_open("file", 0, rights::fd_write);
  std::string text;
  EXPECT_EQ(rig_.read(writer, text), Errno::notcapable);
  ASSERT_EQ(rig_.open(".", fd_, oflags::directory, rights::directory), Errno::success);
  const auto folder = status(fd_);
  EXPECT_EQ(folder.type, FileType::directory);
  EXPECT_EQ(folder.base, rights::directory);
  EXPECT_EQ(folder.inheriting, rights::all);
  EXPECT_EQ(rig_.open(".", fd_, oflags::directory, rights::fd_read | rights::fd_write), Errno::isdir);
  EXPECT_EQ(rig_.open(".", fd_, 0, ~0ULL & ~rights::fd_write), Errno::success)
      << "programs ask for more than a folder can have";
}

TEST_P(PathOpen, WhatAFolderDoesNotGiveIsNotHad) {
  ASSERT_EQ(
      rig_.open(".", fd_, oflags::directory, rights::path_open | rights::fd_readdir, 0, 0, Rig::root, rights::fd_read),
      Errno::success);
  const auto folder = fd_;
  EXPECT_EQ(rig_.open("file", fd_, 0, rights::fd_read, 0, 0, folder, 0), Errno::success);
  EXPECT_EQ(rig_.open("file", fd_, 0, rights::fd_write, 0, 0, folder, 0), Errno::notcapable);
  EXPECT_EQ(rig_.open("file", fd_, 0, 0, 0, 0, folder, rights::fd_write), Errno::notcapable);
  EXPECT_EQ(rig_.open("new", fd_, oflags::creat, 0, 0, 0, folder, 0), Errno::notcapable);
  EXPECT_EQ(rig_.open("file", fd_, oflags::trunc, 0, 0, 0, folder, 0), Errno::notcapable);
  EXPECT_EQ(rig_.open("file", fd_, 0, 0, 0, fdflags::sync, folder, 0), Errno::notcapable);
  EXPECT_EQ(rig_.at_path("path_unlink_file", "file", folder), Errno::notcapable);
  EXPECT_EQ(rig_.stat("file", 0, folder), Errno::notcapable);
  EXPECT_EQ(Folders::read(folders_.granted("file")), "content");
}

TEST_P(PathOpen, RightsCanBeGivenUpButNotTakenBack) {
  const auto fd = rig_.must_open("file", 0, rights::fd_read | rights::fd_write | rights::fd_seek);
  EXPECT_EQ(rig_.call("fd_fdstat_set_rights", fd, rights::fd_seek, 0), Errno::success);
  std::string text;
  EXPECT_EQ(rig_.read(fd, text), Errno::notcapable);
  EXPECT_EQ(rig_.call("fd_fdstat_set_rights", fd, rights::fd_seek | rights::fd_read, 0), Errno::notcapable);
  EXPECT_EQ(rig_.call("fd_fdstat_set_rights", fd, rights::fd_seek, 1), Errno::notcapable);
  EXPECT_EQ(status(fd).base, rights::fd_seek);
  EXPECT_EQ(rig_.call("fd_tell", fd, Rig::counter), Errno::success) << "fd_seek includes it";
}

TEST_P(PathOpen, AFileThatCannotBeWrittenCanStillBeRead) {
  // Programs ask for fd_filestat_set_size and the like of all they open; only fd_write is meant.
  std::filesystem::create_directory(folders_.granted("folder"));
  const Rights wide = (rights::file | rights::directory) & ~rights::fd_write;
  ASSERT_EQ(rig_.open("folder", fd_, 0, wide), Errno::success);
  EXPECT_EQ(status(fd_).base, rights::directory);
  ASSERT_EQ(rig_.open("file", fd_, 0, wide), Errno::success);
  EXPECT_TRUE(status(fd_).base & rights::fd_filestat_set_size);
}

TEST_P(PathOpen, AReadOnlyGrantIsToItsProgramAReadOnlyFileSystem) {
  Rig rig(configuration(folders_, true));
  std::uint32_t fd = 0;
  ASSERT_EQ(rig.open("file", fd, 0, (rights::file | rights::directory) & ~rights::fd_write), Errno::success);
  EXPECT_EQ(rig.call("fd_filestat_set_size", fd, 0), Errno::notcapable);
  EXPECT_EQ(rig.call("fd_filestat_set_times", fd, 0, 0, 1), Errno::rofs);
  EXPECT_EQ(rig.call("fd_allocate", fd, 0, 100), Errno::notcapable);
  EXPECT_EQ(rig.write(fd, "x"), Errno::notcapable);
  EXPECT_EQ(rig.open("file", fd, oflags::creat, rights::fd_read), Errno::success) << "it is there";
  EXPECT_EQ(rig.open("file", fd, oflags::creat | oflags::excl, 0), Errno::exist);
  EXPECT_EQ(rig.open("new", fd, oflags::creat, 0), Errno::rofs);
  EXPECT_EQ(rig.open("file", fd, oflags::trunc, 0), Errno::rofs);
  EXPECT_EQ(rig.open("file", fd, 0, rights::fd_write), Errno::rofs);
  ASSERT_EQ(rig.open(".", fd, 0, rights::directory), Errno::success);
  for (const std::uint32_t folder : {Rig::root, fd}) {
    for (const char* name : {"path_create_directory", "path_unlink_file", "path_remove_directory"})
      EXPECT_EQ(rig.at_path(name, "file", folder), Errno::rofs) << name;
    const auto file = rig.put("file"), other = rig.put("other");
    EXPECT_EQ(rig.call("path_symlink", file.at, 4, folder, other.at, 5), Errno::rofs);
    EXPECT_EQ(rig.call("path_link", folder, 0, file.at, 4, folder, other.at, 5), Errno::rofs);
    EXPECT_EQ(rig.call("path_rename", folder, file.at, 4, folder, other.at, 5), Errno::rofs);
    EXPECT_EQ(rig.call("path_filestat_set_times", folder, 0, file.at, 4, 0, 0, 1), Errno::rofs);
    EXPECT_EQ(rig.stat("file", 0, folder), Errno::success);
  }
  EXPECT_EQ(Folders::read(folders_.granted("file")), "content");
}

TEST_P(PathOpen, WhatLiesInAReadOnlyGrantCannotBeLinkedIntoAWritableOne) {
  std::filesystem::create_directory(folders_.outside() + "/writable");
  auto two = configuration(folders_, true);
  two.grants.push_back({folders_.outside() + "/writable", "/w", false});
  Rig rig(two);
  const auto file = rig.put("file");
  EXPECT_EQ(rig.call("path_link", 3, 0, file.at, 4, 4, file.at, 4), Errno::rofs);
  EXPECT_EQ(rig.call("path_rename", 3, file.at, 4, 4, file.at, 4), Errno::rofs);
  EXPECT_FALSE(std::filesystem::exists(folders_.outside() + "/writable/file"));
}

TEST_P(PathOpen, DescriptorFlagsAreKeptAndAppendCanBeChanged) {
  ASSERT_EQ(rig_.open("file", fd_, 0, rights::file, 0, fdflags::append | fdflags::sync), Errno::success);
  EXPECT_EQ(status(fd_).flags, fdflags::append | fdflags::sync);
  EXPECT_EQ(rig_.call("fd_seek", fd_, 0, 0, Rig::counter), Errno::success);
  EXPECT_EQ(rig_.write(fd_, "+"), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("file")), "content+");
  EXPECT_EQ(rig_.call("fd_fdstat_set_flags", fd_, fdflags::nonblock | fdflags::sync), Errno::success);
  EXPECT_EQ(rig_.call("fd_seek", fd_, 0, 0, Rig::counter), Errno::success);
  EXPECT_EQ(rig_.write(fd_, "C"), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("file")), "Content+");
  EXPECT_EQ(rig_.call("fd_fdstat_set_flags", fd_, 0), Errno::inval) << "sync is for as long as it is open";
  EXPECT_EQ(rig_.call("fd_fdstat_set_flags", fd_, 64), Errno::inval);
}

TEST_P(PathOpen, DescriptorsAreTheLowestFreeAndNotWithoutEnd) {
  const auto first = rig_.must_open("file"), second = rig_.must_open("file");
  EXPECT_EQ(first, 0u) << "this program was started without standard descriptors";
  EXPECT_EQ(second, 1u);
  EXPECT_EQ(rig_.call("fd_close", first), Errno::success);
  EXPECT_EQ(rig_.call("fd_close", first), Errno::badf);
  EXPECT_EQ(rig_.must_open("file"), first);
  Errno error = Errno::success;
  unsigned opened = 0;
  for (; opened < 5000 && error == Errno::success; opened++) error = rig_.open("file", fd_);
  EXPECT_EQ(error, Errno::mfile);
  EXPECT_EQ(rig_.call("fd_close", first), Errno::success);
  EXPECT_EQ(rig_.open("file", fd_), Errno::success);
}

TEST_P(PathOpen, GrantsAreFoundAndCanBeRenumbered) {
  EXPECT_EQ(rig_.call("fd_prestat_get", 3, Rig::status), Errno::success);
  EXPECT_EQ(rig_.get<std::uint32_t>(Rig::status), 0u);
  EXPECT_EQ(rig_.get<std::uint32_t>(Rig::status + 4), 1u);
  EXPECT_EQ(rig_.call("fd_prestat_dir_name", 3, Rig::status, 1), Errno::success);
  EXPECT_EQ(rig_.text(Rig::status, 1), "/");
  EXPECT_EQ(rig_.call("fd_prestat_dir_name", 3, Rig::status, 0), Errno::nametoolong);
  EXPECT_EQ(rig_.call("fd_prestat_get", 4, Rig::status), Errno::badf);
  ASSERT_EQ(rig_.open(".", fd_, oflags::directory, rights::directory), Errno::success);
  EXPECT_EQ(rig_.call("fd_prestat_get", fd_, Rig::status), Errno::badf) << "the same folder, but no grant";
  EXPECT_EQ(rig_.call("fd_renumber", fd_, 99), Errno::badf);
  EXPECT_EQ(rig_.call("fd_renumber", 99, fd_), Errno::badf);
  EXPECT_EQ(rig_.call("fd_renumber", fd_, fd_), Errno::success);
  EXPECT_EQ(rig_.call("fd_renumber", fd_, 3), Errno::success);
  EXPECT_EQ(rig_.call("fd_fdstat_get", fd_, Rig::status), Errno::badf);
  EXPECT_EQ(rig_.open("file", fd_), Errno::success) << "by the folder that is 3 now";
  EXPECT_EQ(rig_.call("fd_close", 3), Errno::success);
  EXPECT_EQ(rig_.open("file", fd_), Errno::badf);
}

TEST_P(PathOpen, APipeWithoutAnotherEndDoesNotHoldTheHost) {
  ASSERT_EQ(mkfifo(folders_.granted("fifo").c_str(), 0600), 0);
  ASSERT_EQ(rig_.open("fifo", fd_, 0, rights::fd_read, 0, fdflags::nonblock), Errno::success);
  EXPECT_EQ(status(fd_).type, FileType::unknown);
  std::string text;
  EXPECT_EQ(rig_.read(fd_, text), Errno::again);
  std::uint32_t writer = 0;
  EXPECT_EQ(rig_.open("fifo", writer, 0, rights::fd_write), Errno::success);
  EXPECT_EQ(rig_.write(writer, "through"), Errno::success);
  EXPECT_EQ(rig_.read(fd_, text), Errno::success);
  EXPECT_EQ(text, "through");
  EXPECT_EQ(rig_.call("fd_close", fd_), Errno::success);
  EXPECT_EQ(rig_.write(writer, "x"), Errno::pipe);
}

INSTANTIATE_TEST_SUITE_P(Both, PathOpen, testing::Values(Resolver::kernel, Resolver::components),
                         [](const auto& info) { return info.param == Resolver::kernel ? "Kernel" : "Components"; });

}  // namespace
}  // namespace doppel::wasi
