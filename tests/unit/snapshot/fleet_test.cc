// Many copies of one machine: each gets its command and gives its answer, and one that does not is told from the
// others.
#include "snapshot/fleet.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "unit/snapshot/counting_guest.h"
#include "unit/snapshot/lossy_source.h"

namespace doppel {
namespace {

using namespace test;

/// A guest that is no shell, but answers a line as one would: with the digits in it, and status 3. A 'Q' in the line
/// switches it off, with a '#' it never answers.
class Fleets : public CountingGuest {
 protected:
  static void print(Program& p, std::string_view text) {
    for (const auto letter : text) p.li(t2, std::uint64_t(letter)), p.sb(t2, s0);
  }
  Program program() const override {
    Program p;
    p.li(s0, uart_map.base), p.li(s1, dram_base + 0x10'0000), p.li(s2, test_finisher_map.base);
    p.li(s3, '\n'), p.li(s4, 'Q'), p.li(s5, '#'), p.li(s6, '0'), p.li(s7, '9' + 1);
    const auto start = p.here();
    p.addi(s8, s1, 0);  // where the next digit goes
    const auto again = p.here();
    p.lbu(t2, s0, 5);
    p.andi(t2, t2, 1);
    p.beq(t2, zero, again);
    p.lbu(t2, s0);
    const auto stays = p.bne_forward(t2, s4);
    p.li(t3, 0x5555), p.sw(t3, s2);
    p.loop_forever();
    p.land(stays);
    const auto answers = p.bne_forward(t2, s5);
    p.loop_forever();
    p.land(answers);
    const auto ends = p.beq_forward(t2, s3);
    p.bltu(t2, s6, again);
    const auto other = p.bgeu_forward(t2, s7);
    p.sb(t2, s8), p.addi(s8, s8, 1);
    p.land(other);
    p.jump(again);
    p.land(ends);
    print(p, "doppel-begins\r\n");
    p.addi(s9, s1, 0);
    const auto more = p.here();
    const auto done = p.beq_forward(s9, s8);
    p.lbu(t2, s9), p.sb(t2, s0), p.addi(s9, s9, 1);
    p.jump(more);
    p.land(done);
    print(p, "\r\ndoppel-ends 3\r\n");
    p.jump(start);
    return p;
  }
  std::vector<FleetResult> run(const std::shared_ptr<const MachineImage>& image, const FleetOptions& options) {
    auto workers = make_workers(config_, *base_, 2);
    EXPECT_TRUE(workers) << workers.message();
    std::set<std::size_t> told;
    auto results = run_fleet(*workers, image, options, [&](std::size_t number, const FleetResult&) {
      EXPECT_TRUE(told.insert(number).second) << number;
    });
    EXPECT_EQ(told.size(), options.machines);
    return results;
  }
};

TEST_F(Fleets, GiveEachMachineItsCommandAndItsAnswer) {
  const auto results =
      run(base_, {.machines = 20, .command = "{}", .patience = std::chrono::seconds(60), .park = true});
  ASSERT_EQ(results.size(), 20u);
  for (std::size_t n = 0; n < results.size(); n++) {
    EXPECT_EQ(results[n].end, FleetResult::End::done);
    EXPECT_EQ(results[n].output, std::to_string(n + 1) + "\r\n");
    EXPECT_EQ(results[n].status, 3);
    EXPECT_GT(results[n].bytes, 0u);
    EXPECT_LT(results[n].bytes, 4000u);
  }
}

TEST_F(Fleets, TellWhichMachinesEnded) {
  const auto results = run(base_, {.machines = 3, .command = "Q"});
  for (const auto& result : results) {
    EXPECT_EQ(result.end, FleetResult::End::ended);
    EXPECT_EQ(result.status, 0);
    EXPECT_EQ(result.bytes, 0u);
  }
}

TEST_F(Fleets, TellWhichMachinesAreLate) {
  const auto results = run(base_, {.machines = 2, .command = "#", .patience = std::chrono::seconds(1), .park = true});
  for (const auto& result : results) {
    EXPECT_EQ(result.end, FleetResult::End::late);
    EXPECT_GT(result.bytes, 0u) << "it is kept as it is";
  }
}

TEST_F(Fleets, TellWhenTheMachineCannotBeHad) {
  auto damaged = std::make_shared<MachineImage>(*base_);
  damaged->state.resize(damaged->state.size() / 2);
  const auto results = run(damaged, {.machines = 2, .command = "{}"});
  for (const auto& result : results) {
    EXPECT_EQ(result.end, FleetResult::End::failed);
    EXPECT_GT(result.output.size(), 15u);
  }
}

TEST_F(Fleets, TellWhenAPageOfTheMachineIsLost) {
  const auto lost = std::make_shared<const MachineImage>(LossySource::of(*base_, 256));
  for (const auto& result : run(lost, {.machines = 2, .command = "{}", .park = true})) {
    EXPECT_EQ(result.end, FleetResult::End::ended);
    EXPECT_EQ(result.status, 2);
    EXPECT_EQ(result.bytes, 0u) << "what has zeros in it is not kept";
  }
}

}  // namespace
}  // namespace doppel
