#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <cstdlib>

#include "unit/machine/console_guest.h"

namespace doppel {
namespace {

class OnTerminal : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    const winsize size{24, 80, 0, 0};
    ASSERT_EQ(openpty(&ends[0], &ends[1], nullptr, nullptr, &size), 0);
    master_ = FileDescriptor(ends[0]);
    slave_ = FileDescriptor(ends[1]);
    fcntl(master_.get(), F_SETFD, FD_CLOEXEC);
    before_ = mode();
  }
  void start(const std::function<void(Guest&)>& body = [](Guest& guest) { guest.run(); }) {
    process_.start(
        slave_.get(), -1,
        [&] {
          close(master_.get());
          Guest guest("stdio");
          body(guest);
        },
        true);
    screen_ = read_until(master_.get(), "ready\n");
    ASSERT_NE(screen_.find("ready\n"), screen_.npos) << screen_;
  }
  termios mode() const {
    termios now{};
    tcgetattr(slave_.get(), &now);
    return now;
  }
  bool raw() const { return (mode().c_lflag & (ICANON | ECHO | ISIG)) == 0; }
  bool as_before() const {
    const auto now = mode();
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag &&
           std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc) == 0;
  }
  std::string expect(std::string_view wanted) { return read_until(master_.get(), wanted); }

  FileDescriptor master_, slave_;
  termios before_{};
  Process process_;
  std::string screen_;
};

TEST_F(OnTerminal, IsRawAndControlAXGivesItBack) {
  start();
  EXPECT_TRUE(raw());
  send(master_.get(), "\x03\x1a\r");  // Ctrl-C, Ctrl-Z and Enter are the guest's
  EXPECT_NE(expect("\r]").find("\x03"), std::string::npos);
  send(master_.get(), "\x01x");
  EXPECT_EQ(process_.wait(), 0);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, ControlAHPrintsHelpAndControlAReachesTheGuest) {
  start();
  send(master_.get(), "\x01h");
  EXPECT_NE(expect("Ctrl-A x ").find("Ctrl-A x "), std::string::npos);
  send(master_.get(), "\x01\x01");
  EXPECT_NE(expect("[\x01]").find("[\x01]"), std::string::npos);
  send(master_.get(),
       "\x01"
       "ab");  // and across two reads
  EXPECT_NE(expect("b").find("\x01"), std::string::npos);
  send(master_.get(), "\x01");
  send(master_.get(), "X");
  EXPECT_EQ(process_.wait(), 0);
}

TEST_F(OnTerminal, ControlAXWorksWhenTheGuestTakesNothing) {
  start([](Guest& guest) {
    guest.console->set_input([](std::span<const std::byte>) { return std::size_t{0}; });
    guest.run();
  });
  for (int i = 0; i < 40; i++) send(master_.get(), std::string(2048, 'v'));  // more than is kept
  send(master_.get(), "\x01x");
  EXPECT_EQ(process_.wait(), 0);
}

TEST_F(OnTerminal, TellsItsSizeAndEachChange) {
  start();
  EXPECT_NE(screen_.find("size 80x24\n"), std::string::npos) << screen_;
  const winsize larger{50, 132, 0, 0};
  ioctl(master_.get(), TIOCSWINSZ, &larger);
  EXPECT_NE(expect("size 132x50\n").find("size 132x50\n"), std::string::npos);
}

TEST_F(OnTerminal, IsGivenBackBySignalsThatEndTheMachine) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    start();
    EXPECT_TRUE(raw());
    kill(process_.pid(), signal);
    EXPECT_EQ(process_.wait(), 0) << strsignal(signal);
    EXPECT_TRUE(as_before()) << strsignal(signal);
  }
}

