// Workers and the machines that stand still between two conversations.
#include "snapshot/worker.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "snapshot/parked_machine.h"
#include "unit/snapshot/counting_guest.h"
#include "unit/snapshot/lossy_source.h"

namespace doppel {
namespace {

using namespace test;
namespace fs = std::filesystem;
constexpr std::chrono::seconds patience(30);

class Workers : public CountingGuest {
 protected:
  std::unique_ptr<Worker> make() {
    auto worker = Worker::create(config_, *base_);
    EXPECT_TRUE(worker) << worker.message();
    if (!worker) return nullptr;
    (*worker)->start();
    return *std::move(worker);
  }
  static std::string answer(Worker& worker, const std::string& keys) {
    const auto letters = [](std::string_view printed) {
      return std::string(printed.substr(printed.starts_with('>') ? 1 : 0));
    };
    const auto stop = worker.converse(
        keys, [&](std::string_view printed) { return letters(printed).size() >= keys.size(); }, patience);
    return stop == Worker::Stop::enough ? letters(worker.printed()) : "no answer";
  }
  static ParkedMachine park(Worker& worker, const std::shared_ptr<const MachineImage>& base) {
    auto image = worker.capture();
    EXPECT_TRUE(image) << image.message();
    return {*image, base};
  }
};

TEST_F(Workers, TypeAndListen) {
  const auto worker = make();
  EXPECT_EQ(answer(*worker, "xyz"), "abc");
  EXPECT_EQ(answer(*worker, "x"), "d");
}

TEST_F(Workers, OfferWhatTheGuestDidNotTakeAtOnce) {
  const auto worker = make();
  const std::string keys(20'000, 'x');
  EXPECT_EQ(answer(*worker, keys).size(), keys.size());
}

TEST_F(Workers, RunMachinesInTurnAndEachHasItsOwnMemory) {
  const auto one = make(), other = make();
  std::vector<ParkedMachine> parked;
  for (unsigned n = 0; n < 20; n++) {
    ASSERT_TRUE(one->take_over(*base_));
    ASSERT_EQ(answer(*one, std::string(n + 1, 'x')).back(), char('a' + n));
    parked.push_back(park(*one, base_));
    EXPECT_LT(parked.back().bytes(), 2000u);
  }
  for (const unsigned n : {7u, 19u, 0u, 7u}) {
    const auto image = parked[n].image();
    ASSERT_TRUE(image) << image.message();
    ASSERT_TRUE(other->take_over(*image));
    EXPECT_EQ(answer(*other, "x"), std::string(1, char('b' + n)));
  }
}

TEST_F(Workers, ParkCopiesOfCopies) {
  const auto worker = make();
  auto base = base_;
  for (unsigned n = 0; n < 20; n++) {
    ASSERT_EQ(answer(*worker, "x"), std::string(1, char('a' + n)));
    const auto image = park(*worker, base).image();
    ASSERT_TRUE(image) << image.message();
    base = std::make_shared<const MachineImage>(*image);
    ASSERT_TRUE(worker->take_over(*base));
  }
}

TEST_F(Workers, SayThatTheGuestEndedAndRunAnother) {
  const auto worker = make();
  const auto never = [](std::string_view) { return false; };
  EXPECT_EQ(worker->converse("Q", never, patience), Worker::Stop::ended);
  EXPECT_EQ(worker->status().value(), 0);
  ASSERT_TRUE(worker->take_over(*base_));
  EXPECT_EQ(answer(*worker, "x"), "a");
}

TEST_F(Workers, DoNotWaitForEver) {
  const auto worker = make();
  const auto never = [](std::string_view) { return false; };
  EXPECT_EQ(worker->converse("x", never, std::chrono::milliseconds(50)), Worker::Stop::patience);
  EXPECT_EQ(answer(*worker, "x"), "b");
}

// What the kernel file was made from is read again then, by a machine that never read it before.
TEST_F(Workers, RebootWhatWasNeverBooted) {
  const auto worker = make();
  EXPECT_EQ(answer(*worker, "xx"), "ab");
  EXPECT_EQ(
      worker->converse("R", [](std::string_view printed) { return printed == ">"; }, patience), Worker::Stop::enough);
  EXPECT_EQ(answer(*worker, "x"), "c");  // what a reboot does not load is in memory still
}

TEST_F(Workers, EndAMachineWhoseKernelIsGoneAtItsReboot) {
  const auto worker = make();
  EXPECT_EQ(answer(*worker, "x"), "a");
  fs::remove(config_.kernel);
  EXPECT_EQ(worker->converse("R", [](std::string_view) { return false; }, patience), Worker::Stop::ended);
  ASSERT_FALSE(worker->status());
  EXPECT_NE(worker->status().message().find("kernel"), std::string::npos) << worker->status().message();
}

// A machine that ends so is the end of no other.
TEST_F(Workers, SayThatAPageIsLostAndRunAnother) {
  const auto worker = make();
  const auto lost = LossySource::of(*base_, 0x10'0000 / page_size);
  for (unsigned round = 0; round < 3; round++) {
    ASSERT_TRUE(worker->take_over(lost));
    EXPECT_EQ(worker->converse("x", [](std::string_view) { return false; }, patience), Worker::Stop::ended);
    EXPECT_EQ(worker->status().message(), "the disk with the snapshot was pulled out");
    EXPECT_EQ(worker->printed(), ">");
    EXPECT_FALSE(worker->capture());
    ASSERT_TRUE(worker->take_over(*base_));
    EXPECT_EQ(answer(*worker, "x"), "a");
  }
}

TEST_F(Workers, ParkNothingOverAPageThatIsLost) {
  const auto worker = make();
  EXPECT_EQ(answer(*worker, "x"), "a");
  const auto parked =
      park(*worker, std::make_shared<const MachineImage>(LossySource::of(*base_, 0x10'0000 / page_size)));
  const auto image = parked.image();
  ASSERT_FALSE(image);
  EXPECT_EQ(image.message(), "the disk with the snapshot was pulled out");
}

// The machine that has asked for a reboot is reset, and never the one that the worker runs next.
TEST_F(Workers, RebootNoOtherMachineThanTheOneThatAsked) {
  const auto worker = make();
  ASSERT_EQ(answer(*worker, "x"), "a");
  const auto second = worker->capture();
  ASSERT_TRUE(second);
  for (unsigned round = 0; round < 100; round++) {
    // Paused somewhere between the key and what follows the reboot.
    std::size_t seen = 0;
    static_cast<void>(worker->converse("xR", [&](std::string_view) { return ++seen > 0; }, patience));
    ASSERT_TRUE(worker->take_over(*second));
    ASSERT_EQ(worker->converse(
                  "x", [](std::string_view printed) { return !printed.empty(); }, patience),
              Worker::Stop::enough);
    EXPECT_EQ(worker->printed(), "b") << round;
  }
}

}  // namespace
}  // namespace doppel
