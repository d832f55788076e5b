// What is open, as records, and opened again.
#include <fcntl.h>
#include <sys/socket.h>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class Saved : public testing::Test {
 protected:
  Saved() : rig_(std::make_unique<Rig>(Rig::configuration(folders_))) {
    std::filesystem::create_directory(folders_.granted("folder"));
    Folders::write(folders_.granted("folder/file"), "0123456789");
  }
  SavedState save() {
    auto state = rig_->wasi().save();
    EXPECT_TRUE(state) << state.message();
    return state ? *state : SavedState{};
  }
  /// The sentence, or nothing where it worked.
  std::string restore(const SavedState& state, bool read_only = false) {
    rig_ = std::make_unique<Rig>(Rig::configuration(folders_, read_only));
    const auto done = rig_->wasi().restore(state);
    return done ? "" : done.message();
  }

  Folders folders_;
  std::unique_ptr<Rig> rig_;
  std::string text_;
};

TEST_F(Saved, FilesGoOnWhereTheyWere) {
  std::uint32_t folder = 0, file = 0;
  ASSERT_EQ(rig_->open("folder", folder, oflags::directory, rights::directory), Errno::success);
  ASSERT_EQ(
      rig_->open("file", file, 0, rights::fd_read | rights::fd_write | rights::fd_tell, 0, fdflags::append, folder),
      Errno::success);
  EXPECT_EQ(rig_->read(file, text_, 4), Errno::success);
  const auto state = save();
  ASSERT_EQ(state.descriptors.size(), 3u);
  EXPECT_EQ(restore(state), "");
  EXPECT_EQ(rig_->read(file, text_, 3), Errno::success);
  EXPECT_EQ(text_, "456");
  EXPECT_EQ(rig_->write(file, "+"), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("folder/file")), "0123456789+") << "append is kept";
  EXPECT_EQ(rig_->call("fd_seek", file, 1, 0, Rig::counter), Errno::notcapable) << "and what was not a right";
  std::uint32_t again = 0;
  EXPECT_EQ(rig_->open("file", again, 0, rights::fd_read, 0, 0, folder), Errno::success);
  EXPECT_EQ(rig_->open("folder/file", again), Errno::success) << "by the grant";
}

TEST_F(Saved, ASecondSaveIsTheFirst) {
  rig_->must_open("folder/file");
  const auto state = save();
  EXPECT_EQ(restore(state), "");
  EXPECT_EQ(save().descriptors, state.descriptors);
}

TEST_F(Saved, ARenamedFileIsFoundUnderItsNewName) {
  const auto file = rig_->must_open("folder/file");
  std::filesystem::rename(folders_.granted("folder/file"), folders_.granted("moved"));
  EXPECT_EQ(restore(save()), "");
  EXPECT_EQ(rig_->read(file, text_), Errno::success);
  EXPECT_EQ(text_, "0123456789");
}

TEST_F(Saved, WhatCannotBeOpenedAgainIsNamed) {
  const auto file = rig_->must_open("folder/file");
  const auto state = save();
  std::filesystem::remove(folders_.granted("folder/file"));
  auto unsaved = rig_->wasi().save();
  ASSERT_FALSE(unsaved);
  EXPECT_NE(unsaved.message().find("granted/folder/file, which has no name any more"), std::string::npos)
      << unsaved.message();
  EXPECT_NE(restore(state).find("granted/folder/file open, which cannot be opened again (noent)"), std::string::npos);
  EXPECT_EQ(rig_->read(file, text_), Errno::badf) << "nothing has changed";
  EXPECT_EQ(rig_->stat("folder"), Errno::success);
  std::filesystem::create_directory(folders_.granted("folder/file"));
  EXPECT_NE(restore(state).find("granted/folder/file open"), std::string::npos);
  std::filesystem::remove(folders_.granted("folder/file"));
  Folders::write(folders_.granted("folder/first"), "");
  Folders::write(folders_.granted("folder/file"), "another");
  const auto other = restore(state);
  if (!other.empty()) EXPECT_NE(other.find("another file has its name now"), std::string::npos) << other;
}

TEST_F(Saved, AWriterIsNotOpenedAgainBeneathAReadOnlyGrant) {
  rig_->must_open("folder/file");
  EXPECT_NE(restore(save(), true).find("is given the folder read-only now"), std::string::npos);
}

TEST_F(Saved, RecordsOfAnyKindNeverLeadOut) {
  rig_->must_open("folder/file");
  const auto state = save();
  for (const char* path : {"../outside/secret", "/etc/passwd", "..", "", "folder/../../outside/secret"}) {
    auto hostile = state;
    for (auto& record : hostile.descriptors)
      if (record.kind == DescriptorRecord::Kind::file) record.path = path;
    EXPECT_NE(restore(hostile), "") << path;
  }
  auto hostile = state;
  for (auto& record : hostile.descriptors) record.source = 77;
  EXPECT_NE(restore(hostile), "");
  hostile = state;
  for (auto& record : hostile.descriptors) record.kind = DescriptorRecord::Kind::stdio;
  EXPECT_NE(restore(hostile).find("is not given it now"), std::string::npos);
}

TEST_F(Saved, AForgedRecordGivesNoRights) {
  const FileDescriptor folder(::open(folders_.outside().c_str(), O_RDONLY | O_DIRECTORY));
  auto configuration = Rig::configuration(folders_);
  configuration.stdio[0] = folder.get();
  rig_ = std::make_unique<Rig>(configuration);
  auto state = save();
  for (auto& record : state.descriptors) {
    record.base = record.inheriting = ~0ULL;
    record.flags = 0xffff;
    if (record.kind == DescriptorRecord::Kind::stdio) record.number = 0xffffffff;
  }
  ASSERT_TRUE(rig_->wasi().restore(state));
  std::uint32_t fd = 0;
  EXPECT_EQ(rig_->open("secret", fd, 0, rights::fd_read, 0, 0, 0xffffffff), Errno::notcapable);
  EXPECT_EQ(rig_->call("fd_readdir", 0xffffffff, 0, 100, 0, Rig::counter), Errno::notcapable);
  EXPECT_EQ(rig_->open("folder/file", fd), Errno::success);
}

TEST_F(Saved, WhatItWasStartedWithItIsGivenAgain) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const FileDescriptor mine(ends[0]), theirs(ends[1]);
  auto configuration = Rig::configuration(folders_);
  configuration.stdio[0] = theirs.get();
  rig_ = std::make_unique<Rig>(configuration);
  const auto state = save();
  ASSERT_TRUE(rig_->wasi().restore(state));
  ASSERT_EQ(::write(mine.get(), "x", 1), 1);
  EXPECT_EQ(rig_->read(0, text_), Errno::success);
  EXPECT_EQ(text_, "x");
}

}  // namespace
}  // namespace doppel::wasi