TEST_F(OnTerminal, IsGivenBackByExit) {
  start([](Guest& guest) {
    guest.console->set_input([](std::span<const std::byte>) -> std::size_t { std::exit(3); });
    guest.run();
  });
  EXPECT_TRUE(raw());
  send(master_.get(), "!");
  EXPECT_EQ(process_.wait(), 3);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, IsGivenBackByABugOfOurs) {
  start([](Guest& guest) {
    guest.console->set_input([](std::span<const std::byte>) -> std::size_t { std::abort(); });
    guest.run();
  });
  EXPECT_TRUE(raw());
  send(master_.get(), "!");
  EXPECT_EQ(process_.wait(), -SIGABRT);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, IsGivenBackWhileTheProcessIsStopped) {
  start();
  kill(process_.pid(), SIGTSTP);
  int status = 0;
  ASSERT_EQ(waitpid(process_.pid(), &status, WUNTRACED), process_.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_TRUE(as_before());
  kill(process_.pid(), SIGCONT);
  EXPECT_NE(expect("size 80x24\n").find("size 80x24\n"), std::string::npos);
  EXPECT_TRUE(raw());
  send(master_.get(), "\x01x");
  EXPECT_EQ(process_.wait(), 0);
  EXPECT_TRUE(as_before());
}

TEST_F(OnTerminal, ThatCloses) {
  start();
  slave_ = {};
  master_ = {};
  EXPECT_EQ(process_.wait(), 0);
}

TEST_F(OnTerminal, IsGivenBackBeforeMessages) {
  start([](Guest& guest) {
    guest.console->set_input([&](std::span<const std::byte> data) {
      guest.console->restore_terminal();
      guest.say("restored\n");
      return data.size();
    });
    guest.run();
  });
  send(master_.get(), "!");
  EXPECT_NE(expect("restored").find("restored"), std::string::npos);
  EXPECT_TRUE(as_before());
}

// timeout(1) sends its signal twice; the user who means it waits a second.
TEST_F(OnTerminal, SecondSignalEndsAMachineThatHangs) {
  start([](Guest& guest) {
    guest.console->set_quit([&] {
      guest.say("quit");
      for (;;) pause();
    });
    guest.run();
  });
  kill(process_.pid(), SIGTERM);
  expect("quit");
  EXPECT_TRUE(as_before());
  const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
  int status = 0;
  pid_t ended = 0;
  while (ended == 0 && monotonic_ns() < end) {
    kill(process_.pid(), SIGTERM);
    ended = waitpid(process_.pid(), &status, WNOHANG);
    poll(nullptr, 0, 10);
  }
  ASSERT_NE(ended, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
}

TEST(StdioConsole, PassesAPipeAsItIsAndOutlivesItsEnd) {
  Pipe in, out;
  Process process;
  process.start(in.read.get(), out.write.get(), [] { Guest("stdio").run(); });
  read_until(out.read.get(), "ready\n");
  send(in.write.get(), "\x01x\x03");
  EXPECT_EQ(read_until(out.read.get(), "]"), "[\x01x\x03]");
  in.write = {};
  in.read = {};
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

// A guest that takes 16 bytes at a time (a UART) gets a file of any length whole.
TEST(StdioConsole, ReadsAFile) {
  const std::string path = testing::TempDir() + "console_input" + std::to_string(getpid());
  std::string content;
  for (int i = 0; content.size() < 20'000; i++) content += std::to_string(i) + "\n";
  std::ofstream(path) << content << "END";
  FileDescriptor in(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  unlink(path.c_str());
  Pipe out;
  Process process;
  process.start(in.get(), out.write.get(), [] {
    Guest guest("stdio");
    guest.appetite = 16;
    guest.run();
  });
  auto got = read_until(out.read.get(), "D]");
  std::erase_if(got, [](char c) { return c == '[' || c == ']'; });
  EXPECT_EQ(got, "ready\n" + content + "END");
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

TEST(StdioConsole, RunsWithoutInput) {
  FileDescriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (const int in : {null.get(), -1}) {
    Pipe out;
    Process process;
    process.start(in, out.write.get(), [] {
      Console::reserve_standard_descriptors();
      Guest("stdio").run();
    });
    EXPECT_EQ(read_until(out.read.get(), "ready\n"), "ready\n");
    kill(process.pid(), SIGTERM);
    EXPECT_EQ(process.wait(), 0);
  }
}

// Otherwise the first disk that is opened becomes standard output, and the guest's messages go into it.
TEST(StdioConsole, ClosedDescriptorsAreNotGivenToFiles) {
  Process process;
  process.start(-1, -1, [] {
    Console::reserve_standard_descriptors();
    _exit(::open("/dev/zero", O_RDWR) > 2 ? 0 : 1);
  });
  EXPECT_EQ(process.wait(), 0);
}

TEST(StdioConsole, RunsWithoutAReader) {
  Pipe in, out;
  out.read = {};
  for (const int output : {out.write.get(), -1}) {
    Process process;
    process.start(in.read.get(), output, [&] {
      Guest guest("stdio");
      guest.console->set_input([&](std::span<const std::byte> data) {
        guest.loop->stop();
        return data.size();
      });
      guest.run();
    });
    send(in.write.get(), "!");
    EXPECT_EQ(process.wait(), 0);
  }
}

// While nobody reads, a guest may write a screenful or a thousand and go on; it stops at 1 MiB, and nothing is lost.
TEST(StdioConsole, SlowReaderGetsEverything) {
  Pipe in, out;
  Process process;
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, nullptr);
  std::string lines;
  for (int i = 0; lines.size() < 5'000'000; i++) lines += std::to_string(i) + "\n";
  process.start(in.read.get(), out.write.get(), [&] {
    Guest guest("stdio");
    guest.at_start = [&] {
      guest.say(std::string_view(lines).substr(0, 900'000));  // must not wait: nobody reads before the second part
      guest.loop->post([&] {
        kill(getppid(), SIGUSR1);
        guest.say(std::string_view(lines).substr(900'000));
        guest.say("END");
      });
    };
    guest.run();
  });
  const timespec limit{deadline_ms / 1000, 0};
  EXPECT_EQ(sigtimedwait(&usr1, nullptr, &limit), SIGUSR1);
  EXPECT_TRUE(read_until(out.read.get(), "END") ==
              "ready\n" + lines + "END");  // EXPECT_EQ would compare megabytes line by line
  EXPECT_EQ(fcntl(out.write.get(), F_GETFL) & O_NONBLOCK, 0) << "others write to this pipe, too";
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

// What was written before the end arrives, however slow the reader is.
TEST(StdioConsole, FlushesAtTheEnd) {
  Pipe in, out;
  Process process;
  process.start(in.read.get(), out.write.get(), [&] {
    Guest guest("stdio");
    guest.at_start = [&] {
      guest.say(std::string(500'000, 'x') + "END");
      guest.loop->stop();
    };
    guest.run();
  });
  EXPECT_EQ(read_until(out.read.get(), "END").size(), 6 + 500'000 + 3u);
  EXPECT_EQ(process.wait(), 0);
}

TEST(StdioConsole, SignalEndsAMachineThatWaitsForItsReader) {
  Pipe in, out;
  Process process;
  process.start(in.read.get(), out.write.get(), [&] {
    Guest guest("stdio");
    guest.at_start = [&] { guest.say(std::string(3'000'000, 'x')); };
    guest.run();
  });
  pollfd ready{out.read.get(), POLLIN, 0};
  ASSERT_EQ(poll(&ready, 1, deadline_ms), 1);
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

TEST(SilentConsole, EndsOnASignal) {
  Pipe out;
  Process process;
  process.start(-1, out.write.get(), [] {
    Guest guest("none");
    guest.at_start = [] { [[maybe_unused]] auto n = ::write(1, "ready", 5); };
    guest.run();
    _exit(7);
  });
  EXPECT_EQ(read_until(out.read.get(), "ready"), "ready");
  kill(process.pid(), SIGTERM);
  EXPECT_EQ(process.wait(), 7);
}

}  // namespace
}  // namespace doppel
