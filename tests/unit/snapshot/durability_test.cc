// A power cut loses what was not synced: a name is given only to what was, and to a manifest only once its pack has
// one.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <mutex>

#include "unit/snapshot/sample_machine.h"

namespace {

/// What was asked of the kernel, in order.
struct Call {
  enum class Kind { sync_file, sync_folder, rename } kind;
  std::string name;  // the new one of a rename
  ino_t file;        // that was synced or renamed
  off_t bytes;       // its size then
};
std::mutex calls_lock;
std::vector<Call> calls;

void note(Call::Kind kind, const std::string& name, const struct stat& status) {
  std::lock_guard guard(calls_lock);
  calls.push_back({kind, name, status.st_ino, status.st_size});
}

}  // namespace

// These take the C library's place in this program. Syncing takes no time here: no power cut comes.
extern "C" int fsync(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) return -1;
  note(S_ISDIR(status.st_mode) ? Call::Kind::sync_folder : Call::Kind::sync_file, "", status);
  return 0;
}

extern "C" int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  struct stat status;
  if (fstatat(from_folder, from, &status, 0) == 0) note(Call::Kind::rename, to, status);
  return int(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

namespace doppel {
namespace {

using Kind = Call::Kind;

bool synced_before(std::size_t rename) {
  for (std::size_t n = 0; n < rename; n++)
    if (calls[n].kind == Kind::sync_file && calls[n].file == calls[rename].file &&
        calls[n].bytes == calls[rename].bytes)
      return true;
  return false;
}

TEST(DurabilityTest, NothingHasANameBeforeItIsOnDisk) {
  SnapshotFolder folder;
  const auto store = must_open(folder.path());
  calls.clear();
  must_save(store, "one", sample_content(sample_pages(50, 1)));
  ASSERT_TRUE(store.export_to("one", folder.path("exported")).ok());
  std::vector<std::string> names;
  for (std::size_t n = 0; n < calls.size(); n++) {
    if (calls[n].kind != Kind::rename) continue;
    names.push_back(calls[n].name);
    EXPECT_TRUE(synced_before(n)) << calls[n].name;
    ASSERT_LT(n + 1, calls.size());
    EXPECT_EQ(calls[n + 1].kind, Kind::sync_folder) << "the name itself, before the next one and the end";
  }
  ASSERT_EQ(names.size(), 3u);
  EXPECT_TRUE(names[0].ends_with(".pack"));
  EXPECT_EQ(names[1], "one.snapshot");
  EXPECT_EQ(names[2], "exported");
}

TEST(DurabilityTest, PacksGoWhenItIsOnDiskThatNobodyNeedsThem) {
  SnapshotFolder folder;
  const auto store = must_open(folder.path());
  must_save(store, "one", sample_content(sample_pages(50, 1)));
  calls.clear();
  ASSERT_TRUE(store.remove("one").ok());
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].kind, Kind::sync_folder);
  EXPECT_EQ(folder.files(".pack").size(), 0u);
}

}  // namespace
}  // namespace doppel
