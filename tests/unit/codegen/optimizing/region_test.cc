// Regions of IR through LLVM, and left as blocks of `fast` are.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "codegen/fast/region_exits.h"
#include "codegen/fast/routines.h"
#include "codegen/optimizing/compiler.h"
#include "ir/builder.h"
#include "ir/fold.h"

namespace doppel::optimizing {
namespace {

using ir::Builder;
using ir::Condition;
using ir::Op;
using ir::Type;
using ir::Value;

constexpr unsigned registers = 24;  // the first nine in host registers
constexpr std::uint64_t page = 0x7000;

struct State {
  std::array<std::uint64_t, registers> reg{};
  std::uint64_t pc = 0;
  alignas(64) ir::ExecutionState execution;
};

class Region : public testing::Test {
 protected:
  Region() : memory_(std::move(CodeMemory::create(64 << 20)).value()), jumps_(ir::code_jumps), tlb_(ir::tlb_entries) {
    layout_.registers = registers;
    for (unsigned n = 0; n < registers; n++) layout_.offset[n] = std::int32_t(offsetof(State, reg) + 8 * n);
    for (unsigned n = 0; n < pinned_registers; n++) layout_.host[n] = std::uint8_t(n);
    layout_.pc = offsetof(State, pc);
    layout_.execution = offsetof(State, execution);
    routines_ = fast::generate_routines(layout_, *memory_).value();
    auto& e = state_.execution;
    e.routines = routines_.of_code;
    e.jumps = jumps_.data(), e.tlb = tlb_.data(), e.page = page;
  }
  /// A block of the region; `build` says what it does.
  template <typename F>
  void block(std::uint16_t begin, std::uint32_t count, F&& build) {
    auto& code = request_.blocks.emplace_back();
    Builder builder(code);
    builder.at(begin, 4);
    build(builder);
    code.begin = begin, code.end = std::uint16_t(begin + 4 * count), code.guest_count = count;
    for (auto& i : code.instructions) i.left = std::uint16_t(count - 1);
  }
  [[clang::no_sanitize("function")]] void run(std::int64_t budget = 1000) {
    request_.layout = layout_;
    const auto object = compiler_.compile(request_);
    ASSERT_FALSE(object.text.empty());
    // It crosses a process boundary as bytes.
    const auto copy = object_from(to_bytes(object));
    ASSERT_TRUE(copy);
    const auto linked = fast::link_region(*copy, layout_);
    state_.execution.budget = budget;
    routines_.enter(&state_, memory_->add(linked.bytes));
  }

