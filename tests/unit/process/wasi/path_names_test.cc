// What is done with names: made, linked, renamed, removed, as on Linux and never outside.
#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class PathNames : public testing::TestWithParam<Resolver> {
 protected:
  PathNames() : rig_(configuration(folders_)) {
    Folders::write(folders_.granted("file"), "content");
    std::filesystem::create_directories(folders_.granted("folder/full"));
    EXPECT_EQ(::symlink("../outside", folders_.granted("out").c_str()), 0);
  }
  static WasiConfiguration configuration(const Folders& folders) {
    auto out = Rig::configuration(folders);
    out.resolver = GetParam();
    return out;
  }
  Errno mkdir(const char* path) { return rig_.at_path("path_create_directory", path); }
  Errno rmdir(const char* path) { return rig_.at_path("path_remove_directory", path); }
  Errno unlink(const char* path) { return rig_.at_path("path_unlink_file", path); }
  Errno symlink(const char* target, const char* path) {
    const auto from = rig_.put(target), to = rig_.put(path);
    return rig_.call("path_symlink", from.at, from.size, Rig::root, to.at, to.size);
  }
  Errno link(const char* old_path, const char* path, std::uint32_t flags = 0) {
    const auto from = rig_.put(old_path), to = rig_.put(path);
    return rig_.call("path_link", Rig::root, flags, from.at, from.size, Rig::root, to.at, to.size);
  }
  Errno rename(const char* old_path, const char* path) {
    const auto from = rig_.put(old_path), to = rig_.put(path);
    return rig_.call("path_rename", Rig::root, from.at, from.size, Rig::root, to.at, to.size);
  }
  Errno readlink(const char* path, std::string& out, std::uint32_t room = 100) {
    const auto name = rig_.put(path);
    const auto to = rig_.room(room + 1);
    const Errno error = rig_.call("path_readlink", Rig::root, name.at, name.size, to, room, Rig::counter);
    out = error == Errno::success ? rig_.text(to, rig_.get<std::uint32_t>(Rig::counter)) : "";
    return error;
  }
  bool exists(const char* name) {
    return std::filesystem::symlink_status(folders_.granted(name)).type() != std::filesystem::file_type::not_found;
  }

  Folders folders_;
  Rig rig_;
};

TEST_P(PathNames, FoldersAreMadeAndRemoved) {
  EXPECT_EQ(mkdir("new"), Errno::success);
  EXPECT_EQ(mkdir("new/"), Errno::exist);
  EXPECT_EQ(mkdir("new/inner/"), Errno::success) << "a slash may be behind a folder's name";
  EXPECT_EQ(mkdir("missing/inner"), Errno::noent);
  EXPECT_EQ(mkdir("file/inner"), Errno::notdir);
  EXPECT_EQ(mkdir("."), Errno::exist);
  EXPECT_EQ(mkdir("new/.."), Errno::exist);
  EXPECT_EQ(mkdir(""), Errno::noent);
  EXPECT_EQ(rmdir("new"), Errno::notempty);
  EXPECT_EQ(rmdir("new/inner/"), Errno::success);
  EXPECT_EQ(rmdir("new/."), Errno::inval);
  EXPECT_EQ(rmdir("folder/full/.."), Errno::notempty);
  EXPECT_EQ(rmdir("new"), Errno::success);
  EXPECT_EQ(rmdir("file"), Errno::notdir);
  EXPECT_EQ(rmdir("file/"), Errno::notdir);
  EXPECT_EQ(rmdir("new"), Errno::noent);
}

TEST_P(PathNames, FilesAreRemovedByTheirNameOnly) {
  EXPECT_EQ(unlink("folder"), Errno::isdir);
  EXPECT_EQ(unlink("folder/"), Errno::isdir);
  EXPECT_EQ(unlink("folder/.."), Errno::isdir);
  EXPECT_EQ(unlink("file/"), Errno::notdir);
  EXPECT_EQ(unlink("missing/"), Errno::noent);
  EXPECT_EQ(unlink("out/"), Errno::notdir);
  EXPECT_EQ(unlink("file"), Errno::success);
  EXPECT_EQ(unlink("file"), Errno::noent);
  EXPECT_EQ(unlink("out"), Errno::success) << "the link itself";
}

TEST_P(PathNames, SymbolicLinksAreMadeButNoneThatIsAbsolute) {
  std::string text;
  EXPECT_EQ(symlink("file", "link"), Errno::success);
  EXPECT_EQ(readlink("link", text), Errno::success);
  EXPECT_EQ(text, "file");
  EXPECT_EQ(readlink("link", text, 2), Errno::success);
  EXPECT_EQ(text, "fi") << "as much as there is room for";
  EXPECT_EQ(symlink("/etc/passwd", "absolute"), Errno::perm);
  EXPECT_EQ(symlink("", "empty"), Errno::noent);
  EXPECT_EQ(symlink("x", "link"), Errno::exist);
  EXPECT_EQ(symlink("x", "new/"), Errno::noent);
  EXPECT_EQ(symlink("x", "folder/"), Errno::exist);
  EXPECT_EQ(symlink("x", "folder/."), Errno::exist);
  EXPECT_EQ(readlink("file", text), Errno::inval);
  EXPECT_EQ(readlink("folder/", text), Errno::inval);
  EXPECT_EQ(readlink(".", text), Errno::inval);
  EXPECT_EQ(readlink("missing", text), Errno::noent);
  EXPECT_EQ(readlink("link/", text), Errno::notdir);
  EXPECT_EQ(readlink("out", text), Errno::success);
  EXPECT_EQ(readlink("out/", text), Errno::notcapable);
  EXPECT_FALSE(exists("absolute") || exists("empty") || exists("new"));
}

