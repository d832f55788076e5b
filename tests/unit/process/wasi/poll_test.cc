// poll_oneoff: clocks and descriptors, waiting in the host or letting it wait.
#include <fcntl.h>

#include "base/clock.h"
#include "unit/process/wasi/wasi_rig.h"

namespace doppel::wasi {
namespace {

constexpr std::uint64_t ms = 1'000'000;

class Polls : public testing::Test {
 protected:
  Polls() { start(false); }
  void start(bool yielding) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    input_ = FileDescriptor(ends[0]), feed_ = FileDescriptor(ends[1]);
    auto configuration = Rig::configuration(folders_);
    configuration.stdio = {input_.get(), feed_.get(), -1};
    configuration.yielding = yielding;
    rig_ = std::make_unique<Rig>(configuration);
    count_ = 0;
  }
  std::uint32_t next(std::uint64_t userdata, std::uint8_t type) {
    const std::uint32_t at = subscriptions + 48 * count_++;
    std::fill_n(rig_->data() + at, 48, 0);
    rig_->set(at, userdata);
    rig_->set(at + 8, type);
    return at;
  }
  void clock(std::uint64_t userdata, std::uint32_t id, std::uint64_t timeout, std::uint16_t flags = 0) {
    const auto at = next(userdata, 0);
    rig_->set(at + 16, id);
    rig_->set(at + 24, timeout);
    rig_->set(at + 40, flags);
  }
  void descriptor(std::uint64_t userdata, bool writes, std::uint32_t fd) {
    rig_->set(next(userdata, writes ? 2 : 1) + 16, fd);
  }
  wasm::HostOutcome::Kind poll() {
    return rig_->run("wasi_snapshot_preview1", "poll_oneoff", {subscriptions, events, count_, Rig::counter}).kind;
  }
  struct Event {
    std::uint64_t userdata;
    Errno error;
    EventType type;
    std::uint64_t bytes;
    std::uint16_t flags;
    bool operator==(const Event&) const = default;
  };
  std::vector<Event> happened() {
    EXPECT_EQ(poll(), wasm::HostOutcome::Kind::returned);
    EXPECT_EQ(rig_->error(), Errno::success);
    std::vector<Event> out;
    for (std::uint32_t n = 0; n < rig_->get<std::uint32_t>(Rig::counter); n++) {
      const std::uint32_t at = events + 32 * n;
      out.push_back({rig_->get<std::uint64_t>(at), Errno(rig_->get<std::uint16_t>(at + 8)),
                     EventType(rig_->get<std::uint8_t>(at + 10)), rig_->get<std::uint64_t>(at + 16),
                     rig_->get<std::uint16_t>(at + 24)});
    }
    return out;
  }
  static constexpr std::uint32_t subscriptions = 4096, events = 65536;

  Folders folders_;
  FileDescriptor input_, feed_;
  std::unique_ptr<Rig> rig_;
  std::uint32_t count_ = 0;
};

TEST_F(Polls, AClockWaitsAsLongAsAsked) {
  const auto before = monotonic_ns();
  clock(7, 1, 20 * ms);
  const auto found = happened();
  EXPECT_GE(monotonic_ns() - before, std::int64_t(20 * ms));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], (Event{7, Errno::success, EventType::clock, 0, 0}));
}

TEST_F(Polls, TheFirstOfSeveralClocksEndsIt) {
  clock(1, 1, 3600'000 * ms);
  clock(2, 0, 1 * ms);
  clock(3, 0, std::uint64_t(wall_clock_ns()) + 3600'000 * ms, subscription_clock_abstime);
  clock(4, 1, UINT64_MAX);
  const auto found = happened();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].userdata, 2u);
}

TEST_F(Polls, WhatHasPassedHasHappened) {
  clock(1, 0, 1, subscription_clock_abstime);
  clock(2, 1, std::uint64_t(monotonic_ns()), subscription_clock_abstime);
  clock(3, 1, 0);
  EXPECT_EQ(happened().size(), 3u);
}