  Compiler compiler_;
  RegionRequest request_;
  GuestLayout layout_;
  std::unique_ptr<CodeMemory> memory_;
  std::vector<ir::CodeJump> jumps_;
  std::vector<ir::TlbEntry> tlb_;
  fast::Routines routines_;
  State state_;
};

// What LLVM makes of every integer operation is what the table says of it.
TEST_F(Region, ComputesRandomCode) {
  constexpr Op ops[] = {Op::add, Op::sub, Op::and_, Op::or_, Op::xor_, Op::andn, Op::shl, Op::shr, Op::sar, Op::mul};
  for (unsigned seed = 0; seed < 60; seed++) {
    std::mt19937_64 random(seed);
    for (auto& value : state_.reg) value = random() >> random() % 64;
    auto expected = state_.reg;
    request_.blocks.clear();
    block(0x100, 1, [&](Builder& b) {
      for (int n = 0; n < 60; n++) {
        const auto left = unsigned(random() % registers), right = unsigned(random() % registers);
        const auto to = unsigned(random() % registers);
        const auto op = ops[random() % std::size(ops)];
        const auto type = random() % 3 == 0 ? Type::i32 : Type::i64;
        auto value = b.binary(op, type, b.get(left), b.get(right));
        auto result = *ir::evaluate(op, type, expected[left], expected[right]);
        if (type == Type::i32) value = b.sext(type, value), result = ir::extend(type, true, result);
        b.set(to, value);
        expected[to] = result;
      }
      b.jump_to(b.constant(0x9000));
    });
    run();
    ASSERT_EQ(state_.reg, expected) << "seed " << seed;
    ASSERT_EQ(state_.pc, 0x9000u);
    ASSERT_EQ(state_.execution.budget, 999);
  }
}

// Division by zero and overflow have results, not traps.
TEST_F(Region, DividesAsTheTableSays) {
  block(0x100, 1, [](Builder& b) {
    b.set(20, b.binary(Op::divs, Type::i64, b.get(4), b.get(10)));
    b.set(21, b.binary(Op::rems, Type::i64, b.get(4), b.get(10)));
    b.set(22, b.binary(Op::divu, Type::i64, b.get(4), b.get(10)));
    b.jump_to(b.constant(0x9000));
  });
  const std::uint64_t values[] = {0, 1, ~0ULL, 7, ~0ULL << 63, 100};
  for (const auto a : values)
    for (const auto b : values) {
      state_.reg[4] = a, state_.reg[10] = b;
      run();
      const bool overflow = a == ~0ULL << 63 && b == ~0ULL;
      EXPECT_EQ(state_.reg[20], b == 0 ? ~0ULL : overflow ? a : std::uint64_t(std::int64_t(a) / std::int64_t(b)));
      EXPECT_EQ(state_.reg[21], b == 0 ? a : overflow ? 0 : std::uint64_t(std::int64_t(a) % std::int64_t(b)));
      EXPECT_EQ(state_.reg[22], b == 0 ? ~0ULL : a / b);
    }
}

class Loop : public Region {
 protected:
  Loop() {
    block(0x100, 1, [](Builder& b) {
      b.set(1, b.constant(0));
      b.jump(0x104);
    });
    block(0x104, 3, [](Builder& b) {
      b.set(1, b.binary(Op::add, Type::i64, b.get(1), b.get(12)));
      b.set(12, b.binary(Op::sub, Type::i64, b.get(12), b.constant(1)));
      b.branch(Condition::ne, b.get(12), b.constant(0), 0x104);
      b.jump_to(b.constant(0x9000));
    });
    // The branch is the last instruction of its block.
    for (auto& i : request_.blocks[1].instructions) i.left = 0;
    state_.reg[12] = 100;
  }
};

TEST_F(Loop, RunsToItsEnd) {
  run();
  EXPECT_EQ(state_.reg[1], 5050u);
  EXPECT_EQ(state_.reg[12], 0u);
  EXPECT_EQ(state_.execution.budget, 1000 - 301);
}

// A used-up budget ends it between two rounds, with every register in its place.
TEST_F(Loop, IsLeftWhenTheBudgetIsUsedUp) {
  run(100);
  EXPECT_EQ(state_.pc, page + 0x104);
  EXPECT_EQ(state_.execution.budget, 0);
  EXPECT_EQ(state_.reg[12], 100u - 33);
}

// So does whoever raises the limit.
TEST_F(Loop, IsLeftWhenTheLimitIsRaised) {
  state_.execution.limit = 1 << 20;
  run();
  EXPECT_EQ(state_.pc, page + 0x100);
  EXPECT_EQ(state_.execution.budget, 1000);
}

class Access : public Region {
 protected:
  Access() {
    block(0x100, 2, [](Builder& b) {
      b.set(3, b.constant(77));
      const auto loaded = b.load(Type::i32, true, b.get(5), 8);
      b.set(20, loaded);
      b.store(Type::i16, b.get(5), 12, b.get(20));
      b.jump_to(b.constant(0x9000));
    });
    auto& list = request_.blocks[0].instructions;
    for (auto& i : list) i.left = 0, i.offset = 0x104;
    list[0].offset = list[1].offset = 0x100, list[0].left = list[1].left = 1;
    state_.reg[5] = 0x40010;
    state_.reg[20] = 1;
  }
  void map(bool store) {
    auto& entry = tlb_[0x40 % ir::tlb_entries];
    entry.load = 0x40000;
    entry.store = store ? 0x40000 : ir::TlbEntry::none;
    entry.addend = reinterpret_cast<std::uintptr_t>(bytes_.data()) - 0x40000;
  }
  alignas(4096) std::array<std::byte, 4096> bytes_{};
};

TEST_F(Access, GoesThroughTheTlb) {
  map(true);
  const std::int32_t value = -5;
  std::memcpy(bytes_.data() + 0x18, &value, sizeof value);
  run();
  EXPECT_EQ(std::int64_t(state_.reg[20]), -5);
  EXPECT_EQ(bytes_[0x1c], std::byte{0xfb});
  EXPECT_EQ(state_.pc, 0x9000u);
}

// What the TLB does not permit is for the code without windows, from the instruction on; none before it is undone.
TEST_F(Access, MissesLeaveInFrontOfTheInstruction) {
  run();
  EXPECT_EQ(state_.execution.exit, ir::Exit::link);
  EXPECT_EQ(state_.reg[3], 77u);
  EXPECT_EQ(state_.reg[20], 1u);
  EXPECT_EQ(state_.execution.budget, 999);
}

// Bytes that are no object, or one whose jumps lie outside of it, are refused.
TEST(RegionBytes, AreChecked) {
  RegionObject object;
  object.text.resize(16);
  object.exits.push_back({});
  object.jumps.push_back({.displacement = 12, .exit = 0});
  auto bytes = to_bytes(object);
  EXPECT_TRUE(object_from(bytes));
  for (std::size_t size = 0; size < bytes.size(); size++) EXPECT_FALSE(object_from(std::span(bytes).first(size)));
  object.jumps[0].displacement = 13;
  EXPECT_FALSE(object_from(to_bytes(object)));
  object.jumps[0] = {.displacement = 0, .exit = 1};
  EXPECT_FALSE(object_from(to_bytes(object)));
}

}  // namespace
}  // namespace doppel::optimizing
