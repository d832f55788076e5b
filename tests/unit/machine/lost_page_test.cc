// A machine that goes on from an image of which a page cannot be had: it ends, says why, and nothing that it made of
// zeros is printed.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "unit/snapshot/counting_guest.h"
#include "unit/snapshot/lossy_source.h"

namespace doppel {
namespace {

using namespace test;

class LostPages : public CountingGuest {
 protected:
  static constexpr std::uint64_t counter_page = 0x10'0000 / page_size;
  std::string printed() const {
    std::ifstream file(folder_ / "console", std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::unique_ptr<Machine> make(const MachineImage& image) {
    config_.console = (folder_ / "console").string();
    auto machine = Machine::create(config_, image);
    EXPECT_TRUE(machine) << machine.message();
    return machine ? std::move(*machine) : nullptr;
  }
};

TEST_F(LostPages, EndTheMachineWithASentence) {
  for (const auto engine : {EngineKind::interpreter, EngineKind::fast, EngineKind::optimizing}) {
    config_.engine = engine;
    const auto machine = make(LossySource::of(*base_, counter_page));
    machine->type(std::as_bytes(std::span(std::string_view("xxx"))));
    const auto outcome = machine->run();
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.message(), "the disk with the snapshot was pulled out");
    EXPECT_EQ(printed(), ">");
  }
}

TEST_F(LostPages, OfItsFirstInstructionEndTheMachineToo) {
  const auto machine = make(LossySource::of(*base_, 0));
  const auto outcome = machine->run();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.message(), "the disk with the snapshot was pulled out");
  EXPECT_EQ(printed(), "");
}

// Nobody goes on from it: in the copy the zeros would be the guest's own.
TEST_F(LostPages, AreInNoImage) {
  const auto machine = make(LossySource::of(*base_, counter_page));
  machine->type(std::as_bytes(std::span(std::string_view("x"))));
  EXPECT_FALSE(machine->run());
  const auto image = machine->capture();
  ASSERT_FALSE(image);
  EXPECT_EQ(image.message(), "the disk with the snapshot was pulled out");
}

TEST_F(LostPages, ThatNobodyWantsEndNothing) {
  const auto machine = make(LossySource::of(*base_, 3000));
  machine->type(std::as_bytes(std::span(std::string_view("xQ"))));
  EXPECT_TRUE(machine->run());
  EXPECT_EQ(printed(), ">a");
}

// What an image says about where its memory lies is not believed.
TEST_F(LostPages, AreNotMadeByMemoryThatLiesElsewhere) {
  for (const std::uint64_t base : {std::uint64_t(0), dram_base + 0x800, dram_base + page_size}) {
    auto image = *base_;
    image.memory.base = base;
    EXPECT_FALSE(Machine::create(config_, image));
  }
  auto image = *base_;
  image.memory.size -= page_size;
  EXPECT_FALSE(Machine::create(config_, image));
  image = *base_;
  image.memory.top = nullptr;
  EXPECT_FALSE(Machine::create(config_, image));
}

}  // namespace
}  // namespace doppel