TEST_P(PathNames, HardLinksAreToTheNameItself) {
  EXPECT_EQ(link("file", "folder/other"), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("folder/other")), "content");
  EXPECT_EQ(link("file", "folder/other"), Errno::exist);
  EXPECT_EQ(link("folder", "x"), Errno::perm);
  EXPECT_EQ(link("folder/", "x"), Errno::perm);
  EXPECT_EQ(link(".", "x"), Errno::perm);
  EXPECT_EQ(link("file/", "x"), Errno::notdir);
  EXPECT_EQ(link("file", "x/"), Errno::noent);
  EXPECT_EQ(link("file", "folder/"), Errno::exist);
  EXPECT_EQ(link("missing", "x"), Errno::noent);
  EXPECT_EQ(symlink("nowhere", "dangling"), Errno::success);
  EXPECT_EQ(link("dangling", "twin"), Errno::success);
  EXPECT_TRUE(std::filesystem::is_symlink(folders_.granted("twin")));
  EXPECT_EQ(link("dangling", "x", lookupflags::symlink_follow), Errno::inval);
  EXPECT_EQ(link("file", "x", lookupflags::symlink_follow), Errno::success);
  EXPECT_EQ(link("file", "y", 2), Errno::inval);
}

TEST_P(PathNames, ThingsAreRenamedWithSlashesOnlyBehindFolders) {
  EXPECT_EQ(rename("folder/", "moved/"), Errno::success);
  EXPECT_EQ(rename("moved", "folder/"), Errno::success);
  EXPECT_EQ(rename("file/", "x"), Errno::notdir);
  EXPECT_EQ(rename("file", "x/"), Errno::notdir);
  EXPECT_EQ(rename("missing/", "x"), Errno::noent);
  EXPECT_EQ(rename("file", "folder"), Errno::isdir);
  EXPECT_EQ(rename("folder", "file"), Errno::notdir);
  EXPECT_EQ(rename("folder", "folder/full/inner"), Errno::inval);
  EXPECT_EQ(rename(".", "x"), Errno::busy);
  EXPECT_EQ(rename("file", "folder/.."), Errno::busy);
  EXPECT_EQ(rename("out/", "x"), Errno::notdir) << "Linux does not follow it here";
  EXPECT_EQ(mkdir("empty"), Errno::success);
  EXPECT_EQ(rename("empty", "folder"), Errno::notempty);
  EXPECT_EQ(rename("folder", "empty"), Errno::success);
  EXPECT_EQ(rename("file", "other"), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("other")), "content");
}

TEST_P(PathNames, NothingIsDoneOutside) {
  for (const char* path : {"..", "../outside/x", "out/x", "out/secret", "/x", "folder/../../x", "out/.", "out/.."}) {
    std::string text;
    EXPECT_EQ(mkdir(path), Errno::notcapable) << path;
    EXPECT_EQ(rmdir(path), Errno::notcapable) << path;
    EXPECT_EQ(unlink(path), Errno::notcapable) << path;
    EXPECT_EQ(symlink("x", path), Errno::notcapable) << path;
    EXPECT_EQ(link(path, "x"), Errno::notcapable) << path;
    EXPECT_EQ(link("file", path), Errno::notcapable) << path;
    EXPECT_EQ(rename(path, "x"), Errno::notcapable) << path;
    EXPECT_EQ(rename("file", path), Errno::notcapable) << path;
    EXPECT_EQ(readlink(path, text), Errno::notcapable) << path;
    EXPECT_EQ(rig_.stat(path), Errno::notcapable) << path;
    EXPECT_EQ(rig_.stat(path, lookupflags::symlink_follow), Errno::notcapable) << path;
  }
  EXPECT_EQ(rig_.stat("out", lookupflags::symlink_follow), Errno::notcapable);
  EXPECT_EQ(rig_.stat("out"), Errno::success);
  EXPECT_EQ(Folders::read(folders_.outside() + "/secret"), "secret");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folders_.outside()), {}), 1);
}

INSTANTIATE_TEST_SUITE_P(Both, PathNames, testing::Values(Resolver::kernel, Resolver::components),
                         [](const auto& info) { return info.param == Resolver::kernel ? "Kernel" : "Components"; });

}  // namespace
}  // namespace doppel::wasi
