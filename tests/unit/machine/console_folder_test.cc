#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>
#include <filesystem>

#include "unit/machine/console_guest.h"

namespace doppel {
namespace {

class InFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "consoleXXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string failure(const std::string& spec) {
    std::recursive_mutex lock;
    auto loop = *EventLoop::create(lock);
    auto opened = Console::open(spec, *loop);
    return opened ? "" : opened.message();
  }
  FileDescriptor connect(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path(name).c_str());
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
        << std::strerror(errno);
    return socket;
  }
  std::string folder_;
};

TEST_F(InFolder, AFileGetsTheOutput) {
  std::ofstream(path("log")) << "of the run before, and longer than this one's";
  {
    Guest guest(path("log"));
    guest.say("hello\n");
    guest.say("world\n");
  }
  EXPECT_EQ(content(path("log")), "hello\nworld\n");
}

TEST_F(InFolder, FilesThatCannotBeWritten) {
  EXPECT_THAT(failure(folder_), testing::HasSubstr("Is a directory"));
  EXPECT_THAT(failure(path("no/such/log")), testing::HasSubstr("No such file"));
  EXPECT_THAT(failure(""), testing::HasSubstr("--console"));
  mkfifo(path("fifo").c_str(), 0600);
  EXPECT_THAT(failure(path("fifo")), testing::HasSubstr("reader"));
}

TEST_F(InFolder, ASocketServesOneClientAfterTheOther) {
  Running running("unix:" + path("console"));
  struct stat status{};
  ASSERT_EQ(stat(path("console").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u) << "others could take over the machine";
  running.say("before\n");
  auto first = connect("console");
  const auto greeting = read_until(first.get(), "before\n");
  EXPECT_NE(greeting.find("before\n"), greeting.npos);
  send(first.get(), "one");
  EXPECT_NE(read_until(first.get(), "e]").find("e]"), std::string::npos);
  first = {};
  auto second = connect("console");
  send(second.get(), "two");
  EXPECT_NE(read_until(second.get(), "o]").find("o]"), std::string::npos);
  running.end();
  EXPECT_EQ(read_until(second.get(), "the end"), "");
  EXPECT_FALSE(std::filesystem::exists(path("console"))) << "it is removed at the end";
}

TEST_F(InFolder, AClientThatOnlySendsIsHeardToTheEnd) {
  Running running("unix:" + path("console"));
  running.guest.appetite = 16;
  auto client = connect("console");
  send(client.get(), std::string(10'000, 'k') + "!");
  shutdown(client.get(), SHUT_WR);
  auto got = read_until(client.get(), "!]");
  EXPECT_EQ(std::count(got.begin(), got.end(), 'k'), 10'000);
}

TEST_F(InFolder, TheLast64KiBWaitForAClient) {
  Running running("unix:" + path("console"));
  for (int i = 0; i < 1000; i++) running.say(std::string(999, 'x') + "\n");
  running.say("END");
  auto client = connect("console");
  EXPECT_EQ(read_until(client.get(), "END").size(), 64u << 10);
}

TEST_F(InFolder, ASlowClientGetsEverything) {
  Running running("unix:" + path("console"));
  auto client = connect("console");
  read_until(client.get(), "ready\n");
  std::string lines;
  for (int i = 0; lines.size() < 3'000'000; i++) lines += std::to_string(i) + "\n";
  std::thread writer([&] {
    for (std::size_t at = 0; at < lines.size(); at += 1000) running.say(std::string_view(lines).substr(at, 1000));
    running.say("END");
  });
  EXPECT_TRUE(read_until(client.get(), "END") == lines + "END");  // EXPECT_EQ would compare megabytes line by line
  writer.join();
}

TEST_F(InFolder, ASocketReplacesOnlyDeadOnes) {
  std::ofstream(path("file")) << "precious";
  EXPECT_THAT(failure("unix:" + path("file")), testing::HasSubstr("not a socket"));
  EXPECT_EQ(content(path("file")), "precious");
  {
    Running running("unix:" + path("console"));
    EXPECT_THAT(failure("unix:" + path("console")), testing::HasSubstr("listens"));
    EXPECT_TRUE(std::filesystem::exists(path("console")));
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path("console").c_str());
  {
    FileDescriptor killed(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(killed.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  Running running("unix:" + path("console"));
  auto client = connect("console");
  EXPECT_NE(read_until(client.get(), "ready\n"), "");
}

TEST_F(InFolder, SocketNamesThatCannotBe) {
  EXPECT_THAT(failure("unix:"), testing::HasSubstr("bytes"));
  EXPECT_THAT(failure("unix:/" + std::string(200, 'x')), testing::HasSubstr("bytes"));
  EXPECT_THAT(failure("unix:" + path("no/such")), testing::HasSubstr("No such file"));
}

}  // namespace
}  // namespace doppel