TEST_F(Polls, DescriptorsThatAreReadyAreTold) {
  ASSERT_EQ(::write(feed_.get(), "12345", 5), 5);
  Folders::write(folders_.granted("file"), "content");
  const auto file = rig_->must_open("file");
  clock(1, 1, 3600'000 * ms);
  descriptor(2, false, 0);
  descriptor(3, true, 1);
  descriptor(4, false, file);
  descriptor(5, true, file);
  const auto found = happened();
  ASSERT_EQ(found.size(), 4u);
  EXPECT_EQ(found[0], (Event{2, Errno::success, EventType::fd_read, 5, 0}));
  EXPECT_EQ(found[1], (Event{3, Errno::success, EventType::fd_write, 0, 0}));
  EXPECT_EQ(found[2], (Event{4, Errno::success, EventType::fd_read, 7, 0}));
  EXPECT_EQ(found[3], (Event{5, Errno::success, EventType::fd_write, 0, 0}));
}

TEST_F(Polls, WhatCannotBeWaitedForIsAnEventWithAnError) {
  descriptor(1, false, 99);
  descriptor(2, true, 0);
  descriptor(3, false, Rig::root);
  clock(4, 2, 1);
  clock(5, 77, 1);
  const auto found = happened();
  ASSERT_EQ(found.size(), 5u);
  EXPECT_EQ(found[0].error, Errno::badf);
  EXPECT_EQ(found[1].error, Errno::notcapable) << "it is open for reading";
  EXPECT_EQ(found[2].error, Errno::isdir);
  EXPECT_EQ(found[3].error, Errno::notsup);
  EXPECT_EQ(found[4].error, Errno::notsup);
}

TEST_F(Polls, TheEndOfAPipeIsTold) {
  rig_->call("fd_close", 1);
  feed_ = FileDescriptor();
  descriptor(1, false, 0);
  const auto found = happened();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].flags, event_fd_readwrite_hangup);
  EXPECT_EQ(found[0].bytes, 0u);
}

TEST_F(Polls, NonsenseIsRefused) {
  EXPECT_EQ(rig_->call("poll_oneoff", subscriptions, events, 0, Rig::counter), Errno::inval);
  next(1, 3);
  EXPECT_EQ(poll(), wasm::HostOutcome::Kind::returned);
  EXPECT_EQ(rig_->error(), Errno::inval);
  count_ = 0;
  clock(1, 1, 1, 2);
  poll();
  EXPECT_EQ(rig_->error(), Errno::inval);
}

TEST_F(Polls, ThatYieldKeepTheirDeadlineWhenCalledAgain) {
  start(true);
  clock(1, 1, 50 * ms);
  descriptor(2, false, 0);
  const auto before = std::uint64_t(monotonic_ns());
  EXPECT_EQ(poll(), wasm::HostOutcome::Kind::waits);
  const auto deadline = rig_->wasi().pending().deadline;
  ASSERT_TRUE(deadline);
  EXPECT_GE(*deadline, before + 50 * ms);
  ASSERT_EQ(rig_->wasi().pending().descriptors.size(), 1u);
  while (std::uint64_t(monotonic_ns()) < before + 5 * ms) {
  }
  EXPECT_EQ(poll(), wasm::HostOutcome::Kind::waits);
  EXPECT_EQ(rig_->wasi().pending().deadline, deadline) << "not another 50 ms";
  ASSERT_EQ(::write(feed_.get(), "x", 1), 1);
  const auto found = happened();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].userdata, 2u);
  EXPECT_EQ(::read(input_.get(), rig_->data(), 1), 1);
  EXPECT_EQ(poll(), wasm::HostOutcome::Kind::waits);
  EXPECT_GT(*rig_->wasi().pending().deadline, *deadline) << "a call of its own";
}

TEST_F(Polls, ThatYieldGoOnInACopyWithWhatIsLeft) {
  start(true);
  clock(1, 1, 1000 * ms);
  EXPECT_EQ(poll(), wasm::HostOutcome::Kind::waits);
  const auto deadline = *rig_->wasi().pending().deadline;
  const auto state = rig_->wasi().save();
  ASSERT_TRUE(state) << state.message();
  ASSERT_TRUE(state->waited);
  start(true);
  ASSERT_TRUE(rig_->wasi().restore(*state));
  clock(1, 1, 1000 * ms);
  EXPECT_EQ(poll(), wasm::HostOutcome::Kind::waits);
  EXPECT_LT(*rig_->wasi().pending().deadline, deadline + 500 * ms) << "what has been waited counts";
}

TEST_F(Polls, TheOlderModulesRecordsAreLonger) {
  const auto at = subscriptions;
  std::fill_n(rig_->data() + at, 112, 0);
  rig_->set<std::uint64_t>(at, 1);
  rig_->set<std::uint64_t>(at + 16, 0x7777'7777'7777'7777);  // an identifier that nobody reads
  rig_->set<std::uint32_t>(at + 24, 1);
  rig_->set<std::uint64_t>(at + 32, 3600'000 * ms);
  rig_->set<std::uint64_t>(at + 56, 2);
  rig_->set<std::uint8_t>(at + 56 + 8, 2);
  rig_->set<std::uint32_t>(at + 56 + 16, 1);
  EXPECT_EQ(rig_->call_unstable("poll_oneoff", at, events, 2, Rig::counter), Errno::success);
  EXPECT_EQ(rig_->get<std::uint32_t>(Rig::counter), 1u);
  EXPECT_EQ(rig_->get<std::uint64_t>(events), 2u);
}

}  // namespace
}  // namespace doppel::wasi
