// The one door for what is not the machine's own: what comes through it, when, and that a deterministic machine sees
// the same each time.
#include "machine/input.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace doppel {
namespace {

class Door {
 public:
  explicit Door(ClockKind kind) : loop_(std::move(EventLoop::create(lock_)).value()), input_(kind, *loop_, lock_) {}
  Input* operator->() { return &input_; }
  EventLoop& loop() { return *loop_; }
  /// Serves what is posted until now.
  void serve() {
    loop_->post([this] { loop_->stop(); });
    loop_->run();
  }
  std::vector<int> seen;
  std::function<void()> note(int what) {
    return [this, what] { seen.push_back(what); };
  }

 private:
  std::recursive_mutex lock_;
  std::unique_ptr<EventLoop> loop_;
  Input input_;
};

std::array<std::byte, 64> random_bytes(Input& input) {
  std::array<std::byte, 64> bytes{};
  input.entropy(bytes);
  return bytes;
}

TEST(HostInput, HasTimeThatPasses) {
  Door door(ClockKind::host);
  EXPECT_FALSE(door->deterministic());
  const auto before = door->now_ns();
  EXPECT_GE(before, 0);
  while (door->now_ns() == before) {
  }
  EXPECT_GT(door->now_ns(), before);
  EXPECT_GT(door->wall_ns(), 1'700'000'000'000'000'000);  // after 2023
}

// Keys of every guest would be the same.
TEST(HostInput, HasEntropyThatDiffers) {
  Door one(ClockKind::host), other(ClockKind::host);
  EXPECT_NE(random_bytes(*one.operator->()), random_bytes(*other.operator->()));
}

TEST(HostInput, DeliversAtOnceAndLaterFromTheLoop) {
  Door door(ClockKind::host);
  door->deliver(door.note(1));
  EXPECT_EQ(door.seen, std::vector{1});
  door->later(door.note(2));
  EXPECT_EQ(door.seen, std::vector{1});  // a device in the middle of a request must not be called again
  door.serve();
  EXPECT_EQ(door.seen, (std::vector{1, 2}));
}

TEST(HostInput, RunsTimersThatAreNotCancelled) {
  Door door(ClockKind::host);
  door->cancel(door->at(0, door.note(1)));
  door->at(1'000'000, [&] { door.loop().stop(); });
  door->at(0, door.note(2));
  door.loop().run();
  EXPECT_EQ(door.seen, std::vector{2});
}

TEST(DeterministicInput, StartsTheSameEachTime) {
  Door one(ClockKind::instructions), other(ClockKind::instructions);
  EXPECT_TRUE(one->deterministic());
  EXPECT_EQ(one->now_ns(), 0);
  EXPECT_EQ(one->wall_ns(), other->wall_ns());
  EXPECT_EQ(random_bytes(*one.operator->()), random_bytes(*other.operator->()));
  const auto first = random_bytes(*one.operator->());
  EXPECT_NE(first, random_bytes(*one.operator->()));  // but it is a sequence
}

TEST(DeterministicInput, HasTheTimeThatItIsGiven) {
  Door door(ClockKind::instructions);
  const auto wall = door->wall_ns();
  door->advance_to(5'000);
  EXPECT_EQ(door->now_ns(), 5'000);
  EXPECT_EQ(door->wall_ns(), wall + 5'000);
}

TEST(DeterministicInput, HoldsEventsBackUntilTheEndOfTheQuantum) {
  Door door(ClockKind::instructions);
  door->deliver(door.note(1));
  door->later(door.note(2));
  EXPECT_TRUE(door.seen.empty());
  door->advance_to(1);
  EXPECT_EQ(door.seen, (std::vector{1, 2}));
}

TEST(DeterministicInput, RunsEventsInTheOrderOfTheirTimeThenOfTheirMaking) {
  Door door(ClockKind::instructions);
  door->at(30, door.note(3));
  door->at(10, door.note(1));
  door->at(20, door.note(2));
  door->at(10, door.note(11));
  door->at(40, door.note(4));
  EXPECT_EQ(door->next_event_ns(), 10);
  door->advance_to(30);
  EXPECT_EQ(door.seen, (std::vector{1, 11, 2, 3}));
  EXPECT_EQ(door->next_event_ns(), 40);
  door->advance_to(40);
  EXPECT_EQ(door->next_event_ns(), INT64_MAX);
}

TEST(DeterministicInput, ForgetsCancelledEvents) {
  Door door(ClockKind::instructions);
  const auto timer = door->at(10, door.note(1));
  door->at(10, door.note(2));
  door->cancel(timer);
  door->cancel(timer);
  door->advance_to(10);
  EXPECT_EQ(door.seen, std::vector{2});
}

// A guest that makes each event cause another would hold the machine in one instant for ever.
TEST(DeterministicInput, AnEventThatCausesAnotherWaitsForTheNextQuantum) {
  Door door(ClockKind::instructions);
  std::function<void()> again = [&] {
    door.seen.push_back(1);
    door->deliver(again);
  };
  door->deliver(again);
  door->advance_to(10);
  EXPECT_EQ(door.seen.size(), 1u);
  door->advance_to(20);
  EXPECT_EQ(door.seen.size(), 2u);
}

/// A disk in memory.
class SmallDisk final : public Disk {
 public:
  std::uint64_t size() const override { return bytes.size(); }
  bool read_only() const override { return false; }
  std::string_view format() const override { return "raw"; }
  Result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (broken) return error("the disk is broken");
    std::memcpy(out.data(), bytes.data() + offset, out.size());
    return {};
  }
  Result<void> write(std::uint64_t offset, std::span<const std::byte> data) override {
    std::memcpy(bytes.data() + offset, data.data(), data.size());
    return {};
  }
  Result<void> flush() override { return flushes++, Result<void>(); }
  Result<void> discard(std::uint64_t, std::uint64_t) override { return {}; }
  Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool) override {
    std::memset(bytes.data() + offset, 0, length);
    return {};
  }
  std::vector<std::byte> bytes = std::vector<std::byte>(4096);
  int flushes = 0;
  bool broken = false;
};

// How long the host's disk takes must not be seen.
TEST(DeterministicInput, CompletesDiskRequestsAtAFixedTime) {
  Door door(ClockKind::instructions);
  auto owned = std::make_unique<SmallDisk>();
  auto& disk = *owned;
  const auto async = door->open(std::move(owned));
  std::byte sector[512];
  std::memset(sector, 0x5a, sizeof sector);
  std::vector<std::pair<int, bool>> done;
  const auto submit = [&](DiskRequest::Kind kind, int what) {
    DiskRequest request;
    request.kind = kind;
    request.offset = request.length = 512;
    request.pieces = {{sector, sizeof sector}};
    request.done = [&done, what](bool ok) { done.emplace_back(what, ok); };
    async->submit(std::move(request));
  };
  submit(DiskRequest::Kind::write, 1);
  submit(DiskRequest::Kind::flush, 2);
  EXPECT_TRUE(done.empty());
  const auto due = door->next_event_ns();
  EXPECT_GT(due, 0);
  door->advance_to(due - 1);
  EXPECT_TRUE(done.empty());
  door->advance_to(due);
  EXPECT_EQ(done, (std::vector<std::pair<int, bool>>{{1, true}, {2, true}}));
  EXPECT_EQ(disk.bytes[512], std::byte{0x5a});
  EXPECT_EQ(disk.flushes, 1);

  disk.broken = true;
  submit(DiskRequest::Kind::read, 3);
  door->advance_to(door->next_event_ns());
  EXPECT_EQ(done.back(), (std::pair<int, bool>{3, false}));
}

// A machine that ends with requests in flight.
TEST(DeterministicInput, ForgetsTheRequestsOfADiskThatIsGone) {
  Door door(ClockKind::instructions);
  bool completed = false;
  {
    const auto async = door->open(std::make_unique<SmallDisk>());
    DiskRequest request;
    request.kind = DiskRequest::Kind::flush;
    request.done = [&](bool) { completed = true; };
    async->submit(std::move(request));
  }
  EXPECT_EQ(door->next_event_ns(), INT64_MAX);
  door->advance_to(1'000'000'000);
  EXPECT_FALSE(completed);
}

/// The other end of a cable, in the test's hand.
class HandNetwork final : public Network {
 public:
  void send(std::span<const std::byte> frame) override { sent.push_back(frame.size()); }
  void set_receiver(Receiver receiver) override { receive = std::move(receiver); }
  void resume() override { resumed++; }
  std::vector<PublishedPort> published_ports() const override { return {{.host = 8080, .guest = 80}}; }
  std::string_view kind() const override { return "hand"; }
  void save(Writer& out) const override { out.put<std::uint32_t>(std::uint32_t(sent.size())); }
  Result<void> restore(Reader& in) override {
    sent.assign(in.get<std::uint32_t>() & 0xff, 0);
    return {};
  }
  Receiver receive;
  std::vector<std::size_t> sent;
  int resumed = 0;
};

class DeterministicNetwork : public testing::Test {
 protected:
  void SetUp() override {
    auto owned = std::make_unique<HandNetwork>();
    hand_ = owned.get();
    network_ = door_->wrap(std::move(owned));
    network_->set_receiver([this](std::span<const std::byte> frame) {
      if (room_ == 0) return false;
      room_--;
      received_.push_back(frame.size());
      return true;
    });
  }
  bool arrive(std::size_t size) { return hand_->receive(std::vector<std::byte>(size)); }
  Door door_{ClockKind::instructions};
  HandNetwork* hand_ = nullptr;
  std::unique_ptr<Network> network_;
  std::vector<std::size_t> received_;
  int room_ = 100;
};

TEST_F(DeterministicNetwork, FramesReachTheGuestBetweenQuanta) {
  EXPECT_TRUE(arrive(60));
  EXPECT_TRUE(arrive(61));
  EXPECT_TRUE(received_.empty());
  door_->advance_to(1);
  EXPECT_EQ(received_, (std::vector<std::size_t>{60, 61}));
  EXPECT_TRUE(arrive(62));
  door_->advance_to(2);
  EXPECT_EQ(received_.size(), 3u);
}

TEST_F(DeterministicNetwork, WhatTheGuestSendsGoesOut) {
  network_->send(std::vector<std::byte>(90));
  EXPECT_EQ(hand_->sent, std::vector<std::size_t>{90});
}

TEST_F(DeterministicNetwork, KeepsAGuestsFramesInOrderUntilItHasRoom) {
  room_ = 1;
  for (std::size_t size = 60; size < 65; size++) EXPECT_TRUE(arrive(size));
  door_->advance_to(1);
  EXPECT_EQ(received_, std::vector<std::size_t>{60});
  room_ = 10;
  network_->resume();
  EXPECT_EQ(received_, (std::vector<std::size_t>{60, 61, 62, 63, 64}));
}

// A guest that takes no packets must not fill the host's memory.
TEST_F(DeterministicNetwork, RefusesFramesWhenTooManyWait) {
  room_ = 0;
  int taken = 0;
  while (taken < 100'000 && arrive(60)) taken++;
  EXPECT_LT(taken, 100'000);
  door_->advance_to(1);
  EXPECT_EQ(hand_->resumed, 0);
  room_ = 200'000;
  network_->resume();
  EXPECT_EQ(int(received_.size()), taken);
  EXPECT_GT(hand_->resumed, 0);  // the other end is told that there is room
}

TEST_F(DeterministicNetwork, TellsWhichPortsArePublished) {
  ASSERT_EQ(network_->published_ports().size(), 1u);
  EXPECT_EQ(network_->published_ports()[0].host, 8080);
}

}  // namespace
}  // namespace doppel
