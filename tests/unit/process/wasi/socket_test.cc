// A listening socket that a program was given, and what comes in by it.
#include <sys/socket.h>
#include <sys/un.h>

#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

class Sockets : public testing::TestWithParam<bool> {
 protected:
  Sockets() : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    strncpy(address_.sun_path, (folders_.outside() + "/socket").c_str(), sizeof address_.sun_path - 1);
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    EXPECT_EQ(listen(listener_.get(), 5), 0);
    auto configuration = Rig::configuration(folders_);
    configuration.listeners = {listener_.get()};
    configuration.yielding = GetParam();
    rig_ = std::make_unique<Rig>(configuration);
  }
  FileDescriptor connect() {
    FileDescriptor out(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(out.get(), reinterpret_cast<sockaddr*>(&address_), sizeof address_), 0);
    return out;
  }
  std::uint32_t accept() {
    EXPECT_EQ(rig_->call("sock_accept", listening, 0, Rig::counter), Errno::success);
    return rig_->get<std::uint32_t>(Rig::counter);
  }
  Errno receive(std::uint32_t fd, std::string& out, std::uint32_t flags = 0, std::uint32_t most = 100) {
    const auto to = rig_->room(most);
    const Errno error = rig_->call("sock_recv", fd, rig_->vector(to, most), 1, flags, Rig::counter, Rig::counter + 4);
    out = error == Errno::success ? rig_->text(to, rig_->get<std::uint32_t>(Rig::counter)) : "";
    return error;
  }
  Errno send(std::uint32_t fd, std::string_view text, std::uint32_t flags = 0) {
    const auto from = rig_->put(text);
    return rig_->call("sock_send", fd, rig_->vector(from.at, from.size), 1, flags, Rig::counter);
  }
  static constexpr std::uint32_t listening = 4;  ///< behind the grant

  Folders folders_;
  sockaddr_un address_{.sun_family = AF_UNIX, .sun_path = {}};
  FileDescriptor listener_;
  std::unique_ptr<Rig> rig_;
  std::string text_;
};

TEST_P(Sockets, ConnectionsAreAcceptedAndCarryBytesBothWays) {
  const auto peer = connect();
  const auto fd = accept();
  EXPECT_EQ(rig_->call("fd_fdstat_get", fd, Rig::status), Errno::success);
  EXPECT_EQ(FileType(rig_->get<std::uint8_t>(Rig::status)), FileType::socket_stream);
  ASSERT_EQ(::write(peer.get(), "hello", 5), 5);
  EXPECT_EQ(receive(fd, text_, riflags::recv_peek, 3), Errno::success);
  EXPECT_EQ(text_, "hel");
  EXPECT_EQ(rig_->get<std::uint16_t>(Rig::counter + 4), 0u);
  EXPECT_EQ(rig_->read(fd, text_), Errno::success);
  EXPECT_EQ(text_, "hello");
  EXPECT_EQ(send(fd, "wo"), Errno::success);
  EXPECT_EQ(rig_->write(fd, "rld"), Errno::success);
  char out[10];
  EXPECT_EQ(::read(peer.get(), out, sizeof out), 5);
  EXPECT_EQ(rig_->call("sock_shutdown", fd, sdflags::wr), Errno::success);
  EXPECT_EQ(::read(peer.get(), out, sizeof out), 0);
  EXPECT_EQ(send(fd, "x"), Errno::pipe) << "and the host lives";
  EXPECT_EQ(rig_->call("sock_shutdown", fd, 0), Errno::inval);
  EXPECT_EQ(rig_->call("sock_shutdown", fd, 4), Errno::inval);
  EXPECT_EQ(receive(fd, text_, 4), Errno::inval);
  EXPECT_EQ(send(fd, "x", 1), Errno::inval);
  EXPECT_EQ(rig_->call("fd_seek", fd, 0, 1, Rig::counter), Errno::spipe);
  const auto state = rig_->wasi().save();
  ASSERT_FALSE(state);
  EXPECT_NE(state.message().find("is a connection, which cannot be saved"), std::string::npos);
}

TEST_P(Sockets, ThatMustNotWaitSaySo) {
  EXPECT_EQ(rig_->call("fd_fdstat_set_flags", listening, fdflags::nonblock), Errno::success);
  EXPECT_EQ(rig_->call("sock_accept", listening, 0, Rig::counter), Errno::again);
  const auto peer = connect();
  EXPECT_EQ(rig_->call("sock_accept", listening, fdflags::append, Rig::counter), Errno::inval);
  EXPECT_EQ(rig_->call("sock_accept", listening, fdflags::nonblock, Rig::counter), Errno::success);
  const auto fd = rig_->get<std::uint32_t>(Rig::counter);
  EXPECT_EQ(receive(fd, text_), Errno::again);
  EXPECT_EQ(receive(fd, text_, riflags::recv_waitall), Errno::again);
  Errno error = Errno::success;
  for (int n = 0; n < 1000 && error == Errno::success; n++) error = send(fd, std::string(10'000, 'x'));
  EXPECT_EQ(error, Errno::again) << "full";
}

TEST_P(Sockets, LetTheHostWait) {
  if (!GetParam()) return;
  const auto accepts = [&] {
    return rig_->run("wasi_snapshot_preview1", "sock_accept", {listening, 0, Rig::counter}).kind;
  };
  EXPECT_EQ(accepts(), wasm::HostOutcome::Kind::waits);
  ASSERT_EQ(rig_->wasi().pending().descriptors.size(), 1u);
  const auto peer = connect();
  EXPECT_EQ(accepts(), wasm::HostOutcome::Kind::returned);
  const auto fd = rig_->get<std::uint32_t>(Rig::counter);
  const auto outcome = rig_->run("wasi_snapshot_preview1", "sock_recv",
                                 {fd, rig_->vector(1024, 10), 1, 0, Rig::counter, Rig::counter + 4});
  EXPECT_EQ(outcome.kind, wasm::HostOutcome::Kind::waits);
}

TEST_P(Sockets, OtherThingsAreNone) {
  Folders::write(folders_.granted("file"), "");
  const auto file = rig_->must_open("file");
  EXPECT_EQ(receive(file, text_), Errno::notsock);
  EXPECT_EQ(send(file, "x"), Errno::notsock);
  EXPECT_EQ(rig_->call("sock_shutdown", file, 1), Errno::notsock);
  EXPECT_EQ(rig_->call("sock_accept", file, 0, Rig::counter), Errno::notsock);
  EXPECT_EQ(rig_->call("sock_shutdown", 99, 1), Errno::badf);
}

INSTANTIATE_TEST_SUITE_P(Both, Sockets, testing::Bool(),
                         [](const auto& info) { return info.param ? "Yielding" : "Waiting"; });

}  // namespace
}  // namespace doppel::wasi
