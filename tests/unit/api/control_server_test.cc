// Whoever asks, and however: the machine's process answers or hangs up, and neither waits, grows nor keeps what is not
// its own.
#include "api/control_server.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/un.h>

#include <atomic>
#include <future>

#include "api/control_client.h"
#include "base/clock.h"
#include "unit/api/api_rig.h"

namespace doppel {
namespace {

using namespace test;
using nlohmann::json;
using testing::HasSubstr;

constexpr std::string_view text_of_descriptor = "what the descriptor is of";

class ControlServers : public InFolder {
 protected:
  void SetUp() override {
    InFolder::SetUp();
    serve(ControlServer::request_patience_ms);
  }
  void TearDown() override {
    server_.reset();
    entry_.reset();
    InFolder::TearDown();
  }
  void serve(int patience_ms) {
    server_.reset();
    entry_.reset();
    std::filesystem::remove_all(machine("a"));
    auto entry = runtime().claim({.name = "a"});
    ASSERT_TRUE(entry) << entry.message();
    entry_.emplace(*std::move(entry));
    entry_->set_status({.state = MachineState::running});
    auto listener = entry_->listen();
    ASSERT_TRUE(listener) << listener.message();
    auto server = ControlServer::create(*std::move(listener), patience_ms);
    ASSERT_TRUE(server) << server.message();
    server_ = *std::move(server);
    server_->add({"echo", [](ControlCall& call) -> Result<json> { return json{{"got", call.request.arguments}}; }});
    server_->add({"fail", [](ControlCall&) -> Result<json> { return error("it cannot be done"); }});
    server_->add({"read", [](ControlCall& call) -> Result<json> {
                    if (call.request.descriptors.size() != 1) return error("one descriptor, please");
                    char data[64] = {};
                    const auto count = ::pread(call.request.descriptors[0].get(), data, sizeof data, 0);
                    return json{{"content", std::string(data, std::size_t(std::max<ssize_t>(0, count)))}};
                  }});
    server_->add({"flood", [this](ControlCall& call) -> Result<json> {
                    call.then = [this, connection = &call.connection] {
                      connection->stream([](auto keys) { return keys.size(); }, [] {});
                      flooded_ = connection;
                    };
                    return json::object();
                  }});
    server_->set_closed([this](ControlConnection& gone) {
      if (flooded_ == &gone) flooded_ = nullptr;
    });
    server_->start();
  }
  FileDescriptor connect() {
    auto socket = runtime().find("a")->connect();
    EXPECT_TRUE(socket) << socket.message();
    return socket ? *std::move(socket) : FileDescriptor();
  }
  Result<json> ask(const json& request, std::span<const int> descriptors = {}) {
    return ControlClient(connect(), "a").ask(request, descriptors);
  }
  void wait_for_connections(std::size_t wanted) {
    const auto end = monotonic_ns() + deadline_ms * 1'000'000LL;
    for (std::size_t now = ~0UL; now != wanted;) {
      {
        std::lock_guard guard(server_->lock());
        now = server_->connections();
      }
      ASSERT_LT(monotonic_ns(), end) << now << " connections";
      ::usleep(1000);
    }
  }
  static std::size_t open_descriptors() {
    return std::size_t(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
  }

  std::optional<ClaimedEntry> entry_;
  std::unique_ptr<ControlServer> server_;
  std::atomic<ControlConnection*> flooded_ = nullptr;
};

TEST_F(ControlServers, Answers) {
  const auto answer = ask({{"do", "echo"}, {"word", "ä\n"}});
  ASSERT_TRUE(answer) << answer.message();
  EXPECT_EQ((*answer)["got"]["word"], "ä\n");
  EXPECT_EQ(ask({{"do", "fail"}}).message(), "it cannot be done");
  EXPECT_THAT(ask({{"do", "fly"}}).message(), HasSubstr("'fly'"));
  wait_for_connections(0);
}

TEST_F(ControlServers, TakesLinesInPieces) {
  const auto client = connect();
  for (const char byte : std::string("{\"do\":\"echo\"}\n")) ASSERT_EQ(::send(client.get(), &byte, 1, 0), 1);
  EXPECT_THAT(read_to_end(client.get()), HasSubstr("\"ok\":true"));
}

TEST_F(ControlServers, RefusesWhatIsNoRequest) {
  for (const std::string line : {"\n", "[]\n", "\"echo\"\n", "{}\n", "{\"do\":1}\n", "\xff\n"}) {
    const auto client = connect();
    ASSERT_EQ(::send(client.get(), line.data(), line.size(), 0), ssize_t(line.size()));
    EXPECT_THAT(read_to_end(client.get()), HasSubstr("\"ok\":false")) << line;
  }
  const auto client = connect();
  const std::string endless(RequestReader::longest_line + 1, '[');
  for (std::size_t sent = 0; sent < endless.size();) {
    const auto count = ::send(client.get(), endless.data() + sent, endless.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) continue;
    if (count < 0) break;
    sent += std::size_t(count);
  }
  EXPECT_THAT(read_to_end(client.get()), HasSubstr("longer than"));
  wait_for_connections(0);
}

TEST_F(ControlServers, DescriptorsComeWithRequestsAndDoNotStay) {
  write(top_ / "file", std::string(text_of_descriptor));
  const FileDescriptor file(::open((top_ / "file").c_str(), O_RDONLY | O_CLOEXEC));
  const std::vector<int> one{file.get()}, most(8, file.get()), many(9, file.get()), flood(16, file.get());
  wait_for_connections(0);
  const auto before = open_descriptors();
  for (int round = 0; round < 50; round++) {
    const auto answer = ask({{"do", "read"}}, one);
    ASSERT_TRUE(answer) << answer.message();
    EXPECT_EQ((*answer)["content"], text_of_descriptor);
    EXPECT_TRUE(ask({{"do", "echo"}}, most)) << "not taken, and closed";
    EXPECT_THAT(ask({{"do", "echo"}}, many).message(), HasSubstr("8 descriptors"));
    EXPECT_FALSE(ask({{"do", "echo"}}, flood));
    EXPECT_FALSE(ask({{"do", "nothing of the kind"}}, most));
  }
  wait_for_connections(0);
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ControlServers, ServesAHundredClientsSixtyFourAtATime) {
  const auto answer_to = [](const FileDescriptor& client) {
    const std::string line = "{\"do\":\"echo\"}\n";
    [[maybe_unused]] const auto sent = ::send(client.get(), line.data(), line.size(), MSG_NOSIGNAL);
    return read_until(client.get(), "\n");
  };
  std::vector<FileDescriptor> clients;
  for (int n = 0; n < 64; n++) clients.push_back(connect());
  wait_for_connections(ControlServer::most_connections);
  for (int n = 0; n < 36; n++) EXPECT_THAT(answer_to(connect()), HasSubstr("64 clients"));
  for (const auto& client : clients) EXPECT_THAT(answer_to(client), HasSubstr("\"ok\":true"));
  clients.clear();
  wait_for_connections(0);
  EXPECT_TRUE(ask({{"do", "echo"}}));
}

TEST_F(ControlServers, WhoSaysNothingGoes) {
  serve(50);
  const auto client = connect();
  EXPECT_EQ(read_to_end(client.get()), "");
  wait_for_connections(0);
}

// The time that a client has had does not end for another that came later, whose connection has the place of its own.
TEST_F(ControlServers, WhoComesLaterHasTheTimeThatOthersHad) {
  constexpr int patience_ms = 3000;
  serve(patience_ms);
  const auto begin = monotonic_ns();
  const auto wait_until = [&](int milliseconds) {
    std::promise<void> there;
    {
      std::lock_guard guard(server_->lock());
      server_->loop().at(begin + milliseconds * 1'000'000LL, [&] { there.set_value(); });
    }
    there.get_future().wait();
  };
  ASSERT_TRUE(ask({{"do", "echo"}}));
  const auto asked = int((monotonic_ns() - begin) / 1'000'000) + 1;
  wait_for_connections(0);
  wait_until(patience_ms / 2);
  ControlClient later(connect(), "a");
  wait_for_connections(1);
  wait_until(patience_ms + asked);
  EXPECT_TRUE(later.ask({{"do", "echo"}}));
}

TEST_F(ControlServers, WhoReadsNothingIsDropped) {
  ControlClient slow(connect(), "a");
  ASSERT_TRUE(slow.ask({{"do", "flood"}}));
  const std::string piece(64 << 10, 'x');
  std::size_t sent = 0;
  while (true) {
    ::usleep(100);  // the server's thread has its turn
    std::lock_guard guard(server_->lock());
    if (!flooded_ || sent > (64 << 20)) break;
    flooded_.load()->send(piece);
    sent += piece.size();
  }
  EXPECT_LT(sent, 8u << 20) << "more than may wait, and what the kernel takes";
  EXPECT_TRUE(ask({{"do", "echo"}})) << "others are served";
  EXPECT_GT(read_to_end(slow.descriptor()).size(), 0u) << "and it finds the end";
}

// Needs root, to be somebody else.
TEST_F(ControlServers, ServesNobodyElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_TRUE(is_peer_of(connect().get(), 65534)) << "root may";
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  EXPECT_FALSE(is_peer_of(-1, 0));
  const auto child = in_child([&] {
    if (::setgroups(0, nullptr) != 0 || ::setuid(65534) != 0) return 2;
    int own[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, own) != 0) return 3;
    return is_peer_of(own[0], 1) ? 1 : is_peer_of(own[0], 65534) ? 0 : 4;
  });
  EXPECT_EQ(status_of(child), 0);
  ::close(ends[0]), ::close(ends[1]);
}

TEST(Answers, OfAMachineAreHostileToo) {
  for (const auto* line : {"", "x", "[]", "{}", "{\"ok\":1}", "{\"ok\":null}"})
    EXPECT_FALSE(parse_answer(line)) << line;
  EXPECT_EQ(parse_answer("{\"ok\":false,\"error\":\"a\\u001b[2Jb\"}").message(), "a?[2Jb");
  EXPECT_EQ(parse_answer("{\"ok\":false,\"error\":[]}").message(), "the machine refuses");
  EXPECT_EQ(answer_line(json{{"x", "\xff"}}).back(), '\n');
}

}  // namespace
}  // namespace doppel
