// Size, times, allocation and the records that tell of them.
#include <sys/stat.h>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class FileStatus : public testing::Test {
 protected:
  FileStatus() : rig_(Rig::configuration(folders_)) {
    Folders::write(folders_.granted("file"), "content");
    EXPECT_EQ(symlink("file", folders_.granted("link").c_str()), 0);
    EXPECT_EQ(::link(folders_.granted("file").c_str(), folders_.granted("twin").c_str()), 0);
  }
  struct stat host(const char* name, bool follow = true) {
    struct stat out{};
    EXPECT_EQ((follow ? ::stat : ::lstat)(folders_.granted(name).c_str(), &out), 0);
    return out;
  }
  static std::uint64_t ns(const timespec& time) {
    return std::uint64_t(time.tv_sec) * 1'000'000'000 + std::uint64_t(time.tv_nsec);
  }
  void expect_record(const struct stat& status, FileType type) {
    const auto at = [&](std::uint32_t offset) { return rig_.get<std::uint64_t>(Rig::status + offset); };
    EXPECT_EQ(at(0), status.st_dev);
    EXPECT_EQ(at(8), status.st_ino);
    EXPECT_EQ(at(16), std::uint64_t(type)) << "and seven bytes of padding";
    EXPECT_EQ(at(24), status.st_nlink);
    EXPECT_EQ(at(32), std::uint64_t(status.st_size));
    EXPECT_EQ(at(40), ns(status.st_atim));
    EXPECT_EQ(at(48), ns(status.st_mtim));
    EXPECT_EQ(at(56), ns(status.st_ctim));
  }
  Errno set_times(const char* path, std::uint32_t lookup, std::uint64_t atim, std::uint64_t mtim, std::uint32_t flags) {
    const auto name = rig_.put(path);
    return rig_.call("path_filestat_set_times", Rig::root, lookup, name.at, name.size, atim, mtim, flags);
  }

  Folders folders_;
  Rig rig_;
};

TEST_F(FileStatus, RecordsAreLaidOutAsInTheSpecification) {
  const auto fd = rig_.must_open("file");
  rig_.set<std::uint64_t>(Rig::status + 64, 0x1122334455667788);
  EXPECT_EQ(rig_.call("fd_filestat_get", fd, Rig::status), Errno::success);
  expect_record(host("file"), FileType::regular_file);
  EXPECT_EQ(rig_.stat("file"), Errno::success);
  expect_record(host("file"), FileType::regular_file);
  EXPECT_EQ(rig_.stat("link"), Errno::success);
  expect_record(host("link", false), FileType::symbolic_link);
  EXPECT_EQ(rig_.stat("link", lookupflags::symlink_follow), Errno::success);
  expect_record(host("file"), FileType::regular_file);
  EXPECT_EQ(rig_.stat("."), Errno::success);
  expect_record(host("."), FileType::directory);
  EXPECT_EQ(rig_.get<std::uint64_t>(Rig::status + 64), 0x1122334455667788u) << "64 bytes and no more";
  EXPECT_EQ(rig_.stat("file", 4), Errno::inval);
  EXPECT_EQ(rig_.stat("missing"), Errno::noent);
}

TEST_F(FileStatus, TheOlderModuleHasItsOwnRecord) {
  const auto fd = rig_.must_open("file");
  const auto status = host("file");
  rig_.set<std::uint64_t>(Rig::status + 56, 0x1122334455667788);
  const auto name = rig_.put("file");
  for (int n = 0; n < 2; n++) {
    EXPECT_EQ(n ? rig_.call_unstable("fd_filestat_get", fd, Rig::status)
                : rig_.call_unstable("path_filestat_get", Rig::root, 0, name.at, name.size, Rig::status),
              Errno::success);
    EXPECT_EQ(rig_.get<std::uint64_t>(Rig::status + 8), status.st_ino);
    EXPECT_EQ(rig_.get<std::uint32_t>(Rig::status + 16), std::uint32_t(FileType::regular_file));
    EXPECT_EQ(rig_.get<std::uint32_t>(Rig::status + 20), status.st_nlink);
    EXPECT_EQ(rig_.get<std::uint64_t>(Rig::status + 24), std::uint64_t(status.st_size));
    EXPECT_EQ(rig_.get<std::uint64_t>(Rig::status + 40), ns(status.st_mtim));
    EXPECT_EQ(rig_.get<std::uint64_t>(Rig::status + 48), ns(status.st_ctim));
    EXPECT_EQ(rig_.get<std::uint64_t>(Rig::status + 56), 0x1122334455667788u);
  }
  const auto seek = [&](std::int64_t offset, std::uint32_t whence) {
    EXPECT_EQ(rig_.call_unstable("fd_seek", fd, offset, whence, Rig::counter), Errno::success);
    return rig_.get<std::uint64_t>(Rig::counter);
  };
  EXPECT_EQ(seek(3, 2), 3u) << "from the start";
  EXPECT_EQ(seek(1, 0), 4u) << "from here";
  EXPECT_EQ(seek(-1, 1), 6u) << "from the end";
}

