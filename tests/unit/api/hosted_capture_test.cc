// A machine with a name gives copies of itself to who asks, and goes on as if nobody had.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <future>
#include <thread>

#include "api/control_client.h"
#include "api/hosted_machine.h"
#include "snapshot/machine_description.h"
#include "snapshot/transfer.h"
#include "unit/api/api_rig.h"
#include "unit/snapshot/counting_guest.h"

namespace doppel {
namespace {

using namespace test;
using nlohmann::json;

class HostedCaptures : public CountingGuest {
 protected:
  void SetUp() override {
    CountingGuest::SetUp();
    config_.console_output = [this](std::span<const std::byte> text) {
      std::lock_guard guard(lock_);
      printed_.append(reinterpret_cast<const char*>(text.data()), text.size());
      changed_.notify_all();
    };
    auto folder = RuntimeFolder::open((folder_ / "run").string());
    ASSERT_TRUE(folder) << folder.message();
    runtime_ = std::make_unique<RuntimeFolder>(*std::move(folder));
    std::promise<void> runs;
    auto hosted = HostedMachine::create(*runtime_, {.name = "anna", .memory = config_.memory, .cpus = 1}, config_,
                                        [&] { runs.set_value(); });
    ASSERT_TRUE(hosted) << hosted.message();
    hosted_ = *std::move(hosted);
    runner_ = std::thread([this] { static_cast<void>(hosted_->run()); });
    runs.get_future().wait();
  }
  void TearDown() override {
    if (runner_.joinable()) {
      hosted_->machine().power_off();
      runner_.join();
    }
    hosted_.reset();
    CountingGuest::TearDown();
  }
  Result<json> ask(const std::string& verb, std::span<const int> descriptors = {}) {
    const auto entry = runtime_->find("anna");
    if (!entry) return entry.failure();
    auto socket = entry->connect();
    if (!socket) return socket.failure();
    return ControlClient(*std::move(socket), "anna").ask({{"do", verb}}, descriptors);
  }
  Result<ReceivedImage> capture() {
    const auto file = make_transfer_file();
    if (!file) return file.failure();
    const int descriptors[] = {file->get()};
    if (const auto answer = ask("capture", descriptors); !answer) return answer.failure();
    return receive_transfer(*file);
  }
  /// Whether the guest answers a key, with this.
  bool answers(const std::string& wanted) {
    hosted_->machine().type(std::as_bytes(std::span(std::string_view("x"))));
    return has_printed(wanted);
  }
  bool has_printed(const std::string& wanted) {
    std::unique_lock guard(lock_);
    return changed_.wait_for(guard, std::chrono::seconds(30), [&] { return printed_.ends_with(wanted); });
  }
  void expect_alike(const ReceivedImage& received, const std::string& next) {
    auto config = machine_described(received.description);
    ASSERT_TRUE(config) << config.message();
    config->sandbox = false, config->console = (folder_ / "copy").string();
    const auto image = assemble_image(*config, received.state, received.spaces);
    ASSERT_TRUE(image) << image.message();
    const auto machine = Machine::create(*config, *image);
    ASSERT_TRUE(machine) << machine.message();
    (*machine)->type(std::as_bytes(std::span(std::string_view("xQ"))));
    ASSERT_TRUE((*machine)->run());
    std::ifstream file(folder_ / "copy");
    EXPECT_EQ((std::string{std::istreambuf_iterator<char>(file), {}}), next);
  }

  std::mutex lock_;
  std::condition_variable changed_;
  std::string printed_;
  std::unique_ptr<RuntimeFolder> runtime_;
  std::unique_ptr<HostedMachine> hosted_;
  std::thread runner_;
};

TEST_F(HostedCaptures, AreTheMachineAsItWas) {
  ASSERT_TRUE(has_printed(">"));
  ASSERT_TRUE(answers("a"));
  const auto first = capture();
  ASSERT_TRUE(first) << first.message();
  ASSERT_TRUE(answers("b")) << "it goes on";
  const auto second = capture();
  ASSERT_TRUE(second) << second.message();
  ASSERT_TRUE(answers("c"));
  expect_alike(*first, "b");
  expect_alike(*second, "c");
}

TEST_F(HostedCaptures, LeaveAPausedMachinePaused) {
  ASSERT_TRUE(has_printed(">"));
  ASSERT_TRUE(ask("pause"));
  const auto copy = capture();
  ASSERT_TRUE(copy) << copy.message();
  const auto info = ask("info");
  ASSERT_TRUE(info) << info.message();
  EXPECT_EQ((*info)["status"], "paused");
  ASSERT_TRUE(ask("resume"));
  EXPECT_TRUE(answers("a"));
  expect_alike(*copy, "a");
}

TEST_F(HostedCaptures, GoIntoFilesThatStayOnly) {
  EXPECT_FALSE(ask("capture"));
  const FileDescriptor loose(::memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const int one[] = {loose.get()}, two[] = {loose.get(), loose.get()};
  EXPECT_FALSE(ask("capture", one));
  EXPECT_FALSE(ask("capture", two));
  ASSERT_TRUE(has_printed(">"));
  EXPECT_TRUE(answers("a")) << "the machine goes on";
}

}  // namespace
}  // namespace doppel
