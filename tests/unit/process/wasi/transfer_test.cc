// Reading, writing and seeking: files, and what may have to wait.
#include <fcntl.h>
#include <sys/socket.h>

#include <thread>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class Files : public testing::Test {
 protected:
  Files() : rig_(Rig::configuration(folders_)) { Folders::write(folders_.granted("file"), "0123456789"); }
  std::uint64_t seek(std::uint32_t fd, std::int64_t offset, std::uint32_t whence) {
    EXPECT_EQ(rig_.call("fd_seek", fd, offset, whence, Rig::counter), Errno::success);
    return rig_.get<std::uint64_t>(Rig::counter);
  }

  Folders folders_;
  Rig rig_;
  std::string text_;
};

TEST_F(Files, AreReadAndWrittenAtTheirOffset) {
  const auto fd = rig_.must_open("file");
  EXPECT_EQ(rig_.read(fd, text_, 4), Errno::success);
  EXPECT_EQ(text_, "0123");
  EXPECT_EQ(rig_.write(fd, "abc"), Errno::success);
  EXPECT_EQ(rig_.get<std::uint32_t>(Rig::counter), 3u);
  EXPECT_EQ(rig_.call("fd_tell", fd, Rig::counter), Errno::success);
  EXPECT_EQ(rig_.get<std::uint64_t>(Rig::counter), 7u);
  EXPECT_EQ(seek(fd, -2, 2), 8u);
  EXPECT_EQ(seek(fd, -3, 1), 5u);
  EXPECT_EQ(seek(fd, 2, 0), 2u);
  EXPECT_EQ(rig_.read(fd, text_), Errno::success);
  EXPECT_EQ(text_, "23abc789");
  EXPECT_EQ(rig_.read(fd, text_), Errno::success);
  EXPECT_EQ(text_, "") << "the end";
  EXPECT_EQ(rig_.call("fd_seek", fd, -1, 0, Rig::counter), Errno::inval);
  EXPECT_EQ(rig_.call("fd_seek", fd, 0, 3, Rig::counter), Errno::inval);
}

TEST_F(Files, AreReadAndWrittenInPiecesAndElsewhere) {
  const auto fd = rig_.must_open("file");
  const auto first = rig_.room(3), second = rig_.room(4), vectors = rig_.room(24);
  for (const auto& [n, at, size] : {std::tuple(0, first, 3), {1, 0U, 0}, {2, second, 4}}) {
    rig_.set(vectors + std::uint32_t(n) * 8, at);
    rig_.set(vectors + std::uint32_t(n) * 8 + 4, size);
  }
  EXPECT_EQ(rig_.call("fd_pread", fd, vectors, 3, 1, Rig::counter), Errno::success);
  EXPECT_EQ(rig_.get<std::uint32_t>(Rig::counter), 7u);
  EXPECT_EQ(rig_.text(first, 3) + rig_.text(second, 4), "1234567");
  EXPECT_EQ(rig_.call("fd_pwrite", fd, vectors, 3, 0, Rig::counter), Errno::success);
  EXPECT_EQ(Folders::read(folders_.granted("file")), "1234567789");
  EXPECT_EQ(seek(fd, 0, 1), 0u) << "the offset is as it was";
  EXPECT_EQ(rig_.call("fd_pread", fd, vectors, 3, ~0ULL, Rig::counter), Errno::inval);
  EXPECT_EQ(rig_.call("fd_pwrite", fd, vectors, 3, 1ULL << 63, Rig::counter), Errno::inval);
  for (const char* name : {"fd_read", "fd_write"})
    EXPECT_EQ(rig_.call(name, fd, vectors, 0, Rig::counter), Errno::success) << "nothing at all is something too";
  EXPECT_EQ(rig_.call("fd_pread", fd, vectors, 0, 0, Rig::counter), Errno::success);
  EXPECT_EQ(rig_.get<std::uint32_t>(Rig::counter), 0u);
}

TEST_F(Files, FoldersAreNotReadOrWritten) {
  std::uint32_t fd = 0;
  ASSERT_EQ(rig_.open(".", fd, oflags::directory, rights::all & ~rights::fd_write), Errno::success);
  EXPECT_EQ(rig_.read(fd, text_), Errno::isdir);
  EXPECT_EQ(rig_.write(fd, "x"), Errno::isdir);
  EXPECT_EQ(rig_.call("fd_pread", fd, 0, 0, 0, Rig::counter), Errno::isdir);
  EXPECT_EQ(rig_.call("fd_seek", fd, 0, 1, Rig::counter), Errno::isdir);
  EXPECT_EQ(rig_.call("fd_tell", fd, Rig::counter), Errno::isdir);
  EXPECT_EQ(rig_.call("fd_allocate", fd, 0, 1), Errno::isdir);
  EXPECT_EQ(rig_.call("fd_filestat_set_size", fd, 0), Errno::isdir);
  EXPECT_EQ(rig_.call("sock_shutdown", fd, 1), Errno::notsock);
}

