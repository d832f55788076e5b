// Random programs, user and privileged, on all engines: after any number of instructions registers, CSRs, memory and
// what devices saw must be the same. DOPPEL_SEED and DOPPEL_BLOCKS choose other programs and more of them; engines_fuzz
// looks for longer.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>

#include "generate.h"
#include "guest/riscv64/decode.h"
#include "listing.h"
#include "session.h"
#include "shrink.h"

namespace doppel::differential::engines {
namespace {

U64 from_environment(const char* name, U64 otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

/// A million blocks take half a minute of one processor; where the host has other work a test must end all the same.
constexpr std::chrono::seconds longest(100);

/// In two halves, which run side by side.
class Engines : public testing::TestWithParam<unsigned> {};

// A guest computes something else, or its kernel loses its way, by an engine that is not the manual's.
TEST_P(Engines, AgreeOnAMillionBlocks) {
  const bool asked_for = std::getenv("DOPPEL_BLOCKS") != nullptr;
  const auto wanted = from_environment("DOPPEL_BLOCKS", 1'000'000) / 2;
  const auto end = std::chrono::steady_clock::now() + longest;
  const auto kinds = choose_kinds({});
  Session session(from_environment("DOPPEL_SEED", 1) * 2 + GetParam(), kinds);
  while (session.blocks() < wanted && (asked_for || std::chrono::steady_clock::now() < end))
    if (const auto wrong = session.next()) FAIL() << *wrong;
  RecordProperty("blocks", std::to_string(session.blocks()));
  EXPECT_GT(session.blocks(), wanted / 10) << "the host is too slow for this to be a test";
  if (std::ranges::any_of(kinds, &EngineKind::makes_paths)) EXPECT_GT(session.paths(), session.blocks() / 2000);
  fmt::print("{} programs, {} blocks translated and executed, {} paths made, {} instructions\n", session.programs(),
             session.blocks(), session.paths(), session.instructions());
}
INSTANTIATE_TEST_SUITE_P(Half, Engines, testing::Values(0U, 1U));

/// What an engine would be that is wrong in one way: it interprets, but XOR sets the lowest bit of its result.
class WrongExecutor : public Executing, public riscv64::Executor {
 public:
  explicit WrongExecutor(GuestMemory& memory) : memory_(memory) {}
  U64 blocks() const override { return 0; }
  void execute(riscv64::Hart& hart) override {
    while (hart.budget() > 0 && !hart.attention()) {
      U64 physical, behind;
      const auto pc = hart.state().pc;
      if (!hart.find_code(physical, behind)) continue;
      std::uint32_t bits = 0;
      if (behind != 0 || !memory_.read(physical, &bits, 4)) bits = 0;
      hart.interpret(1);
      const auto instruction = riscv64::decode(bits);
      if (instruction.op == riscv64::Opcode::xor_ && instruction.rd != 0 && hart.state().pc == pc + instruction.length)
        hart.state().x[instruction.rd] |= 1;
    }
  }

 private:
  GuestMemory& memory_;
};
std::unique_ptr<Executing> attach_wrong(GuestMemory& memory, std::span<const std::unique_ptr<riscv64::Hart>> harts,
                                        std::size_t) {
  auto wrong = std::make_unique<WrongExecutor>(memory);
  for (const auto& hart : harts) hart->set_executor(wrong.get());
  return wrong;
}

// An engine that is wrong in one instruction is found out, and the program that is shown is one to look at.
TEST(Comparison, FindsAWrongEngineAndShowsWhereItIsWrong) {
  Session session(1, {engine_kinds()[0], EngineKind{.name = "wrong", .attach = &attach_wrong}});
  std::optional<std::string> wrong;
  while (!wrong && session.programs() < 100) wrong = session.next();
  ASSERT_TRUE(wrong);
  EXPECT_NE(wrong->find("xor"), wrong->npos) << *wrong;
  EXPECT_LT(std::ranges::count(*wrong, '\n'), 70) << *wrong;
}

// The same seed is the same program everywhere: a report could not be followed else.
TEST(Generation, SeedsNamePrograms) {
  for (U64 seed = 0; seed < 20; seed++) EXPECT_EQ(listing(generate(seed)), listing(generate(seed)));
  EXPECT_NE(listing(generate(1)), listing(generate(2)));
}

/// The page tables that only a hart other than this one may change.
std::vector<std::byte> tables_of_others(Computer& computer, unsigned hart) {
  std::vector<std::byte> all;
  for (unsigned space = 0; space < place::spaces; space++) {
    if (space % computer.count() == hart) continue;
    std::vector<std::byte> tables(place::tables_of_space);
    EXPECT_TRUE(computer.memory().read(place::tables + space * tables.size(), tables.data(), tables.size()));
    all.insert(all.end(), tables.begin(), tables.end());
  }
  return all;
}

// A change of page tables that another hart has no fence for is one that engines may see at different times: a
// difference would be nobody's fault.
TEST(Generation, HartsChangeOnlyTheirOwnPageTables) {
  unsigned programs = 0;
  for (U64 seed = 1; programs < 20; seed++) {
    const auto program = generate(seed);
    if (program.way != Way::pair || program.mappings.empty()) continue;
    programs++;
    Computer computer(program.way, engine_kinds()[0], 0);
    computer.load(make_image(program));
    for (const auto& stop : program.stops) {
      if (computer.finished(stop.hart)) continue;
      const auto before = tables_of_others(computer, stop.hart);
      computer.run(stop.hart, stop.steps);
      ASSERT_TRUE(tables_of_others(computer, stop.hart) == before) << "seed " << seed;
      computer.apply(stop);
    }
  }
}

/// What programs do, by the interpreter step by step.
struct Coverage {
  std::map<riscv64::Opcode, U64> executed;
  std::set<U64> causes;
  std::set<unsigned> modes;
  void run(const Program& program);
};

void Coverage::run(const Program& program) {
  Computer computer(program.way, engine_kinds()[0], 0);
  computer.load(make_image(program));
  for (const auto& stop : program.stops) {
    if (computer.finished(stop.hart)) continue;
    const auto& s = computer.hart(stop.hart).state();
    for (unsigned n = 0; n < stop.steps && !s.waiting; n++) {
      if (const auto bits = instruction_at(computer, stop.hart)) executed[riscv64::decode(*bits).op]++;
      const auto mode = s.privilege;
      modes.insert(mode);
      computer.run(stop.hart, 1);
      causes.insert(s.mcause), causes.insert(s.scause);
    }
    computer.apply(stop);
  }
}

// An instruction, an exception or an interrupt that no program has is one that nobody compares.
TEST(Generation, ProgramsReachEverything) {
  Coverage coverage;
  for (U64 seed = 1; seed <= 250; seed++) coverage.run(generate(seed));
  for (unsigned op = 1; op < unsigned(riscv64::Opcode::count); op++)
    EXPECT_GT(coverage.executed[riscv64::Opcode(op)], 0U) << riscv64::rows()[op - 1].name;
  for (const U64 cause : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15})
    EXPECT_TRUE(coverage.causes.contains(cause)) << cause;
  for (const U64 interrupt : {1, 3, 5, 7, 9, 11})
    EXPECT_TRUE(coverage.causes.contains(riscv64::interrupt::cause_flag | interrupt)) << interrupt;
  EXPECT_EQ(coverage.modes, (std::set<unsigned>{0, 1, 3}));
}

}  // namespace
}  // namespace doppel::differential::engines
