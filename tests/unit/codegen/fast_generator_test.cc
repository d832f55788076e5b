// The fast generator on IR of its own: random integer code with more live values than there are registers, against a
// direct evaluation.
#include <gtest/gtest.h>

#include <random>

#include "codegen/fast/generator.h"
#include "codegen/fast/routines.h"
#include "ir/builder.h"
#include "ir/fold.h"

namespace doppel::fast {
namespace {

using ir::Builder;
using ir::Op;
using ir::Type;
using ir::Value;

constexpr unsigned registers = 24;  // the first nine in host registers

struct State {
  std::array<std::uint64_t, registers> reg{};
  std::uint64_t pc = 0;
  alignas(64) ir::ExecutionState execution;
};

class FastGenerator : public testing::Test {
 protected:
  FastGenerator() : memory_(std::move(CodeMemory::create(16 << 20)).value()) {
    layout_.registers = registers;
    for (unsigned n = 0; n < registers; n++) layout_.offset[n] = std::int32_t(offsetof(State, reg) + 8 * n);
    for (unsigned n = 0; n < pinned_registers; n++) layout_.host[n] = std::uint8_t(n);
    layout_.pc = offsetof(State, pc);
    layout_.execution = offsetof(State, execution);
    routines_ = generate_routines(layout_, *memory_).value();
    state_.execution.routines = routines_.of_code;
    state_.execution.to_link = routines_.to_link;
    state_.execution.slow_access = routines_.slow_access;
  }
  [[clang::no_sanitize("function")]] void run(const ir::Code& code) {
    Generator generator(layout_);
    GeneratedCode generated;
    ASSERT_TRUE(generator.generate(code, generated));
    state_.execution.budget = 1000;
    code_ = {memory_->add(generated.bytes), generated.bytes.size()};
    routines_.enter(&state_, code_.data());
  }
  GuestLayout layout_;
  std::unique_ptr<CodeMemory> memory_;
  Routines routines_;
  State state_;
  std::span<const std::byte> code_;
};

/// Random operations on registers, with their results kept in `expected`.
class RandomCode {
 public:
  RandomCode(unsigned seed, std::array<std::uint64_t, registers>& expected) : random_(seed), reg_(expected), b_(code) {
    code.begin = 0x100;
    code.guest_count = 1;
    for (unsigned n = 0; n < 120; n++) step();
    b_.leave(0x200);
    for (auto& i : code.instructions) i.left = 0;
  }
  ir::Code code;

 private:
  unsigned below(unsigned n) { return unsigned(random_() % n); }
  std::pair<Value, std::uint64_t> operand() {
    if (below(5) == 0) {
      constexpr std::int64_t interesting[] = {0, 1, -1, 63, 0x7fffffff, -0x80000000LL, 0x123456789abcdef};
      const auto value = interesting[below(std::size(interesting))];
      return {b_.constant(value), std::uint64_t(value)};
    }
    const auto reg = below(registers);
    return {b_.get(reg), reg_[reg]};
  }
  void step() {
    constexpr Op ops[] = {Op::add, Op::sub, Op::and_, Op::or_, Op::xor_, Op::andn, Op::shl, Op::shr, Op::sar, Op::mul};
    const auto op = ops[below(std::size(ops))];
    const auto type = below(3) == 0 ? Type::i32 : Type::i64;
    const auto [a, left] = operand();
    const auto [c, right] = operand();
    auto value = b_.binary(op == Op::andn ? Op::andn : op, op == Op::andn ? Type::i64 : type, a, c);
    auto result = *ir::evaluate(op, op == Op::andn ? Type::i64 : type, left, right);
    if (type == Type::i32 && op != Op::andn) value = b_.sext(Type::i32, value), result = ir::extend(type, true, result);
    if (below(4) == 0) {
      const auto [d, third] = operand();
      const auto condition = ir::Condition(below(6));
      value = b_.ternary(Op::select, Type::i64, b_.compare(condition, value, d), value, d);
      result = ir::holds(condition, result, third) ? result : third;
    }
    const auto reg = below(registers);
    b_.set(reg, value);
    reg_[reg] = result;
  }
  std::mt19937_64 random_;
  std::array<std::uint64_t, registers>& reg_;
  Builder b_;
};

TEST_F(FastGenerator, ComputesRandomCode) {
  for (unsigned seed = 0; seed < 3000; seed++) {
    std::mt19937_64 random(seed);
    for (auto& value : state_.reg) value = random() >> random() % 64;
    auto expected = state_.reg;
    const RandomCode program(seed, expected);
    state_.execution.page = 0x7000;
    run(program.code);
    ASSERT_EQ(state_.reg, expected) << "seed " << seed;
    ASSERT_EQ(state_.pc, 0x7200u);
    ASSERT_EQ(state_.execution.budget, 999);
  }
}

// Division has its own rules, and works in registers that hold others.
TEST_F(FastGenerator, DividesAsTheTableSays) {
  const std::uint64_t values[] = {0, 1, ~0ULL, 7, ~0ULL << 63, 0x80000000, 0xffffffff, 100};
  for (const auto a : values)
    for (const auto b : values) {
      ir::Code code;
      Builder builder(code);
      code.guest_count = 1;
      builder.set(20, builder.binary(Op::divs, Type::i64, builder.get(4), builder.get(10)));
      builder.set(4, builder.binary(Op::remu, Type::i64, builder.get(4), builder.get(10)));
      builder.set(21, builder.binary(Op::mulhu, Type::i64, builder.get(5), builder.get(10)));
      builder.leave(0);
      for (auto& i : code.instructions) i.left = 0;
      state_.reg[4] = a, state_.reg[5] = a, state_.reg[10] = b, state_.reg[3] = 33;
      run(code);
      const bool overflow = a == ~0ULL << 63 && b == ~0ULL;
      EXPECT_EQ(state_.reg[20], b == 0 ? ~0ULL : overflow ? a : std::uint64_t(std::int64_t(a) / std::int64_t(b)));
      EXPECT_EQ(state_.reg[4], b == 0 ? a : a % b);
      EXPECT_EQ(state_.reg[21], std::uint64_t((unsigned __int128)(a)*b >> 64));
      EXPECT_EQ(state_.reg[3], 33u);
    }
}

// A block that does not fit into the budget is not begun.
TEST_F(FastGenerator, RefusesWhatTheBudgetDoesNotHold) {
  ir::Code code;
  Builder builder(code);
  code.begin = 0x40;
  code.guest_count = 100;
  builder.set(1, builder.constant(5));
  builder.leave(0x80);
  for (auto& i : code.instructions) i.left = 0;
  state_.execution.limit = 900;
  run(code);
  EXPECT_EQ(state_.execution.exit, ir::Exit::dispatch);
  EXPECT_EQ(state_.reg[1], 5u);
  state_.reg[1] = 0, state_.execution.limit = 901;
  run(code);
  EXPECT_EQ(state_.reg[1], 0u);
  EXPECT_EQ(state_.execution.exit, ir::Exit::refused);
  const auto* inside = static_cast<const std::byte*>(state_.execution.link) - 1;
  EXPECT_TRUE(inside >= code_.data() && inside < code_.data() + code_.size());
  EXPECT_EQ(state_.execution.budget, 900) << "the engine gives them back";
}

}  // namespace
}  // namespace doppel::fast
