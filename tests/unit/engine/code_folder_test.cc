// Who may have written what the code cache would execute.
#include "engine/code_folder.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/code_segment_format.h"
#include "unit/engine/code_objects.h"

namespace doppel::test {
namespace {

constexpr uid_t nobody = 65534;

using CodeFolderTest = StoreTest;

TEST_F(CodeFolderTest, IsMadeForItsUserOnly) {
  fill(0, 10);
  struct stat status;
  ASSERT_EQ(stat(cache.path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(stat(only_file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(CodeFolderTest, ThatOthersMayWriteToIsRefused) {
  fill(0, 10);
  for (const mode_t mode : {0720u, 0702u, 0777u, 01777u}) {
    ASSERT_EQ(chmod(cache.path().c_str(), mode), 0);
    EXPECT_NE(refusal().find("other users may write"), std::string::npos) << refusal();
  }
  for (const mode_t mode : {0700u, 0755u}) {
    ASSERT_EQ(chmod(cache.path().c_str(), mode), 0);
    EXPECT_EQ(refusal(), "");
  }
}

TEST_F(CodeFolderTest, OfAnotherUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a folder away";
  fill(0, 10);
  ASSERT_EQ(chown(cache.path().c_str(), nobody, nobody), 0);
  EXPECT_NE(refusal().find("another user"), std::string::npos) << refusal();
}

TEST_F(CodeFolderTest, BehindASymbolicLinkIsRefused) {
  fill(0, 10);
  std::filesystem::create_directory_symlink(cache.path(), cache.top() / "link");
  for (const auto* name : {"link", "link/"}) {
    options.folder = cache.top() / name;
    EXPECT_NE(refusal().find("symbolic link"), std::string::npos) << refusal();
  }
  options.folder = cache.path().string() + "//";
  EXPECT_EQ(refusal(), "");
}

TEST_F(CodeFolderTest, ThatIsNoneOrNowhereIsRefused) {
  put_content(cache.path(), "a file");
  EXPECT_NE(refusal().find("not a folder"), std::string::npos) << refusal();
  options.folder = cache.top() / "no/where";
  EXPECT_NE(refusal().find("No such file"), std::string::npos) << refusal();
}

TEST_F(CodeFolderTest, FilesThatOthersMayWriteToAreNotRead) {
  fill(0, 10);
  const auto path = only_file();
  for (const mode_t mode : {0620u, 0602u}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    auto store = open();
    EXPECT_EQ(found(*store, 0, 10), 0u);
    EXPECT_EQ(store->counters().rejected, 1u);
  }
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(found(*open(), 0, 10), 10u);
}

TEST_F(CodeFolderTest, FilesOfAnotherUserAreNotRead) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  fill(0, 10);
  ASSERT_EQ(chown(only_file().c_str(), nobody, nobody), 0);
  auto store = open();
  EXPECT_EQ(found(*store, 0, 10), 0u);
  EXPECT_EQ(store->counters().rejected, 1u);
}

TEST_F(CodeFolderTest, LinksPipesAndFoldersWithAFilesNameAreNotRead) {
  fill(0, 10);
  const auto path = only_file(), elsewhere = cache.top() / "elsewhere";
  std::filesystem::rename(path, elsewhere);
  std::filesystem::create_symlink(elsewhere, path);
  EXPECT_EQ(found(*open(), 0, 10), 0u);
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(found(*open(), 0, 10), 0u);
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  EXPECT_EQ(found(*open(), 0, 10), 0u);
}

// Whatever else is in the folder is the user's.
TEST_F(CodeFolderTest, OtherFilesAreLeftAlone) {
  options.limit = 1 << 16;
  fill(0, 10);
  for (const auto* name : {"notes", "x.code", "0123456789abcdef-0123456789abcdeX.code"})
    put_content(cache.path() / name, std::string(1 << 17, 'x'));
  for (unsigned who = 1; who < 6; who++) fill(0, 10, who == 1 ? 9 : who);
  for (const auto* name : {"notes", "x.code", "0123456789abcdef-0123456789abcdeX.code"})
    EXPECT_EQ(std::filesystem::file_size(cache.path() / name), 1u << 17);
}

TEST_F(CodeFolderTest, FilesOfAnotherFormatAreReplaced) {
  fill(0, 10);
  const auto path = only_file();
  auto content = content_of(path);
  code_segment::FileHeader header;
  std::memcpy(&header, content.data(), sizeof header);
  header.version++;
  header.checksum = sha256({std::as_bytes(std::span(&header, 1)).first(offsetof(code_segment::FileHeader, checksum))});
  std::memcpy(content.data(), &header, sizeof header);
  put_content(path, content);
  EXPECT_EQ(found(*open(), 0, 10), 0u);
  EXPECT_FALSE(std::filesystem::exists(path));
  fill(0, 10);
  EXPECT_EQ(found(*open(), 0, 10), 10u);
}

// A process that holds the folder's lock and was stopped must not stop others: they read, and store nothing.
TEST_F(CodeFolderTest, ALockedFolderIsReadOnly) {
  fill(0, 10);
  const FileDescriptor lock(::open((cache.path() / "lock").c_str(), O_RDWR));
  struct flock whole{};
  whole.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(lock.get(), F_OFD_SETLK, &whole), 0);
  auto store = open();
  EXPECT_EQ(found(*store, 0, 10), 10u);
  add(*store, 10, 20);
  store->close();
  EXPECT_EQ(store->counters().stored, 0u);
}

TEST_F(CodeFolderTest, AFolderThatCannotBeWrittenIsRead) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  fill(0, 10);
  for (const auto& entry : std::filesystem::directory_iterator(cache.path()))
    std::filesystem::permissions(entry.path(), std::filesystem::perms::owner_read);
  std::filesystem::permissions(cache.path(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  auto store = open();
  EXPECT_EQ(found(*store, 0, 10), 10u);
  store.reset();
  std::filesystem::permissions(cache.path(), std::filesystem::perms::owner_all);
}

}  // namespace
}  // namespace doppel::test