TEST_F(Files, WhatIsNotOpenIsNoDescriptor) {
  for (const std::uint32_t fd : {4U, 77U, 0x7fffffffU, 0xffffffffU}) {
    EXPECT_EQ(rig_.read(fd, text_), Errno::badf);
    EXPECT_EQ(rig_.write(fd, "x"), Errno::badf);
    EXPECT_EQ(rig_.call("fd_seek", fd, 0, 1, Rig::counter), Errno::badf);
    EXPECT_EQ(rig_.call("fd_sync", fd), Errno::badf);
    EXPECT_EQ(rig_.call("fd_close", fd), Errno::badf);
  }
}

/// A program whose standard input and output are pipes of the test's.
class Pipes : public testing::TestWithParam<bool> {
 protected:
  Pipes() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    input_ = FileDescriptor(ends[0]), feed_ = FileDescriptor(ends[1]);
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    drain_ = FileDescriptor(ends[0]), output_ = FileDescriptor(ends[1]);
    auto configuration = Rig::configuration(folders_);
    configuration.stdio = {input_.get(), output_.get(), -1};
    configuration.yielding = GetParam();
    rig_ = std::make_unique<Rig>(configuration);
  }
  void feed(std::string_view text) { EXPECT_EQ(::write(feed_.get(), text.data(), text.size()), ssize_t(text.size())); }
  wasm::HostOutcome try_read() {
    return rig_->run("wasi_snapshot_preview1", "fd_read", {0, rig_->vector(1024, 100), 1, Rig::counter});
  }
  wasm::HostOutcome try_write(std::uint32_t size) {
    return rig_->run("wasi_snapshot_preview1", "fd_write", {1, rig_->vector(4096, size), 1, Rig::counter});
  }

  Folders folders_;
  FileDescriptor input_, feed_, drain_, output_;
  std::unique_ptr<Rig> rig_;
  std::string text_;
};

TEST_P(Pipes, CarryBytesAndCannotSeek) {
  feed("hello");
  EXPECT_EQ(rig_->read(0, text_), Errno::success);
  EXPECT_EQ(text_, "hello");
  EXPECT_EQ(rig_->write(1, "bye"), Errno::success);
  char out[10];
  EXPECT_EQ(::read(drain_.get(), out, sizeof out), 3);
  EXPECT_EQ(rig_->call("fd_seek", 0, 0, 1, Rig::counter), Errno::spipe);
  EXPECT_EQ(rig_->call("fd_tell", 0, Rig::counter), Errno::spipe);
  EXPECT_EQ(rig_->call("fd_pread", 0, 0, 0, 0, Rig::counter), Errno::spipe);
  EXPECT_EQ(rig_->write(0, "x"), Errno::notcapable) << "it is open for reading";
  EXPECT_EQ(rig_->read(1, text_), Errno::notcapable);
  feed_ = FileDescriptor();
  EXPECT_EQ(rig_->read(0, text_), Errno::success);
  EXPECT_EQ(text_, "") << "the end";
  drain_ = FileDescriptor();
  EXPECT_EQ(rig_->write(1, "x"), Errno::pipe) << "and the host lives";
}

