// A console without a terminal: nothing that the guest prints is lost to the log, nothing that is typed is lost at all,
// and a client that does not read stops nobody.
#include "api/background_console.h"

#include <fcntl.h>

#include <list>
#include <thread>

#include "unit/api/api_rig.h"

namespace doppel {
namespace {

using namespace test;
using testing::EndsWith;
using testing::HasSubstr;

/// Takes a few keys at a time, as a guest that reads slowly does.
class SlowGuest {
 public:
  std::size_t type(std::span<const std::byte> keys) {
    std::lock_guard guard(lock_);
    const auto taken = std::min<std::size_t>(keys.size(), calls_++ % 3 == 0 ? 0 : 100);
    typed_.append(reinterpret_cast<const char*>(keys.data()), taken);
    return taken;
  }
  std::string typed() {
    std::lock_guard guard(lock_);
    return typed_;
  }

 private:
  std::mutex lock_;
  std::string typed_;
  unsigned calls_ = 0;
};

class BackgroundConsoles : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    auto loop = EventLoop::create(lock_);
    ASSERT_TRUE(loop);
    loop_ = *std::move(loop);
    folder_ = FileDescriptor(::open(top_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto make = [&](const char* name) {
      return FileDescriptor(::openat(folder_.get(), name, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    };
    console_.emplace(*loop_, ConsoleLog(make(console_log_names[0]), make(console_log_names[1])));
    console_->set_keyboard([this](std::span<const std::byte> keys) { return guest_.type(keys); });
    thread_ = std::thread([this] { loop_->run(); });
  }
  void TearDown() override {
    end_thread();
    InFolder::TearDown();
  }
  void end_thread() {
    if (!thread_.joinable()) return;
    loop_->stop();
    thread_.join();
  }
  /// Attaches; our end of the connection.
  FileDescriptor attach() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const std::string request = "{\"do\":\"attach\"}\n";
    EXPECT_EQ(::send(ends[0], request.data(), request.size(), 0), ssize_t(request.size()));
    std::lock_guard guard(lock_);
    connections_.emplace_back(
        FileDescriptor(ends[1]), *loop_,
        [this](ControlConnection& connection, Result<ControlRequest>) { console_->attach(connection); },
        [this](ControlConnection& gone) {
          console_->detach(gone);
          connections_.remove_if([&](auto& one) { return &one == &gone; });
        });
    return FileDescriptor(ends[0]);
  }
  std::string logged() {
    auto reader = ConsoleLogReader::open(folder_.get());
    std::string text;
    if (reader)
      reader->read([&](auto piece) { text.append(reinterpret_cast<const char*>(piece.data()), piece.size()); });
    return text;
  }

  std::recursive_mutex lock_;
  std::unique_ptr<EventLoop> loop_;
  FileDescriptor folder_;
  SlowGuest guest_;
  std::optional<BackgroundConsole> console_;
  std::list<ControlConnection> connections_;
  std::thread thread_;
};

TEST_F(BackgroundConsoles, ShowWhatWasPrintedBefore) {
  console_->output(bytes("before\n"));
  const auto client = attach();
  EXPECT_EQ(read_until(client.get(), "before\n"), "before\n");
  console_->output(bytes("after\n"));
  EXPECT_EQ(read_until(client.get(), "after\n"), "after\n");
}

TEST_F(BackgroundConsoles, ShowTheLastLinesOfMuch) {
  std::string all;
  for (int n = 0; n < 40'000; n++) {
    const auto line = "line " + std::to_string(n) + "\n";
    console_->output(bytes(line));
    all += line;
  }
  const auto client = attach();
  const auto shown = read_until(client.get(), "line 39999\n");
  EXPECT_TRUE(all.ends_with(shown));
  EXPECT_TRUE(shown.starts_with("line "));
  EXPECT_LE(shown.size(), BackgroundConsole::most_recent * 2);
  EXPECT_GT(shown.size(), BackgroundConsole::most_recent / 2);
}

TEST_F(BackgroundConsoles, KeepTypingUntilTheGuestHasTakenAll) {
  const auto client = attach();
  std::string keys;
  for (int n = 0; n < 5000; n++) keys += std::to_string(n) + " ";
  for (std::size_t sent = 0; sent < keys.size();)
    sent += std::size_t(std::max<ssize_t>(0, ::send(client.get(), keys.data() + sent, keys.size() - sent, 0)));
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_to_end(client.get()), "") << "hangs up when all is typed";
  EXPECT_EQ(guest_.typed(), keys);
}

TEST_F(BackgroundConsoles, KeepTypingWhenTheClientHasLeft) {
  {
    const auto client = attach();
    EXPECT_EQ(::send(client.get(), "left behind", 11, 0), 11);
  }
  const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
  while (guest_.typed() != "left behind" && monotonic_ns() < end) ::usleep(1000);
  EXPECT_EQ(guest_.typed(), "left behind");
}

TEST_F(BackgroundConsoles, DoNotWaitForSlowClients) {
  const auto slow = attach(), quick = attach();
  std::string got, all;
  std::thread reader([&] { got = read_until(quick.get(), "the end\n"); });
  for (int n = 0; n < 4000; n++) {
    const auto line = std::to_string(n) + std::string(1000, 'x') + "\n";
    console_->output(bytes(line));
    all += line;
    std::lock_guard guard(lock_);  // the loop's thread keeps pace
  }
  console_->output(bytes("the end\n"));
  all += "the end\n";
  reader.join();
  EXPECT_LT(read_to_end(slow.get()).size(), all.size()) << "and it was hung up on";
  end_thread();
  console_->finish();
  EXPECT_EQ(logged(), all);
}

// The guest prints under the device lock, for which the loop's thread may be waiting.
TEST_F(BackgroundConsoles, LogMoreThanWaitsForTheLoop) {
  const auto client = attach();
  console_->output(bytes("begin\n"));
  EXPECT_EQ(read_until(client.get(), "begin\n"), "begin\n");
  std::string all = "begin\n";
  {
    std::lock_guard guard(lock_);  // the loop's thread stands
    for (int n = 0; n < 3000; n++) {
      const auto line = std::to_string(n) + std::string(1000, 'y') + "\n";
      console_->output(bytes(line));
      all += line;
    }
  }
  read_to_end(client.get());  // it missed some
  end_thread();
  console_->finish();
  EXPECT_EQ(logged(), all);
}

TEST_F(BackgroundConsoles, LastWordsReachTheClients) {
  const auto client = attach();
  console_->output(bytes("begin\n"));
  EXPECT_EQ(read_until(client.get(), "begin\n"), "begin\n");
  end_thread();
  console_->output(bytes("reboot: Power down\n"));
  console_->finish();
  EXPECT_THAT(read_until(client.get(), "down\n"), EndsWith("Power down\n"));
  EXPECT_THAT(logged(), HasSubstr("Power down"));
  console_->clear_log();
  EXPECT_EQ(logged(), "");
}

}  // namespace
}  // namespace doppel
