// Random instruction streams on the interpreter and on qemu-riscv64: registers, floating-point flags and memory at the
// end of each stream must be the same. DOPPEL_SEED and DOPPEL_STREAMS choose other streams and more of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>

#include "guest/riscv64/disassemble.h"
#include "interpreter.h"
#include "qemu.h"
#include "shrink.h"

namespace doppel::differential {

namespace {

constexpr unsigned stream_length = 200;  // instructions

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

std::uint64_t seed() { return from_environment("DOPPEL_SEED", 1); }

std::vector<Stream> make_streams() {
  const auto count = std::min<std::uint64_t>(from_environment("DOPPEL_STREAMS", 1000), place::slots);
  std::vector<Stream> streams;
  for (unsigned slot = 0; slot < count; slot++)
    streams.push_back(make_stream(seed() * 1'000'003 + slot, slot, stream_length));
  return streams;
}

std::string listing(const Stream& stream) {
  std::string text;
  for (const auto& p : placed(stream))
    text += fmt::format("  {:x}: {:08x}  {}\n", p.address, p.instruction.bits,
                        riscv64::disassemble(p.instruction.bits, p.address));
  return text;
}

/// What is wrong with a stream's outcome in the interpreter; empty when nothing is.
std::string complaint(const Stream& stream, Way way) {
  const std::span one(&stream, 1);
  const auto expected = run_qemu(make_program(one, seed(), true));
  if (!expected) return expected.message();
  const auto got = run_interpreter(make_program(one, seed()), way);
  if (got.end != expected->end) return fmt::format("  expected {}, got {}\n", expected->end, got.end);
  return difference(stream, expected->report(0), got.report(0));
}

std::string culprit(const Stream& stream, Way way) {
  if (complaint(stream, way).empty())
    return fmt::format("stream {} fails only after the streams before it\n", stream.slot);
  const auto small = shrink(stream, [&](const Stream& s) { return !complaint(s, way).empty(); });
  return fmt::format("stream {} (its seed {:#x}), shrunk to\n{}{}", stream.slot, stream.seed, listing(small),
                     complaint(small, way));
}

class Differential : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    streams_ = make_streams();
    reference_ = std::make_unique<Result<Outcome>>(run_qemu(make_program(streams_, seed(), true)));
  }
  void SetUp() override {
    ASSERT_TRUE(*reference_) << reference_->message();
    ASSERT_EQ((*reference_)->end, "exit 0") << "the reference does not take the streams of seed " << seed();
    ASSERT_EQ((*reference_)->output.size(), streams_.size() * report_size);
  }

  /// Every stream that differs, the first few of them shrunk.
  static void compare(Way way, const Outcome& got) {
    constexpr unsigned most_shown = 5;
    unsigned shown = 0, wrong = 0;
    for (const auto& stream : streams_) {
      if (difference(stream, (*reference_)->report(stream.slot), got.report(stream.slot)).empty()) continue;
      wrong++;
      if (shown++ < most_shown) ADD_FAILURE() << "seed " << seed() << ": " << culprit(stream, way);
    }
    EXPECT_EQ(wrong, 0U) << "streams of " << streams_.size() << " with seed " << seed();
    EXPECT_EQ(got.end, "exit 0") << "seed " << seed();
  }

  static inline std::vector<Stream> streams_;
  static inline std::unique_ptr<Result<Outcome>> reference_;
};

// A program computes something else than on a real computer.
TEST_F(Differential, MachineMode) {
  compare(Way::machine_mode, run_interpreter(make_program(streams_, seed()), Way::machine_mode));
}

// The same where pages that are neighbours in the program are not in memory, as under any operating system.
TEST_F(Differential, UserMode) {
  compare(Way::user_mode, run_interpreter(make_program(streams_, seed()), Way::user_mode));
}

// A run that is stopped after any instruction, as recording, debugging and exact budgets do, goes on as if it had not
// been.
TEST_F(Differential, SingleSteps) {
  compare(Way::single_steps, run_interpreter(make_program(streams_, seed()), Way::single_steps));
}

// Translated code computes what the manual says, also where pages are not neighbours.
TEST_F(Differential, TranslatedMachineMode) {
  compare(Way::translated_machine_mode, run_interpreter(make_program(streams_, seed()), Way::translated_machine_mode));
}
TEST_F(Differential, TranslatedUserMode) {
  compare(Way::translated_user_mode, run_interpreter(make_program(streams_, seed()), Way::translated_user_mode));
}

// An instruction that no stream executes is an instruction that nobody checks.
TEST_F(Differential, EveryInstructionIsExecuted) {
  std::map<std::uint64_t, const Row*> row_at;
  for (const auto& stream : streams_)
    for (const auto& p : placed(stream)) row_at[p.address] = p.instruction.row;
  std::map<const Row*, unsigned> times;
  run_interpreter(make_program(streams_, seed()), Way::single_steps, [&](std::uint64_t pc) {
    if (const auto found = row_at.find(pc); found != row_at.end()) times[found->second]++;
  });
  for (const auto& row : rows())
    if (row.kind != Kind::left_out) EXPECT_GT(times[&row], 0U) << row.name << " with seed " << seed();
}

}  // namespace

}  // namespace doppel::differential