TEST_P(Pipes, ThatMustNotWaitSaySoAndTheHostsFlagsStay) {
  const int before = fcntl(input_.get(), F_GETFL);
  EXPECT_EQ(rig_->call("fd_fdstat_set_flags", 0, fdflags::nonblock), Errno::success);
  EXPECT_EQ(rig_->call("fd_fdstat_set_flags", 1, fdflags::nonblock), Errno::success);
  EXPECT_EQ(rig_->call("fd_fdstat_set_flags", 1, fdflags::append), Errno::inval);
  EXPECT_EQ(fcntl(input_.get(), F_GETFL), before) << "others have the same pipe";
  EXPECT_EQ(rig_->read(0, text_), Errno::again);
  Errno error = Errno::success;
  for (int n = 0; n < 100 && error == Errno::success; n++)
    error = rig_->call("fd_write", 1, rig_->vector(4096, 50'000), 1, Rig::counter);
  EXPECT_EQ(error, Errno::again) << "full";
}

TEST_P(Pipes, WaitForWhatComes) {
  if (GetParam()) return;
  // Whether it comes before the reader waits or after, is well.
  std::thread later([&] { feed("late"); });
  EXPECT_EQ(rig_->read(0, text_), Errno::success);
  EXPECT_EQ(text_, "late");
  later.join();
}

TEST_P(Pipes, LetTheHostWait) {
  if (!GetParam()) return;
  EXPECT_EQ(try_read().kind, wasm::HostOutcome::Kind::waits);
  ASSERT_EQ(rig_->wasi().pending().descriptors.size(), 1u);
  EXPECT_EQ(rig_->wasi().pending().descriptors[0].events, POLLIN);
  EXPECT_FALSE(rig_->wasi().pending().deadline);
  pollfd probe = rig_->wasi().pending().descriptors[0];
  EXPECT_EQ(poll(&probe, 1, 0), 0);
  EXPECT_EQ(try_read().kind, wasm::HostOutcome::Kind::waits) << "called again too early";
  feed("now");
  EXPECT_EQ(poll(&probe, 1, 0), 1);
  EXPECT_EQ(try_read().kind, wasm::HostOutcome::Kind::returned);
  EXPECT_EQ(rig_->text(1024, 3), "now");
  EXPECT_TRUE(rig_->wasi().pending().descriptors.empty());
  auto outcome = wasm::HostOutcome::returned();
  for (int n = 0; n < 100 && outcome.kind == wasm::HostOutcome::Kind::returned; n++) outcome = try_write(50'000);
  EXPECT_EQ(outcome.kind, wasm::HostOutcome::Kind::waits) << "full, and the host was not held up";
  EXPECT_EQ(rig_->wasi().pending().descriptors.at(0).events, POLLOUT);
}

INSTANTIATE_TEST_SUITE_P(Both, Pipes, testing::Bool(),
                         [](const auto& info) { return info.param ? "Yielding" : "Waiting"; });

TEST(Stdio, TellsFilesTerminalsAndFoldersApart) {
  const Folders folders;
  Folders::write(folders.granted("in"), "from a file");
  const FileDescriptor input(::open(folders.granted("in").c_str(), O_RDONLY)), null(::open("/dev/null", O_RDWR)),
      folder(::open(folders.outside().c_str(), O_RDONLY | O_DIRECTORY));
  auto configuration = Rig::configuration(folders);
  configuration.stdio = {input.get(), null.get(), folder.get()};
  Rig rig(configuration);
  std::string text;
  EXPECT_EQ(rig.read(0, text), Errno::success);
  EXPECT_EQ(text, "from a file");
  EXPECT_EQ(rig.call("fd_seek", 0, 0, 0, Rig::counter), Errno::success);
  EXPECT_EQ(rig.write(1, "nowhere"), Errno::success);
  EXPECT_EQ(rig.call("fd_fdstat_get", 1, Rig::status), Errno::success);
  EXPECT_EQ(FileType(rig.get<std::uint8_t>(Rig::status)), FileType::character_device);
  EXPECT_TRUE(rig.get<std::uint64_t>(Rig::status + 8) & rights::fd_seek) << "so isatty() says no";
  std::uint32_t fd = 0;
  EXPECT_EQ(rig.open("secret", fd, 0, rights::fd_read, 0, 0, 2), Errno::notcapable) << "that folder is not granted";
  EXPECT_EQ(rig.call("fd_readdir", 2, 1024, 100, 0, Rig::counter), Errno::notcapable);
  EXPECT_EQ(rig.call("fd_close", 0), Errno::success);
  EXPECT_GE(fcntl(input.get(), F_GETFD), 0) << "the caller's stays open";
}

TEST(Stdio, ATerminalCannotSeekByWhichIsattyKnowsIt) {
  const FileDescriptor main_end(posix_openpt(O_RDWR | O_NOCTTY));
  ASSERT_TRUE(main_end);
  ASSERT_EQ(grantpt(main_end.get()), 0);
  ASSERT_EQ(unlockpt(main_end.get()), 0);
  const FileDescriptor terminal(::open(ptsname(main_end.get()), O_RDWR | O_NOCTTY));
  ASSERT_TRUE(terminal);
  const Folders folders;
  auto configuration = Rig::configuration(folders);
  configuration.stdio = {terminal.get(), terminal.get(), -1};
  Rig rig(configuration);
  EXPECT_EQ(rig.call("fd_fdstat_get", 0, Rig::status), Errno::success);
  EXPECT_EQ(FileType(rig.get<std::uint8_t>(Rig::status)), FileType::character_device);
  EXPECT_EQ(rig.get<std::uint64_t>(Rig::status + 8) & (rights::fd_seek | rights::fd_tell), 0u);
  std::string text;
  ASSERT_EQ(::write(main_end.get(), "typed\n", 6), 6);
  EXPECT_EQ(rig.read(0, text), Errno::success);
  EXPECT_EQ(text, "typed\n");
}

}  // namespace
}  // namespace doppel::wasi