TEST_F(FileStatus, SizeAndAllocationChange) {
  const auto fd = rig_.must_open("file");
  EXPECT_EQ(rig_.call("fd_filestat_set_size", fd, 3), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("file")), "con");
  EXPECT_EQ(rig_.call("fd_allocate", fd, 1, 9), Errno::success);
  EXPECT_EQ(host("file").st_size, 10);
  EXPECT_EQ(rig_.call("fd_allocate", fd, 0, 5), Errno::success);
  EXPECT_EQ(host("file").st_size, 10) << "it does not shrink";
  EXPECT_EQ(rig_.call("fd_allocate", fd, 0, 0), Errno::inval);
  EXPECT_EQ(rig_.call("fd_allocate", fd, ~0ULL, 1), Errno::fbig);
  EXPECT_EQ(rig_.call("fd_filestat_set_size", fd, 1ULL << 63), Errno::inval);
  for (const int advice : {0, 1, 2, 3, 4, 5}) EXPECT_EQ(rig_.call("fd_advise", fd, 0, 10, advice), Errno::success);
  EXPECT_EQ(rig_.call("fd_advise", fd, 0, 10, 6), Errno::inval);
  EXPECT_EQ(rig_.call("fd_advise", fd, ~0ULL, 10, 0), Errno::inval);
  EXPECT_EQ(rig_.call("fd_sync", fd), Errno::success);
  EXPECT_EQ(rig_.call("fd_datasync", fd), Errno::success);
}

TEST_F(FileStatus, TimesAreSetToTheNanosecondAndOfLinksThemselves) {
  using namespace fstflags;
  const auto fd = rig_.must_open("file");
  EXPECT_EQ(rig_.call("fd_filestat_set_times", fd, 1'000'000'001, 2'000'000'002, atim | mtim), Errno::success);
  EXPECT_EQ(ns(host("file").st_atim), 1'000'000'001u);
  EXPECT_EQ(ns(host("file").st_mtim), 2'000'000'002u);
  EXPECT_EQ(set_times("file", 0, 0, 77, mtim), Errno::success);
  EXPECT_EQ(ns(host("file").st_mtim), 77u);
  EXPECT_EQ(ns(host("file").st_atim), 1'000'000'001u) << "only what was asked for";
  EXPECT_EQ(set_times("link", 0, 0, 55, mtim), Errno::success);
  EXPECT_EQ(ns(host("link", false).st_mtim), 55u);
  EXPECT_EQ(ns(host("file").st_mtim), 77u);
  EXPECT_EQ(set_times("link", lookupflags::symlink_follow, 0, 66, mtim), Errno::success);
  EXPECT_EQ(ns(host("file").st_mtim), 66u);
  EXPECT_EQ(set_times("file", 0, 0, 0, mtim_now), Errno::success);
  EXPECT_GT(ns(host("file").st_mtim), 1'000'000'000'000'000'000u);
  for (const auto flags : {atim | atim_now, mtim | mtim_now, 16}) {
    EXPECT_EQ(rig_.call("fd_filestat_set_times", fd, 1, 1, flags), Errno::inval);
    EXPECT_EQ(set_times("file", 0, 1, 1, std::uint32_t(flags)), Errno::inval);
  }
}

}  // namespace
}  // namespace doppel::wasi
